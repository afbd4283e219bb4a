//! The map whose fixed point is sought.

use burn::tensor::{Int, Tensor};

use crate::State;

/// A map `f` on a batch of independent samples: row `i` of the image depends on row `i` of the
/// state alone.
pub trait FixedPointMap: Sized {
    /// The image `f(s)`, of the same shapes as `state`.
    fn apply(&self, state: &State) -> State;

    /// This map restricted to the samples `rows`: whatever it holds per sample is selected.
    #[must_use]
    fn select(&self, rows: &Tensor<1, Int>) -> Self;

    /// The components on which the image depends. Residuals, and the memory of accelerating
    /// methods, look at these alone.
    ///
    /// All of the `components` of the state by default. A block sweep does not depend on the
    /// block that it updates first, see [`Sweep`](crate::Sweep).
    fn carried(&self, components: usize) -> Vec<usize> {
        (0..components).collect()
    }
}
