//! What the interactions that store a matrix have in common.

use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};
use hvae_device::read;

use crate::host::is_plain_cpu;

/// A new parameter, `[rows, columns]`.
pub(super) fn parameter(values: Vec<f32>, dims: [usize; 2], device: &Device) -> Param<Tensor<2>> {
    Param::from_tensor(Tensor::from_data(TensorData::new(values, dims), device))
}

/// `s' t`, summed over the batch.
pub(super) fn outer(s: Tensor<2>, t: Tensor<2>) -> Tensor<2> {
    s.transpose().matmul(t)
}

/// The largest absolute value.
pub(super) fn largest(matrix: Tensor<2>) -> f32 {
    read(matrix.abs().max())[0]
}

/// Steps of the power iteration. Training runs it again and again while the matrix changes little.
const POWER_STEPS: usize = 15;

/// The largest singular value of `w`, from below, `[1]`.
pub(super) fn spectral_norm(w: Tensor<2>) -> Tensor<1> {
    let [_, columns] = w.dims();
    // 1 + sin(i)/2.
    let mut v: Tensor<2> = if is_plain_cpu(&w) {
        let start = (0..columns).map(|i| 1.0 + 0.5 * (i as f32).sin()).collect::<Vec<_>>();
        Tensor::from_data(TensorData::new(start, [columns, 1]), &w.device())
    } else {
        // Made on the device, which so receives nothing from the host.
        let numbers = Tensor::<1>::ones([columns], &w.device()).cumsum(0).sub_scalar(1.0);
        numbers.sin().mul_scalar(0.5).add_scalar(1.0).reshape([columns, 1])
    };
    let length = |v: &Tensor<2>| v.clone().square().sum().sqrt().clamp_min(f32::MIN_POSITIVE);
    for _ in 0..POWER_STEPS {
        let image = w.clone().transpose().matmul(w.clone().matmul(v));
        v = image.clone() / length(&image).unsqueeze();
    }
    length(&w.matmul(v))
}
