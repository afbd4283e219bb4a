use std::path::{Path, PathBuf};

use anyhow::Result;
use burn::tensor::{Device, Tensor};
use clap::Args;
use hvae_data::{ImageSize, Split, images::Images};
use hvae_device::host::upload;
use hvae_model::{PhaseSettings, Vae};

use crate::commands::context::Context;
use crate::config::RunConfig;
use crate::latents::decode::{EVALUATION_BATCH, decode};
use crate::latents::sampler::{LatentSource, Samples};
use crate::run::choice::CheckpointChoice;
use crate::run::dir::RunDir;
use crate::training;

/// A run of which a command uses the model.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// A run's folder
    #[arg(index = 1, value_name = "RUN")]
    pub(super) folder: PathBuf,
    /// Checkpoint of the run: latest, best or a step, such as 469
    #[arg(long, value_name = "NAME", default_value = "latest")]
    pub(super) checkpoint: CheckpointChoice,
}

impl RunArgs {
    pub(super) fn load(&self, cx: &Context) -> Result<Trained> {
        Trained::load(&self.folder, self.checkpoint, cx)
    }
}

/// A trained model and what is needed to use it.
pub(super) struct Trained {
    pub(super) run: RunDir,
    pub(super) checkpoint: CheckpointChoice,
    pub(super) model: Vae,
    pub(super) config: RunConfig,
    pub(super) phases: PhaseSettings,
    pub(super) device: Device,
}

impl Trained {
    /// Loads the checkpoint `choice` of the run in the folder `run`.
    pub(super) fn load(run: &Path, choice: CheckpointChoice, cx: &Context) -> Result<Self> {
        let run = RunDir::open(run)?;
        let config = run.config()?;
        let device = cx.device()?.clone();
        let phases = training::phases(&config.ep, &device)?;
        let untrained = training::new_model(&config, &device)?;
        let (model, _) = run.load_model(choice, &config, untrained)?;
        Ok(Self { run, checkpoint: choice, model, config, phases, device })
    }

    pub(super) fn size(&self) -> ImageSize {
        self.config.data.size
    }

    pub(super) fn images(&self, split: Split, cx: &Context) -> Result<Images> {
        cx.images_of(&self.run, &self.config.data, split)
    }

    pub(super) fn latents(
        &self,
        from: LatentSource,
        count: usize,
        seed: u64,
        cx: &Context,
    ) -> Result<Vec<f32>> {
        let images = || self.images(Split::Train, cx);
        from.latents(&self.model, &self.phases, count, seed, images)
    }

    pub(super) fn samples(&self, latents: Vec<f32>) -> Samples<'_> {
        Samples {
            model: &self.model,
            phases: &self.phases,
            latents,
            shape: self.config.data.shape(),
            device: self.device.clone(),
        }
    }

    /// The posterior means of the first `count` of `images`, rounded up to batches: `[images, latent]`.
    pub(super) fn means(&self, images: &Images, count: usize) -> Result<Tensor<2>> {
        let batches = images.batches(EVALUATION_BATCH).take(count.div_ceil(EVALUATION_BATCH));
        let means = batches.map(|batch| Ok(self.model.encode(batch, &self.phases)?.0.mean));
        Ok(Tensor::cat(means.collect::<Result<_>>()?, 0))
    }

    /// The images of `latents` (`[rows, latent]`), one after another, with values in `[0, 1]`.
    pub(super) fn decode(&self, latents: &[f32]) -> Result<Vec<f32>> {
        decode(&self.model, latents, &self.phases, &self.device)
    }

    /// `images`, one after another, on the device: `[images, pixels]`.
    pub(super) fn upload(&self, images: &[f32]) -> Tensor<2> {
        upload(images.to_vec(), self.model.pixels(), &self.device)
    }
}
