//! Names for the patterns of a learned prior, by the labels of the latents that they win.

use anyhow::{Result, ensure};
use hvae_data::images::Images;
use hvae_device::download;
use hvae_model::modern::Mixture;
use hvae_runtime::rng::{self, Stream};

use crate::api::trained::Trained;
use crate::latents::decode::EVALUATION_BATCH;

/// Training images whose latents name the patterns, at most.
const IMAGES: usize = 10_000;

/// The patterns of the prior of a model, with the label that most of the latents have for which a
/// pattern is the most probable; `None` for a pattern that wins no latent.
#[derive(Debug)]
pub(crate) struct NamedPatterns {
    mixture: Mixture,
    labels: Vec<Option<u8>>,
}

impl NamedPatterns {
    /// By the posterior means of the first 10,000 of the labelled `images`.
    pub(crate) fn of(trained: &Trained, images: &Images) -> Result<Self> {
        let prior = trained.learned_prior()?;
        images.set().require_classes(256, "the training set")?;
        let (mixture, latent) = (prior.on_host(), trained.model.latent());
        let mut wins = vec![[0_u32; 256]; mixture.weights.len()];
        let mut labels = images.set().labels().iter().take(IMAGES);
        for batch in images.batches(EVALUATION_BATCH).take(IMAGES.div_ceil(EVALUATION_BATCH)) {
            let means = download(trained.model.encode(batch, &trained.phases)?.0.mean)?;
            for (z, label) in means.chunks(latent).zip(&mut labels) {
                let of_each = mixture.responsibilities(z);
                let winner = (0..of_each.len()).max_by(|&a, &b| of_each[a].total_cmp(&of_each[b]));
                wins[winner.unwrap_or_default()][usize::from(*label)] += 1;
            }
        }
        let name = |wins: &[u32; 256]| {
            // The lowest of the most frequent labels.
            let most = (0..=255_u8).rev().max_by_key(|&label| wins[usize::from(label)]);
            most.filter(|&label| wins[usize::from(label)] > 0)
        };
        Ok(Self { mixture, labels: wins.iter().map(name).collect() })
    }

    /// `count` latents of the patterns named `class`, by their weights.
    pub(crate) fn sample(&self, class: u8, count: usize, seed: u64) -> Result<Vec<f32>> {
        let weight = |(weight, label): (&f64, &Option<u8>)| {
            if *label == Some(class) { *weight } else { 0.0 }
        };
        let weights: Vec<f64> = self.mixture.weights.iter().zip(&self.labels).map(weight).collect();
        ensure!(
            weights.iter().sum::<f64>() > 0.0,
            "no pattern of the prior wins latents of class {class}"
        );
        Ok(self.mixture.sample(&weights, count, &mut rng::generator(seed, Stream::Prior, 0)))
    }
}
