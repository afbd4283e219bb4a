use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use hvae_runtime::terminal;

use crate::cli::new_run::NewRunArgs;
use crate::commands::context::{Context, Ended, Run};
use crate::config::{Changes, RunConfig};
use crate::optimizer::Optimizer;
use crate::run::checkpoint::{self, Checkpoint, TrainingState};
use crate::run::exchange;
use crate::training;

/// Make a run from a file of weights
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae import model.safetensors
  hvae import model.safetensors --name from-elsewhere --set data.dataset=synthetic

Makes a run with these weights at step 0, which can be sampled, or trained with `hvae train
--resume`. The configuration comes from the file's metadata; --config and --set change it. Tensors
are found by their names (docs/exchange.md); all of them must be there with the right shapes, and no
others. A file without metadata needs --config.")]
pub struct Import {
    /// A file written by `hvae export` or another program
    file: PathBuf,
    /// The new run
    #[command(flatten)]
    new: NewRunArgs,
}

impl Run for Import {
    fn run(self, cx: &Context) -> Result<Ended> {
        let (bytes, metadata) = exchange::read(&self.file)?;
        let shown = self.file.display().to_string();
        let changes = Changes { set: &self.new.set, ..Changes::default() };
        let config = match (&self.new.config, metadata) {
            (Some(file), _) => RunConfig::resolve_with(Some(file), &changes)?,
            (None, Some(metadata)) => RunConfig::parse(&metadata.config, &shown, &changes)?,
            (None, None) => bail!(
                "{shown} has no metadata about its model: name a configuration with --config, such \
                 as another run's config.toml"
            ),
        };
        let model = training::new_model(&config, cx.device()?)?;
        let model = checkpoint::from_bytes(&self.file, bytes, model, &config.prior)?;
        let run = self.new.target()?.open(&config, None)?;
        let training = &config.training;
        let optimizer = Optimizer::new(training.optimizer.rule(training.momentum), Vec::new());
        let (moments, _) = optimizer.state(&model);
        let average = training.averages().then(|| model.clone());
        let keep = training.keep_checkpoints;
        let state = TrainingState::new(config);
        if let Err(error) = run.save(Checkpoint { model, average, moments, state }, keep) {
            run.discard();
            return Err(error);
        }
        terminal::result(&run.path().display().to_string());
        Ok(Ended::Done)
    }
}
