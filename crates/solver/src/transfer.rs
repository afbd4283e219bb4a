//! The two ways between host and device, counted.

use std::sync::atomic::{AtomicU64, Ordering};

use burn::tensor::{Device, Int, Tensor, TensorData};

static READS: AtomicU64 = AtomicU64::new(0);
static UPLOADS: AtomicU64 = AtomicU64::new(0);

/// Transfers of this process so far.
///
/// A read makes the host wait for all that the device was asked before, which on a GPU costs more
/// than a sweep. Those made through [`read`] and [`upload`] are counted, on every device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfers {
    /// Reads of the device by the host.
    pub reads: u64,
    /// Copies from the host to the device.
    pub uploads: u64,
}

/// How many transfers there have been.
pub fn transfers() -> Transfers {
    Transfers { reads: READS.load(Ordering::Relaxed), uploads: UPLOADS.load(Ordering::Relaxed) }
}

/// The values of a float tensor, in row-major order.
///
/// # Panics
///
/// When the device is lost, or the tensor does not hold f32.
pub fn read<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    READS.fetch_add(1, Ordering::Relaxed);
    tensor.into_data().try_to_vec().expect("a float tensor here is f32")
}

/// `values` as `[rows, columns]` on the device.
///
/// # Panics
///
/// When `values` are not `rows * columns`.
pub fn upload(values: Vec<f32>, [rows, columns]: [usize; 2], device: &Device) -> Tensor<2> {
    UPLOADS.fetch_add(1, Ordering::Relaxed);
    Tensor::from_data(TensorData::new(values, [rows, columns]), device)
}

/// `rows` as row numbers on the device, `[rows]`.
pub fn upload_rows(rows: &[usize], device: &Device) -> Tensor<1, Int> {
    UPLOADS.fetch_add(1, Ordering::Relaxed);
    let count = rows.len();
    let rows: Vec<i64> = rows.iter().map(|&r| r as i64).collect();
    Tensor::from_data(TensorData::new(rows, [count]), device)
}
