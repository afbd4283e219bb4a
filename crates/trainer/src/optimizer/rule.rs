//! The interface of an update rule.

use burn::tensor::Tensor;

/// Values per task of a thread, where parameters lie in host memory.
pub(super) const CHUNK: usize = 1 << 14;

/// How one parameter is updated. Parameters, gradients and state are flat, `[n]`.
pub(crate) trait Rule: Send {
    /// Tensors of state per parameter, each of its size and initially 0.
    fn state_len(&self) -> usize;

    /// Parameter and state after step number `step` (from 1) at learning rate `rate`.
    fn step(
        &self,
        step: usize,
        rate: f64,
        value: Tensor<1>,
        gradient: Tensor<1>,
        state: Vec<Tensor<1>>,
    ) -> (Tensor<1>, Vec<Tensor<1>>);
}
