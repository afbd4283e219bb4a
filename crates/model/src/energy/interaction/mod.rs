//! Interactions: the linear map between two layers, or of one layer to itself.
//!
//! An interaction between a lower layer with states `s` and an upper one with states `t`, both
//! `[batch, n]`, contributes `-<t, W s>` to the energy, summed over units. Dynamics and learning rule
//! need of it no more than what [`Bilinear`] asks for: two maps, a gradient that is bilinear in the
//! states, and a few numbers. They never see the shape of `W`.
//!
//! | kind | `W s` | `dE/dW` |
//! |---|---|---|
//! | [`dense`] | matrix product | `-s' t` |
//! | [`within`] | symmetric matrix with zero diagonal | `-(s' s)/2`, symmetrised |
//! | [`banded`] | the same, for units that lie near each other on the layer's grid | likewise |
//!
//! A new kind is one more file that implements [`Bilinear`], and a variant of [`Interaction`] and of
//! [`InteractionKind`].

pub(crate) mod banded;
pub(crate) mod dense;
mod matrix;
pub(crate) mod within;

use std::fmt::Debug;

use burn::module::{Module, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};

use crate::energy::interaction::banded::Banded;
use crate::energy::interaction::dense::Dense;
use crate::energy::interaction::within::Within;
use crate::energy::layer::Shape;
use crate::scalar::Scalar;

/// Which way a signal passes through an interaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the lower to the upper layer.
    Up,
    /// From the upper to the lower layer.
    Down,
}

/// What every kind of interaction provides.
///
/// Gradients are flat, `[stored weights]`, in the order in which the weights lie in their tensor, so
/// that sums and products with numbers need not know its rank.
pub(crate) trait Bilinear: Debug {
    /// `W s`: what the upper layer receives from the states `s` of the lower one, `[batch, n_upper]`.
    fn to_upper(&self, lower: Tensor<2>) -> Tensor<2>;

    /// `W' t`, the adjoint map, `[batch, n_lower]`.
    fn to_lower(&self, upper: Tensor<2>) -> Tensor<2>;

    /// The gradient of `<t, W s>` in the weights, summed over the batch, projected on the directions in
    /// which they can change.
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

    /// Whether the weights have an energy, as weights from elsewhere may not: within a layer they must
    /// be symmetric, and zero for pairs that are not joined.
    fn is_sound(&self) -> bool {
        true
    }

    /// The id of the weights.
    fn id(&self) -> ParamId;

    /// The weights, flat.
    fn weights(&self) -> Tensor<1>;

    /// Replaces the weights, given flat; their id stays.
    fn set_weights(&mut self, weights: Tensor<1>);

    /// Multiplies the weights.
    fn scale(&mut self, factor: &Scalar);

    /// Registers a flat gradient under the id and in the shape of the weights.
    fn register(&self, gradient: Tensor<1>, gradients: &mut GradientsParams);

    /// Projects a gradient by automatic differentiation as [`Self::gradient`] is.
    fn project(&self, gradients: &mut GradientsParams) {
        let _ = gradients;
    }
}

/// An interaction of one of the kinds.
#[derive(Module, Debug)]
pub enum Interaction {
    /// All pairs of units of two layers.
    Dense(Dense),
    /// All pairs of units within a layer.
    Within(Within),
    /// Pairs of nearby units within a layer.
    Banded(Banded),
}

/// Which interaction a coupling has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InteractionKind {
    /// See [`Dense`].
    Dense,
    /// See [`Within`].
    Within,
    /// See [`Banded`].
    Banded {
        /// How many rows, and how many columns, two joined units are apart at most.
        reach: usize,
    },
}

impl InteractionKind {
    /// How many units of the lower layer act on one of the upper layer.
    pub(crate) fn fan_in(self, [lower, _]: [Shape; 2]) -> usize {
        match self {
            Self::Dense | Self::Within | Self::Banded { .. } => lower.size(),
        }
    }

    /// How many numbers its weights hold; a float, because the count may exceed any integer.
    pub(crate) fn stored(self, [lower, upper]: [Shape; 2]) -> f64 {
        match self {
            Self::Dense | Self::Within | Self::Banded { .. } => {
                lower.size() as f64 * upper.size() as f64
            }
        }
    }

    /// The interaction between layers of these shapes, whose weights come from `draw`, which is given
    /// how many it needs.
    pub(crate) fn build(
        self,
        [lower, upper]: [Shape; 2],
        draw: impl FnOnce(usize) -> Vec<f32>,
        device: &Device,
    ) -> Interaction {
        let (n, m) = (lower.size(), upper.size());
        let values = draw(n * m);
        match self {
            Self::Dense => Interaction::Dense(Dense::new(values, [n, m], device)),
            Self::Within => Interaction::Within(Within::new(values, n, device)),
            Self::Banded { reach } => {
                Interaction::Banded(Banded::new(values, lower, reach, device))
            }
        }
    }
}

impl Interaction {
    /// What it can do, whatever its kind.
    pub(crate) fn linear(&self) -> &dyn Bilinear {
        match self {
            Self::Dense(dense) => dense,
            Self::Within(within) => within,
            Self::Banded(banded) => banded,
        }
    }

    /// The same, to change its weights.
    pub(crate) fn linear_mut(&mut self) -> &mut dyn Bilinear {
        match self {
            Self::Dense(dense) => dense,
            Self::Within(within) => within,
            Self::Banded(banded) => banded,
        }
    }
}
