//! Which device to compute on: names, what there is, and opening one without a panic.

#[cfg(any(feature = "wgpu", feature = "cuda"))]
mod adapters;
mod choice;
pub mod fault;
pub mod host;
mod list;
#[cfg(feature = "remote")]
pub mod remote;

use anyhow::Result;
use burn::tensor::Device;

pub use choice::Choice;
pub use list::list;

/// The device called `name`.
///
/// `software` allows an adapter that is a program on the CPU.
///
/// # Errors
///
/// For a name that is no device, a device that this build does not have (with the command that
/// builds it), and one that is not there, is a program, or does not work.
pub fn open(name: &str, software: bool) -> Result<Device> {
    open_choice(&name.parse::<Choice>()?, software)
}

#[cfg_attr(
    not(any(feature = "wgpu", feature = "cuda")),
    expect(clippy::unnecessary_wraps, reason = "other builds have devices that can fail")
)]
fn automatic() -> Result<Device> {
    #[cfg(any(feature = "wgpu", feature = "cuda"))]
    if let Some(adapter) = adapters::best() {
        return adapter.open();
    }
    Ok(Device::flex())
}

fn open_choice(choice: &Choice, software: bool) -> Result<Device> {
    let _ = software;
    match choice {
        Choice::Auto => automatic(),
        Choice::Cpu => Ok(Device::flex()),
        #[cfg(feature = "ndarray")]
        Choice::NdArray => Ok(ndarray()),
        #[cfg(feature = "wgpu")]
        Choice::Wgpu(index) => adapters::pick(adapters::wgpu(), "wgpu", *index, software)?.open(),
        #[cfg(feature = "vulkan")]
        Choice::Vulkan(index) => {
            adapters::pick(adapters::vulkan(), "vulkan", *index, software)?.open()
        }
        #[cfg(feature = "cuda")]
        Choice::Cuda(index) => adapters::pick(adapters::cuda()?, "cuda", *index, software)?.open(),
        #[cfg(feature = "remote")]
        Choice::Remote { address, index } => remote::connect(address, *index),
        #[allow(unreachable_patterns, reason = "a build with all features has them all")]
        other => not_built_in(other),
    }
}

#[allow(dead_code, reason = "a build with all features has them all")]
fn not_built_in(choice: &Choice) -> Result<Device> {
    let feature = choice.feature();
    anyhow::bail!(
        "this build has no device '{choice}'; build with `cargo build --release --features \
         {feature}`, or use --device cpu"
    )
}

/// Burn's older CPU backend.
#[cfg(feature = "ndarray")]
#[expect(deprecated, reason = "it is a second opinion on numbers, for as long as Burn has it")]
fn ndarray() -> Device {
    Device::ndarray()
}

/// Whether a device computes in host memory, where looking at a number costs nothing.
pub fn is_host(device: &Device) -> bool {
    #[cfg(feature = "ndarray")]
    if *device == ndarray() {
        return true;
    }
    *device == Device::flex()
}
