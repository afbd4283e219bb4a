//! The model before training.

use anyhow::Result;
use burn::tensor::Device;
use hvae_model::Vae;
use hvae_runtime::rng::{self, Stream};

use crate::config::RunConfig;

/// A model with initial weights drawn from the seed of `config`.
///
/// # Errors
///
/// When the configuration cannot work.
pub fn new_model(config: &RunConfig, pixels: usize, device: &Device) -> Result<Vae> {
    let mut rng = rng::generator(config.training.seed, Stream::Weights, 0);
    Ok(Vae::new(&config.model, pixels, &mut rng, device)?)
}
