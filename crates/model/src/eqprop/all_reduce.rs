//! One nudging strength for many workers.

use std::fmt::Debug;

use crate::eqprop::nudge_size::{NudgeNorm, NudgeSize};
use crate::error::ModelError;
use crate::scalar::Scalar;

/// Sums numbers over the workers of one step, each of which has a part of the batch.
///
/// `beta` follows from a mean over the whole batch. With a `beta` of its own each part's gradient
/// would have another bias, and their sum would not be that of the whole batch.
pub trait AllReduce: Debug + Send + Sync {
    /// The sum of `values` over all workers. Waits for them.
    ///
    /// # Errors
    ///
    /// [`ModelError::Worker`] when one of them has failed.
    fn sum(&self, values: [f64; 2]) -> Result<[f64; 2], ModelError>;
}

/// `beta` for a nudge of this size of all workers' forces, of which `norm` is this worker's; a
/// worker without a force does not wait.
pub(crate) fn beta(
    size: NudgeSize,
    norm: Option<NudgeNorm>,
    workers: &dyn AllReduce,
) -> Result<Scalar, ModelError> {
    let Some(NudgeNorm { square, units }) = norm else {
        return size.beta(None);
    };
    let square = Scalar::Device(square).read();
    let [square, units] = workers.sum([square, units as f64])?;
    size.beta_of(square / units.max(1.0))
}
