//! The model before training.

use anyhow::Result;
use burn::tensor::Device;
use hvae_model::{Shape, Vae};
use hvae_runtime::rng::{self, Stream};

use crate::config::RunConfig;

/// A model with initial weights drawn from the seed of `config`.
///
/// # Errors
///
/// When the configuration cannot work.
pub fn new_model(config: &RunConfig, pixels: usize, device: &Device) -> Result<Vae> {
    let mut rng = rng::generator(config.training.seed, Stream::Weights, 0);
    Ok(Vae::new(&config.model, image_shape(pixels), &mut rng, device)?)
}

/// The shape of a grey image of so many pixels: a square, if they make one.
pub fn image_shape(pixels: usize) -> Shape {
    let side = pixels.isqrt();
    if side * side == pixels { Shape::grey(side, side) } else { Shape::flat(pixels) }
}
