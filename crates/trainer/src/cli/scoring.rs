//! Arguments of the commands that score.

use std::path::PathBuf;

use anyhow::Result;
use burn::tensor::Device;
use clap::Args;
use hvae_scores::{Extractor, FeatureChoice};

use crate::cli::values::count;

/// Images per batch of a network: enough to use the cores, few enough for any memory.
pub(crate) const BATCHES: std::ops::RangeInclusive<u64> = 1..=4096;

/// Feature network and batch size.
#[derive(Debug, Args)]
pub(crate) struct FeatureArgs {
    /// Features to compare in: mnist-classifier (built in), inception (2048 features, the standard
    /// FID), inception-64, inception-192, inception-768, or a .safetensors file made by
    /// `hvae classifier train`
    #[arg(long, value_name = "NAME|FILE", default_value = "mnist-classifier")]
    pub(crate) features: FeatureChoice,
    /// A copy of pt_inception-2015-12-05-6726825d.pth [default: where `hvae weights fetch` puts it]
    #[arg(long, value_name = "PATH")]
    pub(crate) inception_weights: Option<PathBuf>,
    /// Images per batch of the feature network [default: depends on the network]
    #[arg(long, value_name = "N", value_parser = count(BATCHES))]
    pub(crate) batch: Option<usize>,
}

impl FeatureArgs {
    pub(crate) fn extractor(&self, device: &Device) -> Result<Extractor> {
        Extractor::load(&self.features, self.inception_weights.as_deref(), device)
    }
}

/// Default number of samples per distance.
pub(crate) const COUNT: usize = 10_000;
/// Default number of test images whose likelihood is estimated.
pub(crate) const NLL_IMAGES: usize = 500;
/// Default number of latents per image for that estimate.
pub(crate) const NLL_SAMPLES: usize = 200;

/// Sizes of the estimates that score a run.
#[derive(Debug, Args)]
pub(crate) struct ScoreArgs {
    /// Feature network
    #[command(flatten)]
    pub(crate) features: FeatureArgs,
    /// Samples per distance, and the largest number of test images
    #[arg(long, value_name = "N", default_value_t = COUNT, value_parser = count(10..=1_000_000))]
    pub(crate) count: usize,
    /// Test images whose likelihood is estimated, from the first
    #[arg(long, value_name = "N", default_value_t = NLL_IMAGES, value_parser = count(1..=10_000_000))]
    pub(crate) nll_images: usize,
    /// Importance samples per image (K)
    #[arg(long, value_name = "K", default_value_t = NLL_SAMPLES, value_parser = count(1..=1_000_000))]
    pub(crate) nll_samples: usize,
}
