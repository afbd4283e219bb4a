//! Tensors in the host's own memory, which fused kernels work on in place.

use burn::tensor::{Device, Tensor};

/// Whether a tensor lives in host memory and outside any autodiff graph.
pub(crate) fn is_plain_cpu<const D: usize>(tensor: &Tensor<D>) -> bool {
    let device = tensor.device();
    !device.is_autodiff() && device == Device::flex()
}

/// The values of a tensor; its own memory if no other tensor shares it.
pub(crate) fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().expect("a float tensor of this crate is f32")
}
