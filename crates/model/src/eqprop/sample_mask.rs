//! Which samples of a batch count.

use burn::tensor::{Bool, Device, Tensor};
use hvae_device::upload;
use hvae_solver::{Outcome, Termination};

use crate::eqprop::nudge::Unconverged;

/// Whether each sample of a batch counts: all do, or under [`Unconverged::Drop`] those that
/// converged in every one of `phases`. The first phase has every sample once; others may have
/// several copies of the batch, one after the other.
pub(crate) fn valid_samples(unconverged: Unconverged, phases: &[&[Outcome]]) -> Vec<bool> {
    let rows = phases[0].len();
    let done = |o: &Outcome| o.termination == Termination::Converged;
    let in_all = |i: usize| phases.iter().all(|p| p[i..].iter().step_by(rows).all(done));
    (0..rows).map(|i| unconverged == Unconverged::Use || in_all(i)).collect()
}

/// The samples of a batch that count, on the device.
#[derive(Debug, Clone)]
pub(crate) struct SampleMask {
    /// True for samples that do not count, `[batch, 1]`; `None` if all do, and the device receives
    /// nothing.
    dropped: Option<Tensor<2, Bool>>,
    count: usize,
}

impl SampleMask {
    pub(crate) fn new(valid: &[bool], device: &Device) -> Self {
        let count = valid.iter().filter(|&&v| v).count();
        let dropped = (count < valid.len()).then(|| {
            let kept = valid.iter().map(|&v| f32::from(u8::from(v))).collect();
            upload(kept, 1, device).equal_elem(0.0)
        });
        Self { dropped, count }
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// `tensor` (`[batch, n]`) with zeros in the rows of samples that do not count.
    pub(crate) fn apply(&self, tensor: Tensor<2>) -> Tensor<2> {
        let Some(dropped) = &self.dropped else { return tensor };
        let dims = tensor.dims();
        // Not by a product, because 0 times NaN is NaN.
        tensor.mask_fill(dropped.clone().expand(dims), 0.0)
    }

    /// The mean of `values` (`[batch]`) over the samples that count, `[1]`.
    pub(crate) fn mean(&self, values: Tensor<1>) -> Tensor<1> {
        if self.dropped.is_none() {
            return values.mean();
        }
        self.apply(values.unsqueeze_dim(1)).sum().div_scalar(self.count as f64)
    }
}
