//! Branches of fixed points followed up and down in `beta`.

use anyhow::Result;
use burn::tensor::Tensor;
use hvae_device::upload;
use hvae_model::modern::Space;
use hvae_runtime::rng::{self, Stream};
use hvae_runtime::terminal::Progress;
use hvae_solver::{Outcome, Picard, StoppingRule, Termination};
use serde::Serialize;

use crate::transition::patterns::{Measured, PatternSet};

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
    pub(super) fn name(self) -> String {
        format!("{self:?}").to_lowercase()
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
    pub(crate) at_limit: bool,
}

/// Fixed points, and their softmax weights in parts of `[points, N]`.
#[derive(Debug, Default)]
pub(crate) struct FixedPoints {
    pub(super) points: Vec<FixedPoint>,
    pub(super) weights: Vec<Tensor<2>>,
}

impl FixedPoints {
    pub(super) fn push(&mut self, set: &PatternSet, point: FixedPoint, weights: Vec<f32>) {
        self.points.push(point);
        self.weights.push(upload(weights, set.count(), &set.network.device()));
    }
}

/// Iteration limit at each `beta`.
const MAX_ITERATIONS: usize = 2_000;
const TOLERANCE: f64 = 1e-6;
/// Relative noise on the weights before each solve: it lets a state leave a fixed point that has
/// become unstable.
const NOISE: f32 = 1e-3;
/// States followed down for unequal patterns, each from a different pattern.
const TRACKS: usize = 8;

/// Follows states along `effective` (ascending): up from the mean, down from patterns. Each solve
/// starts at the previous fixed point.
pub(crate) fn follow(set: &PatternSet, effective: &[f64], seed: u64) -> Result<FixedPoints> {
    let (count, device) = (set.count(), set.network.device());
    let tracks = if set.description.equidistant { 1 } else { TRACKS.min(count) };
    let mean = upload(vec![1.0 / count as f32; count], count, &device);
    let corners = Tensor::<2>::eye(count, &device).narrow(0, 0, tracks);
    let mut progress = Progress::start("hysteresis", 2 * effective.len(), 0);
    let mut found = FixedPoints::default();
    let kernel = set.network.at(&[0.0], Space::Weights)?;
    let rule = StoppingRule::new(TOLERANCE, MAX_ITERATIONS)?;
    let descending: Vec<f64> = effective.iter().rev().copied().collect();
    for (branch, mut weights, values) in
        [(Branch::Up, mean, effective), (Branch::Down, corners, descending.as_slice())]
    {
        for &beta_eff in values {
            let done = found.points.len();
            progress.update(done / 2, || format!("{} {beta_eff:.3}", branch.name()));
            let betas = set.betas(&vec![beta_eff; weights.dims()[0]]);
            let noisy = perturbed(weights, seed, done as u64);
            let solution = kernel.with_betas(&betas)?.solve(noisy, &Picard, &rule)?;
            weights = solution.state.component(0).clone();
            let measured = set.measure(weights.clone(), &betas)?;
            let points = measured.into_iter().zip(&solution.outcomes).enumerate();
            let point = |(track, (Measured { order, energy }, outcome)): (_, (_, &Outcome))| {
                let at_limit = outcome.termination != Termination::Converged;
                let iterations = outcome.iterations;
                FixedPoint { branch, track, beta_eff, order, energy, iterations, at_limit }
            };
            found.points.extend(points.map(point));
            found.weights.push(weights.clone());
        }
    }
    Ok(found)
}

/// `weights` with a little multiplicative noise, normalised to sum 1.
fn perturbed(weights: Tensor<2>, seed: u64, index: u64) -> Tensor<2> {
    let [rows, count] = weights.dims();
    let noise = rng::normal(seed, Stream::Starts, 1000 + index, rows * count);
    let noise = upload(noise, count, &weights.device());
    let noisy = weights * (noise * NOISE + 1.0);
    noisy.clone() / noisy.sum_dim(1)
}
