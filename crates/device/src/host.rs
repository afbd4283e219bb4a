//! Copies between host and device that may fail.

use anyhow::Result;
use burn::tensor::{Device, Tensor};

/// `values` as `[rows, columns]` on the device.
pub fn upload(values: Vec<f32>, columns: usize, device: &Device) -> Tensor<2> {
    let rows = values.len() / columns;
    hvae_solver::upload(values, [rows, columns], device)
}

/// The values of a tensor.
///
/// # Errors
///
/// When the device cannot be read.
pub fn download<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    tensor.into_data().try_to_vec().map_err(|e| anyhow::anyhow!("reading from the device: {e:?}"))
}
