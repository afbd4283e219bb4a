//! Where a learned prior starts: its patterns are latents of training images.

use anyhow::{Result, ensure};
use burn::tensor::Tensor;
use hvae_data::images::Images;
use hvae_model::{HopfieldPrior, PhaseSettings, PriorConfig, PriorKind, Vae};
use hvae_runtime::rng::{self, Stream};
use rand::seq::index;

use crate::config::RunConfig;
use crate::draws::binarize_from;
use crate::latents::decode::EVALUATION_BATCH;

/// Refuses a prior of more patterns than there are training images.
pub(super) fn require_images(prior: &PriorConfig, images: usize) -> Result<()> {
    let PriorConfig { kind, patterns, .. } = *prior;
    ensure!(
        kind == PriorKind::Standard || patterns <= images,
        "prior.patterns = {patterns}: there are {images} training images, and a pattern starts at \
         each of as many"
    );
    Ok(())
}

/// A prior whose patterns are the posterior means that `model` gives images of `train`, drawn
/// without repetition by the seed of `config`. All are used equally.
pub(super) fn at_training_images(
    model: &Vae,
    train: &Images,
    config: &RunConfig,
    phases: &PhaseSettings,
) -> Result<HopfieldPrior> {
    let (seed, PriorConfig { patterns, beta, .. }) = (config.training.seed, config.prior);
    let mut rng = rng::generator(seed, Stream::PriorPatterns, 0);
    let rows = index::sample(&mut rng, train.len(), patterns).into_vec();
    let mut means = Vec::new();
    for (number, rows) in rows.chunks(EVALUATION_BATCH).enumerate() {
        let mut images = train.gather(train.index_tensor(rows));
        if config.data.binarise {
            images = binarize_from(images, seed, Stream::PriorPatterns, 1 + number as u64);
        }
        means.push(model.encode(images, phases)?.0.mean);
    }
    Ok(HopfieldPrior::new(Tensor::cat(means, 0), beta)?)
}
