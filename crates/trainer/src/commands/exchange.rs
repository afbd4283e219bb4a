//! `hvae export` and `hvae import`.

use anyhow::{Result, bail};
use burn::tensor::Device;

use crate::cli::runs::{ExportArgs, ImportArgs};
use crate::config::RunConfig;
use crate::optimizer::Optimizer;
use crate::run::RunDir;
use crate::run::checkpoint;
use crate::run::checkpoint::{Checkpoint, TrainingState};
use crate::run::exchange;
use crate::training;
use hvae_data::images::SIDE;
use hvae_runtime::{files, terminal};

use crate::commands::train::new_target;

pub(super) fn export(args: &ExportArgs, device: &Device) -> Result<()> {
    let run = RunDir::open(&args.run)?;
    files::require_writable(&args.out)?;
    let config = run.config()?;
    let fresh = training::new_model(&config, SIDE * SIDE, device)?;
    let (model, state) = run.load_model(args.checkpoint, &config, fresh)?;
    exchange::export(&args.out, &model, &config, state.step)?;
    terminal::result(&args.out.display().to_string());
    Ok(())
}

pub(super) fn import(args: &ImportArgs, device: &Device) -> Result<()> {
    let (bytes, metadata) = exchange::read(&args.file)?;
    let shown = args.file.display();
    let config = match (&args.new.config, metadata) {
        (Some(file), _) => RunConfig::resolve(Some(file), &args.new.set)?,
        (None, Some(metadata)) => {
            RunConfig::parse(&metadata.config, &shown.to_string(), &args.new.set)?
        }
        (None, None) => bail!(
            "{shown} says nothing about the model that its tensors belong to: name a configuration \
             with --config, such as another run's config.toml"
        ),
    };
    let model = training::new_model(&config, SIDE * SIDE, device)?;
    let model = checkpoint::from_bytes(&args.file, bytes, model)?;
    let run = new_target(&args.new)?.open(&config)?;
    let training = &config.training;
    let optimizer = Optimizer::new(training.optimizer.rule(training.momentum), Vec::new());
    let (moments, _) = optimizer.state(&model);
    let average = training.averages().then(|| model.clone());
    let state = TrainingState::new(config.clone());
    let saved =
        run.save(Checkpoint { model, average, moments, state }, config.training.keep_checkpoints);
    if let Err(error) = saved {
        run.discard();
        return Err(error);
    }
    terminal::result(&run.path().display().to_string());
    Ok(())
}
