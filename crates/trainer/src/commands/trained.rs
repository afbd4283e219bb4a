use std::path::PathBuf;

use anyhow::Result;
use burn::tensor::Tensor;
use clap::Args;
use hvae_data::{ImageSize, Split, images::Images};

use crate::api::trained::Trained;
use crate::commands::context::Context;
use crate::figures::caption::Caption;
use crate::latents::decode::EVALUATION_BATCH;
use crate::latents::sampler::LatentSource;
use crate::run::choice::CheckpointChoice;

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
        Trained::load(&self.folder, self.checkpoint, cx.device()?)
    }
}

/// With what a command line says.
impl Trained {
    pub(super) fn size(&self) -> ImageSize {
        self.config.data.size
    }

    /// The caption of a picture of `what`, drawn with `seed` if it is random.
    pub(super) fn caption(&self, what: &str, seed: Option<u64>) -> Caption {
        let path = self.run.path();
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        let facts = [
            ("Run", Some(path.display().to_string())),
            ("Step", Some(self.step.to_string())),
            ("Training seed", Some(self.config.training.seed.to_string())),
            ("Seed", seed.map(|seed| seed.to_string())),
        ];
        let facts = facts.into_iter().filter_map(|(key, value)| Some((key, value?)));
        let seed = seed.map_or(String::new(), |seed| format!(", seed {seed}"));
        Caption {
            title: format!("{what}{seed} · {name}, step {}", self.step),
            rows: Vec::new(),
            facts: facts.collect(),
        }
    }

    pub(super) fn images(&self, split: Split, cx: &Context) -> Result<Images> {
        self.images_from(split, cx.global.data_dir.as_deref())
    }

    pub(super) fn latents(
        &self,
        from: LatentSource,
        count: usize,
        seed: u64,
        cx: &Context,
    ) -> Result<Vec<f32>> {
        self.latents_from(from, count, seed, cx.global.data_dir.as_deref())
    }

    /// The posterior means of the first `count` of `images`, rounded up to batches: `[images, latent]`.
    pub(super) fn means(&self, images: &Images, count: usize) -> Result<Tensor<2>> {
        let batches = images.batches(EVALUATION_BATCH).take(count.div_ceil(EVALUATION_BATCH));
        let means = batches.map(|batch| Ok(self.model.encode(batch, &self.phases)?.0.mean));
        Ok(Tensor::cat(means.collect::<Result<_>>()?, 0))
    }
}
