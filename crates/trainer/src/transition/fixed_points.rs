//! Fixed points at many values of `beta`, by branch.

use burn::tensor::Tensor;
use serde::Serialize;

/// A branch of fixed points, named by how it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Branch {
    /// From the mean, with increasing `beta`.
    Up,
    /// From patterns, with decreasing `beta`.
    Down,
    /// The mean of equidistant patterns, a fixed point at every `beta`.
    Mean,
    /// Newton's method from the midpoint between two patterns.
    Saddle,
}

impl Branch {
    /// Its name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Mean => "mean",
            Self::Saddle => "saddle",
        }
    }
}

/// A fixed point, or the state at which the iteration limit ended the search for it.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct FixedPoint {
    pub(crate) branch: Branch,
    /// Index among the states that are followed together.
    pub(crate) track: usize,
    /// `beta D^2 / 2`.
    pub(crate) beta_eff: f64,
    /// Distance to the mean, relative to that of a pattern.
    pub(crate) order: f64,
    pub(crate) energy: f64,
    /// Iterations from the fixed point at the previous `beta`.
    pub(crate) iterations: usize,
    /// Whether the iteration limit was reached.
    pub(crate) at_limit: bool,
}

/// Fixed points with their softmax weights.
#[derive(Debug, Default)]
pub(crate) struct FixedPoints {
    pub(super) points: Vec<FixedPoint>,
    pub(super) betas: Vec<f64>,
    weights: Vec<Tensor<2>>,
}

impl FixedPoints {
    /// Number of fixed points.
    pub(super) fn len(&self) -> usize {
        self.points.len()
    }

    /// Appends points with the `beta` of each and their weights `[points, N]`.
    pub(super) fn append(
        &mut self,
        points: impl IntoIterator<Item = FixedPoint>,
        betas: &[f64],
        weights: Tensor<2>,
    ) {
        self.points.extend(points);
        self.betas.extend(betas);
        self.weights.push(weights);
    }

    /// The weights of all points, `[points, N]`; `None` if there are no points.
    pub(super) fn weights(&self) -> Option<Tensor<2>> {
        (!self.weights.is_empty()).then(|| Tensor::cat(self.weights.clone(), 0))
    }
}
