//! When the iteration of a sample ends.

use burn::tensor::Tensor;

use crate::error::{SolverError, in_range};

/// Tolerances, maximum number of iterations, and how often convergence is checked.
///
/// | setting | default | meaning | range |
/// |---|---|---|---|
/// | `rtol` | given | relative tolerance | finite, >= 0 |
/// | `atol` | 0 | absolute tolerance | finite, >= 0 |
/// | `max_iterations` | given | maximum number of iterations | >= 1 |
/// | `min_iterations` | 1 | no check before this many iterations | >= 1 |
/// | `check_every` | 1 | iterations between two checks; each check reads the device once | >= 1 |
/// | `masking` | off | mask ended samples instead of removing them, see [`Self::with_masking`] | |
/// | `trace` | off | record the residuals of every check | |
///
/// With both tolerances 0 only exact fixed points converge. Together with a `check_every` of
/// `max_iterations` this runs a fixed number of iterations, reads the device once and returns the
/// last image, which is what a noisy map needs: its residual never vanishes.
///
/// ```
/// use hvae_solver::StoppingRule;
///
/// let rule = StoppingRule::new(1e-4, 100)?.with_atol(1e-6)?.with_check_every(5)?;
/// assert_eq!((rule.rtol(), rule.max_iterations()), (1e-4, 100));
/// # Ok::<(), hvae_solver::SolverError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StoppingRule {
    rtol: f64,
    atol: f64,
    max_iterations: usize,
    min_iterations: usize,
    check_every: usize,
    pub(crate) masking: bool,
    pub(crate) trace: bool,
}

impl StoppingRule {
    /// Stops at relative tolerance `rtol`, or after `max_iterations`.
    pub fn new(rtol: f64, max_iterations: usize) -> Result<Self, SolverError> {
        in_range("rtol", rtol, ">= 0", rtol >= 0.0)?;
        in_range("max_iterations", max_iterations as f64, ">= 1", max_iterations >= 1)?;
        Ok(Self {
            rtol,
            atol: 0.0,
            max_iterations,
            min_iterations: 1,
            check_every: 1,
            masking: false,
            trace: false,
        })
    }

    /// Sets the absolute tolerance.
    pub fn with_atol(self, atol: f64) -> Result<Self, SolverError> {
        in_range("atol", atol, ">= 0", atol >= 0.0)?;
        Ok(Self { atol, ..self })
    }

    /// Checks every `check_every` iterations, and always at the last one.
    pub fn with_check_every(self, check_every: usize) -> Result<Self, SolverError> {
        in_range("check_every", check_every as f64, ">= 1", check_every >= 1)?;
        Ok(Self { check_every, ..self })
    }

    /// Makes no check before `min_iterations` iterations, except at the last one: for maps that
    /// take several iterations to propagate a signal from one end of the state to the other, before
    /// which a small residual is meaningless.
    pub fn with_min_iterations(self, min_iterations: usize) -> Result<Self, SolverError> {
        in_range("min_iterations", min_iterations as f64, ">= 1", min_iterations >= 1)?;
        Ok(Self { min_iterations, ..self })
    }

    /// Masks ended samples on the device instead of removing them from the batch.
    ///
    /// They cost as much as before, but no tensor changes its shape and nothing is uploaded. That
    /// pays on a GPU, which compiles and tunes kernels for every new shape. States and outcomes
    /// agree with those of the default up to rounding, and no bit of a sample depends on when or
    /// how others end.
    #[must_use]
    pub fn with_masking(self) -> Self {
        Self { masking: true, ..self }
    }

    /// Records the residuals of every check in [`Solution::trace`](crate::Solution::trace).
    #[must_use]
    pub fn with_trace(self) -> Self {
        Self { trace: true, ..self }
    }

    /// Whether the residuals of every check are recorded.
    pub fn traces(&self) -> bool {
        self.trace
    }

    /// Maximum number of iterations.
    pub fn max_iterations(&self) -> usize {
        self.max_iterations
    }

    /// Relative tolerance.
    pub fn rtol(&self) -> f64 {
        self.rtol
    }

    /// Whether convergence is checked after `iterations` iterations.
    pub(crate) fn is_check(&self, iterations: usize) -> bool {
        let due = iterations >= self.min_iterations && iterations.is_multiple_of(self.check_every);
        due || iterations == self.max_iterations
    }

    /// `|f(s) - s| <= atol + rtol |f(s)|`; false for NaN.
    pub(crate) fn is_met(&self, difference: f64, norm: f64) -> bool {
        difference <= self.atol + self.rtol * norm
    }

    /// [`Self::is_met`] on the device, in f32: 1 or 0 for every sample, `[batch, 1]`.
    pub(crate) fn are_met(&self, difference: &Tensor<2>, norm: &Tensor<2>) -> Tensor<2> {
        let bound = norm.clone().mul_scalar(self.rtol).add_scalar(self.atol);
        difference.clone().lower_equal(bound).float()
    }
}
