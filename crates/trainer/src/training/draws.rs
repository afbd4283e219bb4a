//! The random numbers of a training step.

use hvae_model::Vae;
use hvae_runtime::rng::{self, Stream};

use crate::config::RunConfig;

/// The random numbers of a step, row after row of its batch.
#[derive(Debug)]
pub struct StepDraws {
    /// The step.
    pub step: u64,
    /// Normal noise of the posterior's samples, `rows * latent`.
    pub noise: Vec<f32>,
    /// Uniform numbers for dynamic binarization, `rows * pixels`; `None` without it.
    pub uniforms: Option<Vec<f32>>,
}

impl StepDraws {
    /// The numbers of `step` for a batch of `rows` rows: a function of seed and step only.
    pub fn new(config: &RunConfig, model: &Vae, step: usize, rows: usize) -> Self {
        let (seed, step) = (config.training.seed, step as u64);
        let uniforms = || rng::uniform(seed, Stream::Binarization, step, rows * model.pixels());
        Self {
            step,
            noise: rng::normal(seed, Stream::Noise, step, rows * model.latent()),
            uniforms: config.data.binarise.then(uniforms),
        }
    }
}
