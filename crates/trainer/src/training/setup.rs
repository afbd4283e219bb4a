//! The model and the phases that a configuration describes.

use anyhow::Result;
use burn::tensor::Device;
use hvae_model::{EpConfig, Phases, Vae};
use hvae_runtime::rng::{self, Stream};

use crate::config::RunConfig;
use crate::optimizer::ReadPolicy;

/// Default of `ep.check_every` on a device that is read rarely: every convergence check makes the
/// host wait.
pub const DEFERRED_CHECK_EVERY: usize = 5;

/// When training reads `device`: at every step in host memory, where a read costs nothing, else
/// deferred.
pub fn read_policy(device: &Device) -> ReadPolicy {
    if hvae_device::is_host(device) { ReadPolicy::EveryStep } else { ReadPolicy::Deferred }
}

/// The phases of `config` with the [`read_policy`] of `device`.
///
/// # Errors
///
/// As [`Phases::new`].
pub fn phases(config: &EpConfig, device: &Device) -> Result<Phases> {
    let phases = Phases::new(config)?;
    Ok(match read_policy(device) {
        ReadPolicy::EveryStep => phases,
        ReadPolicy::Deferred => phases.quiet(),
    })
}

/// A model with initial weights drawn from the seed of `config`.
///
/// # Errors
///
/// When the configuration cannot work.
pub fn new_model(config: &RunConfig, pixels: usize, device: &Device) -> Result<Vae> {
    let mut rng = rng::generator(config.training.seed, Stream::Weights, 0);
    Ok(Vae::new(&config.model, pixels, &mut rng, device)?)
}
