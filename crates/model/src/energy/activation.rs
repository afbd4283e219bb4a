//! Nonlinearities, their derivatives and their energies, side by side.

use std::fmt;

use burn::tensor::{Tensor, activation};
use serde::de::{self, IntoDeserializer, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// A monotone nonlinearity `g`, the gradient of a convex Lagrangian `L`; `A` is the convex
/// conjugate of `L` and the layer's own term of the energy (Krotov 2021, arXiv 2107.06446).
///
/// | | `g(a)` | `A(s)` | `g'` in terms of `s = g(a)` |
/// |---|---|---|---|
/// | `identity` | `a` | `s^2/2` | 1 |
/// | `relu` | `max(a, 0)` | `s^2/2`, `s >= 0` | `s > 0` |
/// | `hard-sigmoid` | `clamp(a, 0, 1)` | `s^2/2`, `0 <= s <= 1` | `0 < s < 1` |
/// | `sigmoid` | `1/(1 + exp(-a))` | `s ln s + (1-s) ln(1-s)` | `s(1-s)` |
/// | `tanh` | `tanh a` | `((1+s) ln(1+s) + (1-s) ln(1-s))/2` | `1 - s^2` |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// No nonlinearity.
    Identity,
    /// Rectified linear.
    Relu,
    /// Clamp to `[0, 1]`.
    HardSigmoid,
    /// Logistic function.
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
}

/// Beyond this argument the logistic function has saturated in f32.
pub(crate) const SATURATION: f32 = 43.0;

impl Activation {
    /// `g(a)`, elementwise.
    pub fn apply<const D: usize>(self, a: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Identity => a,
            Self::Relu => activation::relu(a),
            Self::HardSigmoid => a.clamp(0.0, 1.0),
            Self::Sigmoid => activation::sigmoid(a),
            Self::Tanh => a.tanh(),
        }
    }

    /// `g(a + change) - g(a)`, elementwise, to the relative accuracy of `change` however small it
    /// is.
    ///
    /// Where `g` is piecewise linear, with `p = g(a)`, it is `change + (a - p)`, clamped to `-p`
    /// and the rest of the range. For the logistic function, with `t = exp(-a)`, it is
    ///
    /// ```text
    /// t/(1 + t) (exp(change) - 1)/(t + exp(change))
    /// ```
    ///
    /// and `tanh a = 2 sigmoid(2a) - 1`.
    pub fn increment<const D: usize>(self, a: Tensor<D>, change: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Identity => change,
            Self::Relu | Self::HardSigmoid => {
                let p = self.apply(a.clone());
                let moved = change + (a - p.clone());
                let low = p.clone().neg();
                // By comparison, which keeps NaN.
                let moved = moved.clone().mask_where(moved.lower(low.clone()), low);
                if self == Self::Relu {
                    return moved;
                }
                let high = p.neg().add_scalar(1.0);
                moved.clone().mask_where(moved.greater(high.clone()), high)
            }
            Self::Sigmoid => {
                // In saturation only the end point of the change counts.
                let range = |t: Tensor<D>| t.clamp(-SATURATION, SATURATION);
                let to = a.clone() + change.clone();
                let beyond = a
                    .clone()
                    .abs()
                    .greater_elem(SATURATION)
                    .bool_or(to.clone().abs().greater_elem(SATURATION));
                let a = range(a);
                let change = change.mask_where(beyond, range(to) - a.clone());
                let t = a.neg().exp();
                let grown = change.clone().exp();
                // The exponential series to the eighth power: below 2^-1, to within 1e-8.
                let mut series = change.ones_like();
                for n in (2..=8).rev() {
                    series = (series * change.clone()).div_scalar(n).add_scalar(1.0);
                }
                let near = change.clone().abs().lower_elem(0.5);
                let less_one = grown.clone().sub_scalar(1.0).mask_where(near, series * change);
                t.clone() / t.clone().add_scalar(1.0) * (less_one / (t + grown))
            }
            Self::Tanh => {
                let (a, change) = (a.mul_scalar(2.0), change.mul_scalar(2.0));
                Self::Sigmoid.increment(a, change).mul_scalar(2.0)
            }
        }
    }

    /// `g'(a)` where `s = g(a)`, elementwise.
    pub fn slope<const D: usize>(self, s: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Identity => s.ones_like(),
            Self::Relu => s.greater_elem(0.0).float(),
            Self::HardSigmoid => s.clone().greater_elem(0.0).float() * s.lower_elem(1.0).float(),
            Self::Sigmoid => s.clone() * (-s).add_scalar(1.0),
            Self::Tanh => (-s.square()).add_scalar(1.0),
        }
    }

    /// `A(s)`, elementwise; finite on the closed range of `g`, undefined outside.
    pub fn conjugate<const D: usize>(self, s: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Identity | Self::Relu | Self::HardSigmoid => s.square().mul_scalar(0.5),
            Self::Sigmoid => x_ln_x(s.clone()) + x_ln_x((-s).add_scalar(1.0)),
            Self::Tanh => {
                let (up, down) = (s.clone().add_scalar(1.0), (-s).add_scalar(1.0));
                (x_ln_x(up) + x_ln_x(down)).mul_scalar(0.5)
            }
        }
    }

    /// Whether the range of `g` is bounded.
    pub fn is_bounded(self) -> bool {
        !matches!(self, Self::Identity | Self::Relu)
    }

    /// Largest slope of `g`.
    pub fn max_slope(self) -> f64 {
        match self {
            Self::Sigmoid => 0.25,
            _ => 1.0,
        }
    }
}

/// The nonlinearities of the hidden layers: one for all, or one for each.
///
/// Written as a name, or as a list of names. Softmax is not one of them, because it couples the
/// units of its layer and everything here works unit by unit; see [`modern`](crate::modern).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum HiddenActivation {
    /// One for all hidden layers.
    All(Activation),
    /// One for each hidden layer, from the image to the latent.
    Each(Vec<Activation>),
}

impl HiddenActivation {
    /// The nonlinearity of hidden layer `i`, from 0 at the image; the last one if the list is too
    /// short.
    pub(crate) fn of(&self, i: usize) -> Activation {
        match self {
            Self::All(activation) => *activation,
            Self::Each(list) => {
                list.get(i).or(list.last()).copied().unwrap_or(Activation::Identity)
            }
        }
    }
}

impl From<Activation> for HiddenActivation {
    fn from(activation: Activation) -> Self {
        Self::All(activation)
    }
}

/// By hand, because the error of an untagged enum does not list the names.
impl<'de> Deserialize<'de> for HiddenActivation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameOrList;
        impl<'de> Visitor<'de> for NameOrList {
            type Value = HiddenActivation;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a nonlinearity, or a list of them")
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<Self::Value, E> {
                Activation::deserialize(name.into_deserializer()).map(HiddenActivation::All)
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
                let list = de::value::SeqAccessDeserializer::new(list);
                Vec::deserialize(list).map(HiddenActivation::Each)
            }
        }
        deserializer.deserialize_any(NameOrList)
    }
}

/// `x ln x`, with its limit 0 at `x = 0`.
fn x_ln_x<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    x.clone() * x.clamp_min(f32::MIN_POSITIVE).log()
}
