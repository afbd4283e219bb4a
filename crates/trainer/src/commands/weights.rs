//! `hvae weights`.

use anyhow::{Context, Result};
use burn::tensor::Device;

use crate::cli::Global;
use crate::evaluation::args::{WeightsArgs, WeightsCommand};
use crate::evaluation::inception::weights::{self, FILE};
use crate::{files, report};

pub(super) fn run(args: &WeightsArgs, global: &Global, device: &Device) -> Result<()> {
    match &args.command {
        WeightsCommand::Fetch { out, url } => {
            let place = out.clone().unwrap_or_else(weights::usual_place);
            if place.exists() && FILE.verify(&place).is_ok() {
                report::line("they are here already, and whole");
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
            report::result(&place.display().to_string());
        }
        WeightsCommand::Check { path } => {
            let (_, hash) = weights::load(path.as_deref(), device)?;
            report::result(&format!("whole, and all tensors fit; sha256 {hash}"));
        }
    }
    Ok(())
}
