//! What a method does with a state and its image.

use burn::tensor::{Int, Tensor};

use crate::State;

/// What a method remembers between steps, one row per sample.
pub trait Memory {
    /// The memory of the samples `rows` alone.
    #[must_use]
    fn select(self, rows: &Tensor<1, Int>) -> Self;
}

impl Memory for () {
    fn select(self, _rows: &Tensor<1, Int>) -> Self {}
}

/// A fixed-point method: how the next state follows from a state and its image.
///
/// Looping, measuring, stopping and freezing are [`solve`](crate::solve)'s; a method is these two
/// functions.
pub trait Method {
    /// What the method remembers.
    type Memory: Memory;

    /// An empty memory for a map that carries the components `carried`.
    fn start(&self, carried: &[usize]) -> Self::Memory;

    /// The next state, from a state and its image `f(state)`.
    fn step(&self, state: State, image: State, memory: &mut Self::Memory) -> State;
}
