//! The interface of a fixed-point method.

use burn::tensor::{Int, Tensor};

use crate::state::State;

/// What a method remembers between iterations, one row per sample.
pub trait Memory {
    /// The memory of the samples `rows`.
    #[must_use]
    fn select(self, rows: &Tensor<1, Int>) -> Self;
}

impl Memory for () {
    fn select(self, _rows: &Tensor<1, Int>) -> Self {}
}

/// A fixed-point method: computes the next state from a state and its image.
///
/// [`solve`](crate::solve()) has the loop, the residuals, the stopping rule and the removal of
/// ended samples. A method is these two functions.
pub trait Method {
    /// What the method remembers.
    type Memory: Memory;

    /// An empty memory. `measured` are the components that the image depends on, at least one; see
    /// [`FixedPointMap::measured`](crate::FixedPointMap::measured).
    fn start(&self, measured: &[usize]) -> Self::Memory;

    /// The next state, from a state and its image `f(state)`.
    ///
    /// Works row by row: no sample affects the next state of another.
    fn advance(&self, state: State, image: State, memory: &mut Self::Memory) -> State;

    /// Whether [`Self::advance`] reads `state`. If not, the solver may pass the image instead, and
    /// saves the selection of rows from the old state. Default: true.
    fn reads_state(&self) -> bool {
        true
    }
}
