//! The random numbers of a training step, and images binarized with random numbers.

use burn::tensor::Tensor;
use hvae_device::upload;
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

/// Every pixel 1 with the probability of its grey value, else 0 (dynamic binarization; Burda et
/// al. 2016, arXiv 1509.00519), drawn from the stream `(seed, stream, index)`.
pub fn binarize_from(images: Tensor<2>, seed: u64, stream: Stream, index: u64) -> Tensor<2> {
    let [rows, pixels] = images.dims();
    binarize(images, rng::uniform(seed, stream, index, rows * pixels))
}

/// Every pixel 1 where it exceeds its number in `uniforms`, one in `[0, 1)` for each, else 0.
pub fn binarize(images: Tensor<2>, uniforms: Vec<f32>) -> Tensor<2> {
    let [_, pixels] = images.dims();
    let uniforms = upload(uniforms, pixels, &images.device());
    images.greater(uniforms).float()
}
