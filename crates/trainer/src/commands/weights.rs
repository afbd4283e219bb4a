use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use hvae_runtime::terminal;
use hvae_scores::inception::weights::{self, FILE, URL};

use crate::cli::values::{file, url};
use crate::commands::context::{Context, Ended, Run};
use crate::commands::output::{JsonArgs, require};

/// Download or check the weights of Inception, which the standard FID needs
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae weights fetch
  hvae weights check weights.pth")]
pub struct Weights {
    /// What to do
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Download the weights of Inception (96 MB) and check them
    #[command(after_help = "Examples:
  hvae weights fetch
  hvae weights fetch --out pt_inception.pth --url https://mirror.example/pt_inception.pth

The file is written only if its length and SHA-256 are right.")]
    Fetch {
        /// Output file [default: in the cache, where other commands look for it]
        #[arg(long, value_name = "PATH", value_parser = file(&["pth", "pt"]))]
        out: Option<PathBuf>,
        /// Where to download it from [default: the pytorch-fid project's release]
        #[arg(long, value_parser = url)]
        url: Option<String>,
    },
    /// Check a copy of the weights, and load it
    #[command(after_help = "Examples:
  hvae weights check
  hvae weights check pt_inception-2015-12-05-6726825d.pth")]
    Check {
        /// The file [default: the one in the cache]
        path: Option<PathBuf>,
        #[command(flatten)]
        json: JsonArgs,
    },
}

impl Run for Weights {
    fn run(self, cx: &Context) -> Result<Ended> {
        match self.action {
            Action::Fetch { out, url } => fetch(out, url.as_deref())?,
            Action::Check { path, json } => {
                json.require()?;
                let (_, hash) = weights::load(path.as_deref(), cx.device()?)?;
                terminal::result(&format!("checksum ok, all tensors present; sha256 {hash}"));
                json.write(&serde_json::json!({ "sha256": hash }))?;
            }
        }
        Ok(Ended::Done)
    }
}

fn fetch(out: Option<PathBuf>, url: Option<&str>) -> Result<()> {
    let path = out.unwrap_or_else(weights::default_path);
    if path.exists() && FILE.verify(&path).is_ok() {
        terminal::line("weights already present (checksum ok)");
    } else {
        require(&path)?;
        FILE.fetch(url.unwrap_or(URL), &path).with_context(|| {
            format!(
                "cannot download the weights of Inception. Download {URL} on a machine with access \
                 and name the copy with --inception-weights, or give another address with --url"
            )
        })?;
    }
    terminal::result(&path.display().to_string());
    Ok(())
}
