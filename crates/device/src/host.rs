//! Copies between host and device. Those of a training step are counted, for the whole process.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Result, anyhow};
use burn::tensor::{Device, Int, Tensor, TensorData};

static READS: AtomicU64 = AtomicU64::new(0);
static UPLOADS: AtomicU64 = AtomicU64::new(0);

/// Number of transfers of this process so far, on all devices, through [`read`], [`upload`] and
/// [`upload_rows`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfers {
    /// Copies from the device to the host. Each one waits for all kernels queued before it.
    pub reads: u64,
    /// Copies from the host to the device.
    pub uploads: u64,
}

/// The transfer counts of this process.
pub fn transfers() -> Transfers {
    Transfers { reads: READS.load(Ordering::Relaxed), uploads: UPLOADS.load(Ordering::Relaxed) }
}

/// Reads an f32 tensor, in row-major order. Panics if the device is lost.
///
/// ```
/// use burn::tensor::{Device, Tensor};
///
/// let x = Tensor::<2>::from_floats([[1.0, 2.0], [3.0, 4.0]], &Device::flex());
/// assert_eq!(hvae_device::read(x.transpose()), [1.0, 3.0, 2.0, 4.0]);
/// ```
pub fn read<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    READS.fetch_add(1, Ordering::Relaxed);
    tensor.into_data().try_to_vec().expect("the tensor is f32 and its device is alive")
}

/// [`read`] outside of training steps: not counted, and a lost device is an error.
pub fn download<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    tensor.into_data().try_to_vec().map_err(|e| anyhow!("reading from the device: {e:?}"))
}

/// Uploads `values` as a matrix of `columns` columns, row by row.
pub fn upload(values: Vec<f32>, columns: usize, device: &Device) -> Tensor<2> {
    UPLOADS.fetch_add(1, Ordering::Relaxed);
    let rows = values.len() / columns;
    Tensor::from_data(TensorData::new(values, [rows, columns]), device)
}

/// Uploads row indices as an integer tensor `[rows.len()]`, for `select`.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use hvae_device::{read, upload_rows};
///
/// let device = Device::flex();
/// let x = Tensor::<2>::from_floats([[1.0], [2.0], [3.0]], &device);
/// assert_eq!(read(x.select(0, upload_rows(&[2, 0], &device))), [3.0, 1.0]);
/// ```
pub fn upload_rows(rows: &[usize], device: &Device) -> Tensor<1, Int> {
    UPLOADS.fetch_add(1, Ordering::Relaxed);
    let values = rows.iter().map(|&r| r as i64).collect::<Vec<_>>();
    Tensor::from_data(TensorData::new(values, [rows.len()]), device)
}

/// Whether a tensor lives in the memory of the host (Burn's Flex backend) and outside any autodiff
/// graph, so that a loop can work on its values in place.
pub fn is_plain_cpu<const D: usize>(tensor: &Tensor<D>) -> bool {
    let device = tensor.device();
    !device.is_autodiff() && device == Device::flex()
}
