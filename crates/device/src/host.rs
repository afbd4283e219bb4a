//! Copies between host and device that may fail.

use anyhow::Result;
use burn::tensor::{Device, Tensor};

use crate::transfer;

/// Uploads `values` as a matrix of `columns` columns; counted in [`transfers`](crate::transfers).
pub fn upload(values: Vec<f32>, columns: usize, device: &Device) -> Tensor<2> {
    let rows = values.len() / columns;
    transfer::upload(values, [rows, columns], device)
}

/// Reads an f32 tensor, in row-major order. Not counted: not part of a training step.
///
/// # Errors
///
/// If the device cannot be read.
pub fn download<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    tensor.into_data().try_to_vec().map_err(|e| anyhow::anyhow!("reading from the device: {e:?}"))
}
