//! Loops for the CPU on all threads, with the widest vectors that the processor has; elementwise ones
//! take one pass over memory.
//!
//! | file | holds |
//! |---|---|
//! | [`exponential`] | the logistic function and its increments, without branches |
//! | [`fused`] | the elementwise end of a layer's update |

#![expect(clippy::inline_always, reason = "a call left in the loop would keep it scalar")]

pub(crate) mod exponential;
pub(crate) mod fused;

use burn::tensor::Tensor;
use hvae_device::HostValues;
use rayon::prelude::*;

/// A loop over slices of one length. A trait rather than a closure, because it becomes vector code
/// only if the call is always inlined.
pub(crate) trait Kernel: Copy + Sync {
    /// Replaces `values` by a function of them, `drive` and `state`; `state` may be empty where it
    /// is not read.
    fn run(self, values: &mut [f32], drive: &[f32], state: &[f32]);
}

/// Runs `kernel` over a matrix, `chunk` values or a row at a time. `drive` has as many values as
/// the matrix, or a row for all its rows. The memory of `values` becomes the result's.
pub(crate) fn pass(
    values: Tensor<2>,
    drive: &[f32],
    state: Option<&Tensor<2>>,
    chunk: usize,
    kernel: impl Kernel,
) -> Tensor<2> {
    let [_, units] = values.dims();
    let host = |tensor| HostValues::take(tensor).expect("the loop is for host memory");
    let mut values = host(values);
    let state = state.map(|state| host(state.clone()));
    let state = state.as_deref().unwrap_or(&[]);
    let size = (chunk / units).max(1) * units;
    let arch = pulp::Arch::new();
    values.par_chunks_mut(size).enumerate().for_each(|(i, values)| {
        let range = i * size..i * size + values.len();
        let state = state.get(range.clone()).unwrap_or(&[]);
        let drive = if drive.len() == units { drive } else { &drive[range] };
        arch.dispatch(Chunk { values, drive, state, kernel });
    });
    values.into_tensor()
}

/// Whole rows, of which each has the same `drive`, or the one after the other.
struct Chunk<'a, K> {
    values: &'a mut [f32],
    drive: &'a [f32],
    state: &'a [f32],
    kernel: K,
}

impl<K: Kernel> pulp::NullaryFnOnce for Chunk<'_, K> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { values, drive, state, kernel } = self;
        for (i, values) in values.chunks_mut(drive.len()).enumerate() {
            let from = i * drive.len();
            let state = state.get(from..from + values.len()).unwrap_or(&[]);
            kernel.run(values, drive, state);
        }
    }
}

/// Numbers between -1 and 1, for tests.
#[cfg(test)]
pub(crate) fn wave(rows: usize, columns: usize, shift: f32) -> Tensor<2> {
    let values = (0..rows * columns).map(|i| (i as f32 * 0.37 + shift).sin()).collect();
    hvae_device::upload(values, columns, &burn::tensor::Device::flex())
}

/// The values of a tensor; its own memory if no other tensor shares it.
pub(crate) fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().expect("a float tensor of this crate is f32")
}
