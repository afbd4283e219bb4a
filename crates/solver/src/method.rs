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

    /// An empty memory for a map that carries the components `carried`, of which there is at
    /// least one.
    fn start(&self, carried: &[usize]) -> Self::Memory;

    /// The next state, from a state and its image `f(state)`.
    ///
    /// Row by row: no sample enters the next state of another.
    fn step(&self, state: State, image: State, memory: &mut Self::Memory) -> State;

    /// Whether [`Self::step`] reads the state, besides its image. True by default; where it is
    /// not, `step` may be handed the image in its place, and samples that leave need not be cut
    /// out of the state.
    fn reads_state(&self) -> bool {
        true
    }
}
