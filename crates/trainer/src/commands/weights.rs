//! `hvae weights`.

use anyhow::{Context, Result};
use burn::tensor::Device;

use crate::cli::Global;
use crate::evaluation::args::{WeightsArgs, WeightsCommand};
use hvae_runtime::{files, terminal};
use hvae_scores::inception::weights;
use hvae_scores::inception::weights::FILE;

pub(super) fn run(args: &WeightsArgs, global: &Global, device: &Device) -> Result<()> {
    match &args.command {
        WeightsCommand::Fetch { out, url } => {
            let place = out.clone().unwrap_or_else(weights::default_path);
            if place.exists() && FILE.verify(&place).is_ok() {
                terminal::line("they are here already, and whole");
            } else {
                files::require_writable(&place)?;
                let url = url.as_deref().unwrap_or(FILE.url);
                FILE.fetch(url, &place, global.verbosity()).with_context(|| {
                    format!(
                        "cannot get the weights of Inception. On a machine with access, download \
                         {} and give the copy to --inception-weights, or name another address with \
                         --url",
                        FILE.url
                    )
                })?;
            }
            terminal::result(&place.display().to_string());
        }
        WeightsCommand::Check { path } => {
            let (_, hash) = weights::load(path.as_deref(), device)?;
            terminal::result(&format!("whole, and all tensors fit; sha256 {hash}"));
        }
    }
    Ok(())
}
