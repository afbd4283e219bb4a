//! Interactions: the linear map between two layers, or of one layer to itself.
//!
//! An interaction between a lower layer with states `s` and an upper one with states `t`, both
//! `[batch, n]`, contributes `-<t, W s>` to the energy, summed over units. Dynamics and learning
//! rule need no more of it than what [`Bilinear`] asks for: two maps, a gradient that is bilinear in
//! the states, and a few numbers. They never see the shape of `W`.
//!
//! | kind | `W s` | `dE/dW` |
//! |---|---|---|
//! | [`dense`] | matrix product | `-s' t` |
//! | within a layer: [`symmetric`] | symmetric matrix with zero diagonal | `-(s' s)/2`, symmetrised |
//! | banded: [`symmetric`] | the same, for units near each other on the layer's grid | likewise |
//!
//! In host memory all of them are applied in the form of [`packed`]. A new kind is one more file that
//! implements [`Bilinear`], and a variant of the enums below.

pub(crate) mod bilinear;
pub(crate) mod dense;
pub(crate) mod packed;
pub(crate) mod symmetric;

use burn::{module::Module, tensor::Device};

use crate::energy::layer::Shape;
use bilinear::Bilinear;
use dense::Dense;
use symmetric::Symmetric;

/// An interaction of one of the kinds.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "a network has a handful of them")]
pub enum Interaction {
    /// All pairs of units of two layers.
    Dense(Dense),
    /// All pairs of units within a layer.
    Within(Symmetric),
    /// Pairs of nearby units within a layer.
    Banded(Symmetric),
}

/// Which interaction a coupling has; see [`Interaction`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are those of `Interaction`")]
pub enum InteractionKind {
    Dense,
    Within,
    Banded {
        /// How many rows, and how many columns, two joined units are apart at most.
        reach: usize,
    },
}

impl InteractionKind {
    /// How many units of the lower layer act on one of the upper layer.
    pub(crate) fn fan_in(self, [lower, upper]: [Shape; 2]) -> usize {
        match self {
            Self::Dense => lower.size(),
            Self::Within | Self::Banded { .. } => upper.size(),
        }
    }

    /// How many numbers its weights hold; a float, because the count may exceed any integer.
    pub(crate) fn stored(self, [lower, upper]: [Shape; 2]) -> f64 {
        match self {
            Self::Dense => lower.size() as f64 * upper.size() as f64,
            Self::Within | Self::Banded { .. } => (upper.size() as f64).powi(2),
        }
    }

    /// The interaction between layers of these shapes, whose weights come from `draw`, which is
    /// given how many it needs.
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
            Self::Within => Interaction::Within(Symmetric::within(values, n, device)),
            Self::Banded { reach } => {
                Interaction::Banded(Symmetric::banded(values, lower, reach, device))
            }
        }
    }
}

impl Interaction {
    /// Its linear map.
    pub(crate) fn linear(&self) -> &dyn Bilinear {
        match self {
            Self::Dense(dense) => dense,
            Self::Within(symmetric) | Self::Banded(symmetric) => symmetric,
        }
    }

    /// The same, to change its weights.
    pub(crate) fn linear_mut(&mut self) -> &mut dyn Bilinear {
        match self {
            Self::Dense(dense) => dense,
            Self::Within(symmetric) | Self::Banded(symmetric) => symmetric,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::wave;

    fn kinds() -> Vec<(Interaction, [usize; 2])> {
        let shape = Shape::grey(3, 5);
        let build = |kind: InteractionKind, shapes: [Shape; 2]| {
            let draw = |count| (0..count).map(|i| (i as f32 * 0.61).cos()).collect();
            (kind.build(shapes, draw, &Device::flex()), shapes.map(Shape::size))
        };
        vec![
            build(InteractionKind::Dense, [Shape::flat(7), shape]),
            build(InteractionKind::Within, [shape, shape]),
            build(InteractionKind::Banded { reach: 1 }, [shape, shape]),
        ]
    }

    /// `<t, W s> = <W' t, s>`.
    #[test]
    fn the_two_maps_are_adjoint() {
        for (interaction, [lower, upper]) in kinds() {
            let (s, t) = (wave(4, lower, 0.0), wave(4, upper, 1.0));
            let linear = interaction.linear();
            let up: f32 = (linear.to_upper(s.clone()) * t.clone()).sum().into_scalar();
            let down: f32 = (linear.to_lower(t) * s).sum().into_scalar();
            assert!((up - down).abs() < 1e-4 * up.abs(), "{interaction:?}: {up} {down}");
        }
    }

    /// `<t, W s>` is linear in `W`, so its gradient times a change of the weights is the change of
    /// it.
    #[test]
    fn the_gradient_is_that_of_the_product() {
        for (mut interaction, [lower, upper]) in kinds() {
            let (s, t) = (wave(4, lower, 0.0), wave(4, upper, 1.0));
            let product = |of: &Interaction| -> f32 {
                of.linear().product(s.clone(), t.clone()).sum().into_scalar()
            };
            let before = product(&interaction);
            let gradient = interaction.linear().gradient(s.clone(), t.clone());
            // Along the gradient, which lies in the directions in which the weights can change.
            let length: f32 = gradient.clone().square().sum().into_scalar();
            let weights = interaction.linear().weights().flat() + gradient.mul_scalar(1.0 / length);
            interaction.linear_mut().weights_mut().set(weights);
            assert!(interaction.linear().is_sound());
            let change = product(&interaction) - before;
            assert!((change - 1.0).abs() < 1e-3, "{interaction:?}: {change}");
        }
    }
}
