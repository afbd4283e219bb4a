//! When a sample is done.

use burn::tensor::Tensor;

use crate::{SolverError, error::in_range};

/// Tolerances, step limit, and how often the device is read.
///
/// | setting | default | meaning | range |
/// |---|---|---|---|
/// | `rtol` | given | relative tolerance | finite, >= 0 |
/// | `atol` | 0 | absolute tolerance | finite, >= 0 |
/// | `max_steps` | given | applications of the map at most | >= 1 |
/// | `check_every` | 1 | steps between two looks at the residual, each a read of the device | >= 1 |
/// | `min_steps` | 1 | steps before the first look | >= 1 |
/// | `whole` | off | the batch stays whole until all samples have ended, see [`Self::with_whole_batch`] | |
/// | `trace` | off | keep the residuals of every check | |
///
/// With both tolerances 0 only an exact fixed point counts as converged: all samples then run to
/// the step limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StoppingRule {
    rtol: f64,
    atol: f64,
    max_steps: usize,
    check_every: usize,
    min_steps: usize,
    whole: bool,
    trace: bool,
}

impl StoppingRule {
    /// Stop at relative tolerance `rtol`, or after `max_steps`.
    ///
    /// # Errors
    ///
    /// [`SolverError::OutOfRange`] for a negative or non-finite `rtol`, or `max_steps` of 0.
    pub fn new(rtol: f64, max_steps: usize) -> Result<Self, SolverError> {
        in_range("rtol", rtol, ">= 0", rtol >= 0.0)?;
        in_range("max_steps", max_steps as f64, ">= 1", max_steps >= 1)?;
        Ok(Self {
            rtol,
            atol: 0.0,
            max_steps,
            check_every: 1,
            min_steps: 1,
            whole: false,
            trace: false,
        })
    }

    /// With an absolute tolerance.
    ///
    /// # Errors
    ///
    /// [`SolverError::OutOfRange`] for a negative or non-finite `atol`.
    pub fn with_atol(mut self, atol: f64) -> Result<Self, SolverError> {
        self.atol = in_range("atol", atol, ">= 0", atol >= 0.0)?;
        Ok(self)
    }

    /// With a check every `check_every` steps (and always at the step limit).
    ///
    /// # Errors
    ///
    /// [`SolverError::OutOfRange`] for 0.
    pub fn with_check_every(mut self, check_every: usize) -> Result<Self, SolverError> {
        in_range("check_every", check_every as f64, ">= 1", check_every >= 1)?;
        self.check_every = check_every;
        Ok(self)
    }

    /// With no check before step `min_steps`, unless it is the last: for maps that take so many to pass on what
    /// happens at one end of the state to the other, where a small residual means nothing before.
    ///
    /// # Errors
    ///
    /// [`SolverError::OutOfRange`] for 0.
    pub fn with_min_steps(mut self, min_steps: usize) -> Result<Self, SolverError> {
        in_range("min_steps", min_steps as f64, ">= 1", min_steps >= 1)?;
        self.min_steps = min_steps;
        Ok(self)
    }

    /// The batch stays whole until all its samples have ended.
    ///
    /// Samples that have ended are kept as they were by a mask on the device instead of leaving
    /// the batch. They cost what they did before, but no tensor changes its shape and nothing is
    /// sent to the device, which pays on a GPU: it compiles and times kernels for every new shape.
    /// States and outcomes are the same up to rounding, and no bit of a sample depends on when, or how,
    /// the others end.
    #[must_use]
    pub fn with_whole_batch(mut self) -> Self {
        self.whole = true;
        self
    }

    /// Keep the residuals of every check in [`Solution::trace`](crate::Solution::trace).
    #[must_use]
    pub fn with_trace(mut self) -> Self {
        self.trace = true;
        self
    }

    /// Applications of the map at most.
    pub fn max_steps(&self) -> usize {
        self.max_steps
    }

    /// Relative tolerance.
    pub fn rtol(&self) -> f64 {
        self.rtol
    }

    pub(crate) fn keeps_whole(&self) -> bool {
        self.whole
    }

    pub(crate) fn traces(&self) -> bool {
        self.trace
    }

    pub(crate) fn is_check(&self, step: usize) -> bool {
        let looked = step >= self.min_steps && step.is_multiple_of(self.check_every);
        looked || step == self.max_steps
    }

    /// `|f(s) - s| <= atol + rtol |f(s)|`; false for anything that is not a number.
    pub(crate) fn is_met(&self, difference: f64, norm: f64) -> bool {
        difference <= self.atol + self.rtol * norm
    }

    /// [`Self::is_met`] on the device, in its f32: 1 or 0 for every sample, `[batch, 1]`.
    pub(crate) fn are_met(&self, difference: &Tensor<2>, norm: &Tensor<2>) -> Tensor<2> {
        let bound = norm.clone().mul_scalar(self.rtol).add_scalar(self.atol);
        difference.clone().lower_equal(bound).float()
    }
}
