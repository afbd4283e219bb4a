//! Samples of a model, and the scores that compare them with real images.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Serialize;
use serde_json::{Value, json};

use crate::commands::context::Context;
use crate::commands::trained::Trained;
use crate::latents::mixture::COMPONENTS;
use crate::latents::sampler::{Samples, fit_mixture, prior_latents};
use hvae_data::Split;
use hvae_runtime::{files, terminal};
use hvae_scores::kid::{KernelDistance, kernel_distance};
use hvae_scores::prdc::{Overlap, overlap};
use hvae_scores::{FeatureSet, kid, prdc};

/// Where the latents of samples come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum LatentSource {
    /// The prior, a standard normal distribution.
    Prior,
    /// Ex-post density estimation: a mixture of 10 Gaussians, fitted to latents of the run's
    /// training images.
    Mixture,
}

impl LatentSource {
    /// What protocols call it.
    pub(super) fn name(self) -> String {
        match self {
            Self::Prior => "prior".to_owned(),
            Self::Mixture => format!("{COMPONENTS}-component mixture"),
        }
    }
}

impl Trained {
    /// Latents for `count` samples.
    pub(super) fn latents(
        &self,
        from: LatentSource,
        count: usize,
        seed: u64,
        cx: &Context,
    ) -> Result<Vec<f32>> {
        match from {
            LatentSource::Prior => Ok(prior_latents(&self.model, count, seed)),
            LatentSource::Mixture => {
                let images = self.images(Split::Train, cx)?;
                let mixture = fit_mixture(&self.model, &self.phases, &images, seed)?;
                Ok(mixture.sample(count, seed))
            }
        }
    }

    /// The samples that `latents` decode to.
    pub(super) fn samples(&self, latents: Vec<f32>) -> Samples<'_> {
        let size = self.size();
        Samples {
            model: &self.model,
            phases: &self.phases,
            latents,
            size: [size.height, size.width],
            device: self.device.clone(),
        }
    }
}

/// Scores that need the features of every image, not only their mean and covariance.
#[derive(Debug, Clone)]
pub(super) struct FeatureScores {
    pub(super) kernel: KernelDistance,
    pub(super) overlap: Overlap,
}

impl FeatureScores {
    /// Compares `samples` with `real` images at the default settings.
    pub(super) fn of(real: &FeatureSet, samples: &FeatureSet, seed: u64) -> Result<Self> {
        terminal::stage(&format!(
            "KID, precision and recall of {} samples and {} images",
            samples.len(),
            real.len()
        ));
        let _working = terminal::Progress::start("KID, precision, recall", 1, 0);
        Ok(Self {
            kernel: kernel_distance(samples, real, kid::SUBSETS, kid::SUBSET_SIZE, seed)?,
            overlap: overlap(real, samples, prdc::NEIGHBOURS)?,
        })
    }

    /// For a person.
    pub(super) fn lines(&self) -> String {
        let Self { kernel, overlap } = self;
        format!(
            "KID {kernel} (subsets of {} images: {}; cubic polynomial kernel, unbiased)\n\
             precision {:.4}  recall {:.4}  density {:.4}  coverage {:.4} ({} nearest neighbours, \
             {} real images, {} samples)",
            kernel.size,
            kernel.subsets,
            overlap.precision,
            overlap.recall,
            overlap.density,
            overlap.coverage,
            overlap.neighbours,
            overlap.images[0],
            overlap.images[1]
        )
    }

    /// For a program.
    pub(super) fn json(&self) -> Value {
        let Self { kernel, overlap } = self;
        json!({
            "kid": {
                "mean": kernel.mean,
                "deviation": kernel.deviation,
                "subsets": kernel.subsets,
                "size": kernel.size,
            },
            "precision": overlap.precision,
            "recall": overlap.recall,
            "density": overlap.density,
            "coverage": overlap.coverage,
            "neighbours": overlap.neighbours,
            "overlap_images": overlap.images,
        })
    }
}

/// Writes `value` as a JSON file.
pub(super) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).context("writing JSON")? + "\n";
    files::write(path, &text)
}
