//! How fast sweeps converge near an equilibrium.

use burn::tensor::Tensor;
use hvae_solver::{FixedPointMap, State, Sweep};

use crate::dynamics::relaxation::Relaxation;
use crate::error::ModelError;

impl Relaxation<'_> {
    /// The gain of one linearised sweep about `state`, for every sample, `[batch]`.
    ///
    /// The largest eigenvalue in modulus of the product of the block Jacobians, by `iterations`
    /// steps (at least one) of power iteration. Where it is below 1, undamped sweeps converge
    /// locally, by that factor a sweep.
    ///
    /// # Errors
    ///
    /// [`ModelError::Network`] and [`ModelError::Shape`] of `state` as [`Self::relax`] of its
    /// start.
    pub fn loop_gain(&self, state: &State, iterations: usize) -> Result<Tensor<1>, ModelError> {
        let linear = Sweep(self.linearised(state)?);
        let measured = linear.measured(state.components().len());
        let norm = |s: &State| {
            let squares = measured.iter().map(|&c| s.component(c).clone().square().sum_dim(1));
            squares.reduce(|a, b| a + b).expect("a sweep carries a component").sqrt()
        };
        let mut vector = state.map(|s| s.ones_like());
        let mut gain = norm(&vector);
        for iteration in 0..iterations.max(1) {
            let length = norm(&vector).clamp_min(f32::MIN_POSITIVE);
            vector = linear.apply(&vector.map(|v| v / length.clone()), iteration);
            gain = norm(&vector);
        }
        Ok(gain.squeeze_dim(1))
    }
}
