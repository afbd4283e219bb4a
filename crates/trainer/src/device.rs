//! Which device to compute on.

use anyhow::{Result, bail};
use burn::tensor::Device;

/// The devices that this build knows, as `--device` takes them.
pub const AVAILABLE: &[&str] = &[
    "cpu",
    #[cfg(feature = "wgpu")]
    "wgpu",
];

/// The device called `name`.
///
/// # Errors
///
/// For a name that this build does not know, listing those it does, and when the device cannot
/// be opened.
pub fn open(name: &str) -> Result<Device> {
    match name {
        "cpu" => Ok(Device::flex()),
        #[cfg(feature = "wgpu")]
        "wgpu" => Device::wgpu_options().init().map_err(|e| {
            anyhow::anyhow!("cannot open device 'wgpu': {e}. Use --device cpu, or install a driver")
        }),
        #[cfg(not(feature = "wgpu"))]
        "wgpu" => bail!(
            "this build has no device 'wgpu'; build with `cargo build --release --features wgpu`, \
             or use --device cpu"
        ),
        other => bail!("unknown device '{other}'; this build has: {}", AVAILABLE.join(", ")),
    }
}
