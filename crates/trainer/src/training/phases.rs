//! When training reads a device, and the phases that follow from it.

use anyhow::Result;
use burn::tensor::Device;
use hvae_model::{EpConfig, PhaseSettings, ReadPolicy};

/// Default of `ep.check_every` on a device with deferred reads, where every convergence check makes
/// the host wait.
pub(crate) const DEFERRED_CHECK_EVERY: usize = 5;

/// When training reads `device`: at every step in host memory, where a read costs nothing, else
/// deferred.
pub(crate) fn read_policy(device: &Device) -> ReadPolicy {
    if hvae_device::is_host(device) { ReadPolicy::EveryStep } else { ReadPolicy::Deferred }
}

/// The phases of `config` with the [`read_policy`] of `device`.
///
/// # Errors
///
/// As [`PhaseSettings::new`].
pub(crate) fn phases(config: &EpConfig, device: &Device) -> Result<PhaseSettings> {
    Ok(PhaseSettings::new(config, read_policy(device))?)
}
