//! What every kind of interaction provides.

use std::fmt::Debug;

use burn::optim::GradientsParams;
use burn::tensor::Tensor;

use crate::energy::interaction::weights::Weights;

/// Which way a signal passes through an interaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the lower to the upper layer.
    Up,
    /// From the upper to the lower layer.
    Down,
}

/// What every kind of interaction provides. Gradients are flat, see [`Weights`].
pub(crate) trait Bilinear: Debug {
    /// `W s`: what the upper layer receives from the states `s` of the lower one,
    /// `[batch, n_upper]`.
    fn to_upper(&self, lower: Tensor<2>) -> Tensor<2>;

    /// `W' t`, the adjoint map, `[batch, n_lower]`.
    fn to_lower(&self, upper: Tensor<2>) -> Tensor<2>;

    /// The gradient of `<t, W s>` in the weights, summed over the batch, projected on the
    /// directions in which they can change.
    fn gradient(&self, lower: Tensor<2>, upper: Tensor<2>) -> Tensor<1>;

    /// `<t, W s>` of every sample, `[batch, 1]`.
    fn product(&self, lower: Tensor<2>, upper: Tensor<2>) -> Tensor<2> {
        (self.to_upper(lower) * upper).sum_dim(1)
    }

    /// How many units act on one unit, of the upper layer for [`Direction::Up`].
    fn fan_in(&self, direction: Direction) -> usize;

    /// The spectral norm of `W`, estimated from below, `[1]`.
    fn norm(&self) -> Tensor<1>;

    /// Number of independent weights.
    fn parameters(&self) -> usize;

    /// Whether the weights have an energy, as weights from elsewhere may not: within a layer they
    /// must be symmetric, and zero for pairs that are not joined.
    fn is_sound(&self) -> bool {
        true
    }

    /// The weights.
    fn weights(&self) -> &dyn Weights;

    /// The weights, to change them.
    fn weights_mut(&mut self) -> &mut dyn Weights;

    /// Projects a gradient by automatic differentiation as [`Self::gradient`] is.
    fn project(&self, gradients: &mut GradientsParams) {
        let _ = gradients;
    }
}
