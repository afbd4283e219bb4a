//! `hvae export`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::commands::context::{Context, Ended, Run};
use crate::run::dir::{CheckpointChoice, RunDir};
use crate::run::exchange;
use crate::training;
use hvae_runtime::{files, terminal};

/// Write the weights of a run to a file for other programs
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae export checkpoints/h-vae-001 --out model.safetensors
  python3 scripts/load_in_pytorch.py model.safetensors

The file holds the weights under the names listed in docs/exchange.md. Its metadata hold, as JSON
under `hvae`, the configuration, the layout of the networks and how they are used. If the run has
averaged weights, those are exported.")]
pub struct Export {
    /// A run's folder
    run: PathBuf,
    /// Output file
    #[arg(long, value_name = "FILE", default_value = "model.safetensors")]
    out: PathBuf,
    /// Checkpoint of the run
    #[arg(long, value_enum, default_value_t = CheckpointChoice::Latest)]
    checkpoint: CheckpointChoice,
}

impl Run for Export {
    fn run(self, cx: &Context) -> Result<Ended> {
        let run = RunDir::open(&self.run)?;
        files::require_writable(&self.out)?;
        let config = run.config()?;
        let untrained = training::new_model(&config, cx.device()?)?;
        let (model, state) = run.load_model(self.checkpoint, &config, untrained)?;
        exchange::export(&self.out, &model, &config, state.step)?;
        terminal::result(&self.out.display().to_string());
        Ok(Ended::Done)
    }
}
