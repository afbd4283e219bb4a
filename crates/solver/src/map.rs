//! The map whose fixed point is sought.

use burn::tensor::{Int, Tensor};

use crate::{error::SolverError, state::State};

/// A map `f` on a batch of independent samples: row `i` of the image depends on row `i` of the
/// state only.
///
/// The last bits may depend on the *number* of rows, as those of matrix products do, whose kernels
/// are selected by shape; see [Independence of samples](crate#independence-of-samples).
pub trait FixedPointMap: Sized {
    /// The image `f(s)`, with the shapes and the data type of `state`.
    ///
    /// `iteration` is the index of this application in the solve, from 0. A deterministic map
    /// ignores it; a noisy one, such as a model of an analog device, draws its noise from
    /// `(seed, sample, iteration)`. [`solve`](crate::solve()) advances all samples in lockstep, so
    /// the index is the same for every row, also in batches that have been compacted and in every
    /// part of [`solve_in_parts`](crate::solve_in_parts). Row numbers do change there: a map with
    /// separate noise for every sample stores the sample ids and selects them in [`Self::select`].
    /// A solve that continues another one starts at 0 again, so two solves need different seeds.
    fn apply(&self, state: &State, iteration: usize) -> State;

    /// This map restricted to the samples `rows`: selects what it stores per sample.
    #[must_use]
    fn select(&self, rows: &Tensor<1, Int>) -> Self;

    /// The components over which residuals are measured: those that the image depends on, each
    /// once. Damping and acceleration act on them only.
    ///
    /// Default: all of the `components` of the state. A block sweep overwrites its first block
    /// before reading it, so that block is not measured; see [`Sweep`](crate::Sweep).
    ///
    /// A component that is missing here although the image depends on it makes samples count as
    /// converged too early.
    fn measured(&self, components: usize) -> Vec<usize> {
        (0..components).collect()
    }

    /// Factor of a component in the residual, finite and > 0: balances components of different
    /// scales. Default: 1.
    ///
    /// The least-squares problem of [`Anderson`](crate::Anderson) is not weighted.
    fn weight(&self, component: usize) -> f64 {
        let _ = component;
        1.0
    }

    /// Checks that the map fits states of `components` components. Called once by
    /// [`solve`](crate::solve()), before the first iteration. Default: it does. An error says what
    /// is wrong, such as a block with a component that does not exist.
    fn check(&self, components: usize) -> Result<(), SolverError> {
        let _ = components;
        Ok(())
    }
}
