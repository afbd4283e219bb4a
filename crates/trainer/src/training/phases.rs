//! How the phases of a run are relaxed on a device.

use anyhow::Result;
use burn::tensor::Device;
use hvae_model::{EpConfig, Phases};

/// Sweeps between two looks at the residual where a look makes the host wait for the device.
pub const QUIET_CHECK_EVERY: usize = 5;

/// The phases of `config` as this device runs them best.
///
/// # Errors
///
/// As [`Phases::new`].
pub fn phases(config: &EpConfig, device: &Device) -> Result<Phases> {
    let phases = Phases::new(config)?;
    Ok(if hvae_device::is_host(device) { phases } else { phases.quiet() })
}
