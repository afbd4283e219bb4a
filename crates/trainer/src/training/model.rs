//! The model before training.

use anyhow::Result;
use burn::tensor::Device;
use hvae_data::ImageShape;
use hvae_model::{Shape, Vae};
use hvae_runtime::rng::{self, Stream};

use crate::config::RunConfig;

/// A model with initial weights drawn from the seed of `config`.
///
/// # Errors
///
/// When the configuration cannot work.
pub fn new_model(config: &RunConfig, device: &Device) -> Result<Vae> {
    let mut rng = rng::generator(config.training.seed, Stream::Weights, 0);
    Ok(Vae::new(&config.model, image_layer(config.data.shape()), &mut rng, device)?)
}

/// The shape of the image layer of a model for images of this shape.
pub(crate) fn image_layer(image: ImageShape) -> Shape {
    let ImageShape { channels, height, width } = image;
    Shape { channels, height, width }
}
