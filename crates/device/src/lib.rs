#![doc = include_str!("../README.md")]
#![recursion_limit = "256"]

#[cfg(any(feature = "wgpu", feature = "cuda"))]
mod adapters;
mod choice;
pub mod fault;
mod host;
mod list;
mod memory;
#[cfg(feature = "remote")]
pub mod remote;

use anyhow::Result;
use burn::tensor::Device;

pub use choice::Choice;
pub use host::{Transfers, download, is_plain_cpu, read, transfers, upload, upload_rows};
pub use list::{automatic, list, rows};
pub use memory::HostValues;

/// Opens the device `name`. `software` allows an adapter that is emulated on the CPU.
///
/// ```
/// let device = hvae_device::open("cpu", false)?;
/// assert!(hvae_device::is_host(&device));
/// # Ok::<(), anyhow::Error>(())
/// ```
///
/// An error where the name is unknown, or the device is not built in (the message has the command
/// that builds it), does not exist, is emulated, or does not work.
pub fn open(name: &str, software: bool) -> Result<Device> {
    let (choice, _) = (name.parse::<Choice>()?, software);
    match &choice {
        Choice::Auto => {
            #[cfg(any(feature = "wgpu", feature = "cuda"))]
            if let Some(adapter) = adapters::best() {
                return adapter.open();
            }
            Ok(Device::flex())
        }
        Choice::Cpu => Ok(Device::flex()),
        #[cfg(feature = "ndarray")]
        Choice::NdArray => Ok(ndarray()),
        #[cfg(any(feature = "wgpu", feature = "cuda"))]
        Choice::Wgpu(index) | Choice::Vulkan(index) | Choice::Cuda(index) => {
            let family = choice.name();
            match adapters::of(family) {
                Some(found) => adapters::pick(found?, family, *index, software)?.open(),
                None => not_built_in(&choice),
            }
        }
        #[cfg(feature = "remote")]
        Choice::Remote { address, index } => remote::connect(address, *index),
        #[allow(unreachable_patterns, reason = "unused if all features are built in")]
        other => not_built_in(other),
    }
}

fn not_built_in(choice: &Choice) -> Result<Device> {
    let feature = choice.name();
    anyhow::bail!(
        "this build has no device '{choice}'; build with `cargo build --release --features \
         {feature}`, or use --device cpu"
    )
}

/// Burn's older CPU backend.
#[cfg(feature = "ndarray")]
#[expect(deprecated, reason = "an independent reference for numerical results")]
fn ndarray() -> Device {
    Device::ndarray()
}

/// Whether a device computes in host memory, where a read does not synchronize anything.
pub fn is_host(device: &Device) -> bool {
    #[cfg(feature = "ndarray")]
    if *device == ndarray() {
        return true;
    }
    *device == Device::flex()
}
