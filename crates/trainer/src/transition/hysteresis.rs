//! Branches of fixed points followed up and down in `beta`.

use anyhow::Result;
use burn::tensor::Tensor;
use hvae_model::modern::{Retrieval, Space};
use hvae_solver::{Picard, StoppingRule, Termination};

use crate::transition::set::PatternSet;
use crate::transition::stability::FixedPoints;
use hvae_device::host::{download, upload};
use hvae_runtime::rng;
use hvae_runtime::rng::Stream;
use hvae_runtime::terminal::Progress;

/// Which way a branch was followed, or how its points were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// From the mean, with growing `beta`.
    Up,
    /// From patterns, with falling `beta`.
    Down,
    /// The mean of equidistant patterns, a fixed point at every `beta`.
    Mean,
    /// Newton's method from the middle between two patterns.
    Saddle,
}

impl Way {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Mean => "mean",
            Self::Saddle => "saddle",
        }
    }
}

/// A fixed point, or where the step limit cut the way to it.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct Step {
    /// How it was found.
    pub way: Way,
    /// Which of the states followed together.
    pub track: usize,
    /// `beta D^2 / 2`.
    pub beta_eff: f64,
    /// Distance to the mean in units of a pattern's.
    pub order: f64,
    /// Energy.
    pub energy: f64,
    /// Updates from the fixed point of the `beta` before.
    pub steps: usize,
    /// Whether these were not enough.
    pub at_limit: bool,
}

/// Updates for each step at most.
const MAX_STEPS: usize = 2_000;
const TOLERANCE: f64 = 1e-6;
/// Relative noise on the weights before each step: a state must be able to leave a fixed point
/// that has become unstable.
const NOISE: f32 = 1e-3;
/// States followed down for unequal patterns, each from another pattern.
const TRACKS: usize = 8;

/// Follows states along `effective` (rising): up from the mean, down from patterns. Each step
/// starts where the one before ended.
///
/// # Errors
///
/// When a value of `beta` is out of range or the device cannot be read.
pub fn follow(set: &PatternSet, effective: &[f64], seed: u64) -> Result<(Vec<Step>, FixedPoints)> {
    let (count, device) = (set.count(), set.network.device());
    let tracks = if set.description.equidistant { 1 } else { TRACKS.min(count) };
    let mean = upload(vec![1.0 / count as f32; count], count, &device);
    let corners = Tensor::<2>::eye(count, &device).narrow(0, 0, tracks);
    let mut progress = Progress::start("hysteresis", 2 * effective.len(), 0);
    let mut found = (Vec::new(), FixedPoints::default());
    let kernel = set.network.at(&[0.0], Space::Weights)?;
    let falling: Vec<f64> = effective.iter().rev().copied().collect();
    for (way, mut weights, values) in
        [(Way::Up, mean, effective), (Way::Down, corners, falling.as_slice())]
    {
        for &value in values {
            progress.update(found.1.len() / 2, || format!("{} {value:.3}", way.name()));
            let noise = found.1.len() as u64;
            weights = advance(set, &kernel, way, value, shaken(weights, seed, noise), &mut found)?;
        }
    }
    Ok(found)
}

/// Iterates `weights` `[tracks, N]` at one `beta` and records where they end.
fn advance(
    set: &PatternSet,
    kernel: &Retrieval<'_>,
    way: Way,
    beta_eff: f64,
    weights: Tensor<2>,
    found: &mut (Vec<Step>, FixedPoints),
) -> Result<Tensor<2>> {
    let betas = set.betas(&vec![beta_eff; weights.dims()[0]]);
    let rule = StoppingRule::new(TOLERANCE, MAX_STEPS)?;
    let solution = kernel.with_betas(&betas)?.solve(weights, &Picard, &rule)?;
    let weights = solution.state.component(0).clone();
    let readings = set.network.read(weights.clone(), &betas)?;
    let values = download(Tensor::cat(vec![readings.to_mean, readings.energy], 1))?;
    for (track, (value, outcome)) in values.chunks_exact(2).zip(&solution.outcomes).enumerate() {
        found.0.push(Step {
            way,
            track,
            beta_eff,
            order: set.order(f64::from(value[0])),
            energy: f64::from(value[1]),
            steps: outcome.steps,
            at_limit: outcome.termination != Termination::Converged,
        });
    }
    found.1.push(weights.clone(), &betas);
    Ok(weights)
}

/// `weights` with a little noise, still summing to 1.
fn shaken(weights: Tensor<2>, seed: u64, index: u64) -> Tensor<2> {
    let [rows, count] = weights.dims();
    let noise = rng::normal(seed, Stream::Starts, 1000 + index, rows * count);
    let noise = upload(noise, count, &weights.device());
    let shaken = weights * (noise * NOISE + 1.0);
    shaken.clone() / shaken.sum_dim(1)
}
