//! Compute devices for Burn tensors: names, adapters, opening one without a panic, and counted
//! transfers between host and device.
//!
//! | item | job |
//! |---|---|
//! | [`open()`], [`Choice`], [`list()`] | a device by name, such as `wgpu:1`; a list of all |
//! | [`read`], [`upload`], [`upload_rows`] | transfers, counted in [`transfers`] |
//! | [`host`] | transfers of files and results, with errors instead of panics |
//! | [`fault`] | panics of a backend as errors |
//!
//! A read waits for every kernel queued before it, which on a GPU costs more than many small
//! kernels. Counting them lets a test or a trace say how many transfers a step takes.
//!
//! This crate knows tensors and devices. It knows nothing of solvers, networks or files.
#![recursion_limit = "256"]

/// The example of the README is a test like any other.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
mod adapters;
mod choice;
pub mod fault;
pub mod host;
mod list;
#[cfg(feature = "remote")]
pub mod remote;
mod transfer;

use anyhow::Result;
use burn::tensor::Device;

pub use choice::Choice;
pub use list::list;
pub use transfer::{Transfers, read, transfers, upload, upload_rows};

/// Opens the device `name`.
///
/// `software` allows an adapter that is emulated on the CPU.
///
/// ```
/// let device = hvae_device::open("cpu", false)?;
/// assert!(hvae_device::is_host(&device));
/// # Ok::<(), anyhow::Error>(())
/// ```
///
/// # Errors
///
/// If the name is unknown, the device is not built in (the message has the command that builds it),
/// does not exist, is emulated, or does not work.
pub fn open(name: &str, software: bool) -> Result<Device> {
    open_choice(&name.parse::<Choice>()?, software)
}

#[cfg_attr(
    not(any(feature = "wgpu", feature = "cuda")),
    expect(clippy::unnecessary_wraps, reason = "devices of other builds can fail")
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
        #[allow(unreachable_patterns, reason = "unused if all features are built in")]
        other => not_built_in(other),
    }
}

#[allow(dead_code, reason = "unused if all features are built in")]
fn not_built_in(choice: &Choice) -> Result<Device> {
    let feature = choice.feature();
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
