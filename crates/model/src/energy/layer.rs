//! Layers: shape, nonlinearity, gain and bias.

use std::fmt;

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::energy::activation::Activation;

/// The place of a layer in its network, from 0.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct LayerId(pub usize);

impl fmt::Display for LayerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How the units of a layer are arranged. States are flat, `[batch, channels height width]`, with
/// the pixels of a channel row after row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Channels; 1 for grey images and for layers without a grid.
    pub channels: usize,
    /// Rows of a channel.
    pub height: usize,
    /// Columns of a channel.
    pub width: usize,
}

impl Shape {
    /// `units` units without a grid.
    pub fn flat(units: usize) -> Self {
        Self { channels: 1, height: 1, width: units }
    }

    /// A grey image.
    pub fn grey(height: usize, width: usize) -> Self {
        Self { channels: 1, height, width }
    }

    /// Number of units.
    pub fn size(self) -> usize {
        self.channels * self.height * self.width
    }

    /// Row and column of a unit.
    pub(crate) fn place(self, unit: usize) -> [usize; 2] {
        let pixel = unit % (self.height * self.width);
        [pixel / self.width, pixel % self.width]
    }
}

/// Shape, nonlinearity and gain of a layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerSpec {
    /// Name used in messages and logs, such as `hidden1`.
    pub name: String,
    /// How its units are arranged.
    pub shape: Shape,
    /// Nonlinearity `g`.
    pub activation: Activation,
    /// Gain `c > 0`: `s = g(c a)`, that is, the layer's energy is `A(s) / c`.
    pub gain: f64,
    /// Whether the layer has a bias; a layer that is always clamped needs none.
    pub bias: bool,
}

impl LayerSpec {
    /// A layer of `size` units with a bias and gain 1.
    pub fn new(name: &str, size: usize, activation: Activation) -> Self {
        let shape = Shape::flat(size);
        Self { name: name.to_owned(), shape, activation, gain: 1.0, bias: true }
    }

    /// The same layer with another gain.
    #[must_use]
    pub fn with_gain(self, gain: f64) -> Self {
        Self { gain, ..self }
    }

    /// The same layer with its units arranged otherwise.
    #[must_use]
    pub fn with_shape(self, shape: Shape) -> Self {
        Self { shape, ..self }
    }

    /// The same layer without a bias, for one that is always clamped.
    #[must_use]
    pub fn without_bias(self) -> Self {
        Self { bias: false, ..self }
    }

    /// Number of units.
    pub fn size(&self) -> usize {
        self.shape.size()
    }
}

/// A layer of a [`HopfieldNetwork`](crate::HopfieldNetwork).
#[derive(Module, Debug)]
pub struct Layer {
    /// Bias `b`, `[size]`; starts uniform in `+-1/sqrt(fan in)`, divided by the gain.
    pub bias: Option<Param<Tensor<1>>>,
    /// What the layer is.
    #[module(skip)]
    pub spec: LayerSpec,
}
