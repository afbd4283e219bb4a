//! The model before training, and its phases on a device.

use anyhow::{Context, Result};
use burn::tensor::Device;
use hvae_data::ImageShape;
use hvae_model::{EpConfig, PhaseSettings, ReadPolicy, Shape, Vae};
use hvae_runtime::memory;
use hvae_runtime::rng::{self, Stream};

use crate::config::RunConfig;

/// A model with initial weights drawn from the seed of `config`.
pub fn new_model(config: &RunConfig, device: &Device) -> Result<Vae> {
    let image = image_layer(config.data.shape());
    if hvae_device::is_host(device) {
        let bytes = 4.0 * config.model.stored_numbers(image);
        memory::require(bytes).context("the layers of model.hidden are too large")?;
    }
    let mut rng = rng::generator(config.training.seed, Stream::Weights, 0);
    Ok(Vae::new(&config.model, image, &mut rng, device)?)
}

/// The shape of the image layer of a model for images of this shape.
pub(crate) fn image_layer(image: ImageShape) -> Shape {
    let ImageShape { channels, height, width } = image;
    Shape { channels, height, width }
}

/// Default of `ep.check_every` where reads are deferred: every check makes the host wait.
pub(crate) const DEFERRED_CHECK_EVERY: usize = 5;

/// The phases of `config`; in host memory a read costs nothing, elsewhere reads are deferred.
pub(crate) fn phases(config: &EpConfig, device: &Device) -> Result<PhaseSettings> {
    let on_host = hvae_device::is_host(device);
    let reads = if on_host { ReadPolicy::EveryStep } else { ReadPolicy::Deferred };
    Ok(PhaseSettings::new(config, reads)?)
}
