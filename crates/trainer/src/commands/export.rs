use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use hvae_runtime::terminal;

use crate::cli::values::file;
use crate::commands::context::{Context, Ended, Run};
use crate::commands::output::require;
use crate::commands::trained::RunArgs;
use crate::run::dir::RunDir;
use crate::run::exchange;
use crate::training;

/// Write the weights of a run to a file for other programs
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae export checkpoints/h-vae-001 --out model.safetensors
  python3 scripts/load_in_pytorch.py model.safetensors

The file holds the weights under the names listed in docs/exchange.md. Its metadata hold, as JSON
under `hvae`, the configuration, the layout of the networks and how they are used. If the run has
averaged weights, those are exported.")]
pub struct Export {
    /// Output file
    #[arg(long, value_name = "FILE", default_value = "model.safetensors", value_parser = file(&["safetensors"]))]
    out: PathBuf,
    #[command(flatten)]
    run: RunArgs,
}

impl Run for Export {
    fn run(self, cx: &Context) -> Result<Ended> {
        let run = RunDir::open(&self.run.folder)?;
        require(&self.out)?;
        let config = run.config()?;
        let untrained = training::new_model(&config, cx.device()?)?;
        let (model, state) = run.load_model(self.run.checkpoint, &config, untrained)?;
        exchange::export(&self.out, &model, &config, state.step)?;
        terminal::result(&self.out.display().to_string());
        Ok(Ended::Done)
    }
}
