//! Couplings: an interaction and the layers that it joins.

use burn::module::{Module, ParamId};
use burn::tensor::Tensor;

use crate::energy::interaction::bilinear::Direction;
use crate::energy::interaction::{Interaction, InteractionKind};
use crate::energy::layer::LayerId;

/// Which layers are to be coupled, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CouplingSpec {
    /// One of the layers.
    pub lower: LayerId,
    /// The other one, or the same.
    pub upper: LayerId,
    /// Kind of interaction.
    pub kind: InteractionKind,
}

impl CouplingSpec {
    /// All pairs of units of layers `a` and `b`, in either order.
    pub fn dense(a: LayerId, b: LayerId) -> Self {
        Self { lower: a.min(b), upper: a.max(b), kind: InteractionKind::Dense }
    }

    /// All pairs of units within layer `k`.
    pub fn within(k: LayerId) -> Self {
        Self { lower: k, upper: k, kind: InteractionKind::Within }
    }

    /// Pairs of units within layer `k` that are at most `reach` rows and `reach` columns apart.
    pub fn banded(k: LayerId, reach: usize) -> Self {
        Self { kind: InteractionKind::Banded { reach }, ..Self::within(k) }
    }

    /// Each of `layers` layers coupled densely with the next.
    pub fn chain(layers: usize) -> Vec<Self> {
        (1..layers).map(|k| Self::dense(LayerId(k - 1), LayerId(k))).collect()
    }
}

/// A symmetric coupling between two layers, or within one.
#[derive(Module, Debug)]
pub struct Coupling {
    /// The linear map, used in both directions.
    pub interaction: Interaction,
    /// The layer with the lower number.
    #[module(skip)]
    pub lower: LayerId,
    /// The layer with the higher number; equal to `lower` within a layer.
    #[module(skip)]
    pub upper: LayerId,
}

impl Coupling {
    /// Whether it couples a layer with itself.
    pub fn is_within(&self) -> bool {
        self.lower == self.upper
    }

    /// Whether it couples `a` and `b`, in either order.
    pub(crate) fn joins(&self, a: LayerId, b: LayerId) -> bool {
        (self.lower, self.upper) == (a.min(b), a.max(b))
    }

    /// The layer from which it carries signals to layer `k`, and which way; `None` if to others.
    pub(crate) fn source(&self, k: LayerId) -> Option<(LayerId, Direction)> {
        if self.upper == k {
            Some((self.lower, Direction::Up))
        } else {
            (self.lower == k).then_some((self.upper, Direction::Down))
        }
    }

    /// Whether it couples layer `k` with any layer.
    pub(crate) fn touches(&self, k: LayerId) -> bool {
        self.lower == k || self.upper == k
    }

    /// The id of the weights.
    pub fn id(&self) -> ParamId {
        self.interaction.linear().weights().id()
    }

    /// The weights, flat, in the order in which they lie in their tensor.
    pub fn weights(&self) -> Tensor<1> {
        self.interaction.linear().weights().flat()
    }

    /// Replaces the weights, given flat; their id stays.
    pub fn set_weights(&mut self, weights: Tensor<1>) {
        self.interaction.linear_mut().weights_mut().set(weights);
    }

    /// Number of independent weights: within a layer one for each joined pair of units.
    pub fn parameters(&self) -> usize {
        self.interaction.linear().parameters()
    }

    /// `E = -<t, W s>` between layers and `-1/2 <s, R s>` within one, of every sample,
    /// `[batch, 1]`.
    pub(crate) fn energy(&self, lower: Tensor<2>, upper: Tensor<2>) -> Tensor<2> {
        let share = if self.is_within() { -0.5 } else { -1.0 };
        self.interaction.linear().product(lower, upper).mul_scalar(share)
    }
}
