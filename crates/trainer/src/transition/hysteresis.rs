//! Branches of fixed points followed up and down in `beta`.

use anyhow::Result;
use burn::tensor::Tensor;
use hvae_model::modern::{Retrieval, Space};
use hvae_solver::{Picard, StoppingRule, Termination};

use crate::transition::fixed_points::{Branch, FixedPoint, FixedPoints};
use crate::transition::patterns::PatternSet;
use hvae_device::host::{download, upload};
use hvae_runtime::rng;
use hvae_runtime::rng::Stream;
use hvae_runtime::terminal::Progress;

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
///
/// # Errors
///
/// If a value of `beta` is out of range or the device cannot be read.
pub(crate) fn follow(set: &PatternSet, effective: &[f64], seed: u64) -> Result<FixedPoints> {
    let (count, device) = (set.count(), set.network.device());
    let tracks = if set.description.equidistant { 1 } else { TRACKS.min(count) };
    let mean = upload(vec![1.0 / count as f32; count], count, &device);
    let corners = Tensor::<2>::eye(count, &device).narrow(0, 0, tracks);
    let mut progress = Progress::start("hysteresis", 2 * effective.len(), 0);
    let mut found = FixedPoints::default();
    let kernel = set.network.at(&[0.0], Space::Weights)?;
    let descending: Vec<f64> = effective.iter().rev().copied().collect();
    for (branch, mut weights, values) in
        [(Branch::Up, mean, effective), (Branch::Down, corners, descending.as_slice())]
    {
        for &value in values {
            progress.update(found.len() / 2, || format!("{} {value:.3}", branch.name()));
            let noisy = perturbed(weights, seed, found.len() as u64);
            weights = advance(set, &kernel, branch, value, noisy, &mut found)?;
        }
    }
    Ok(found)
}

/// Solves from `weights` `[tracks, N]` at one `beta` and records the fixed points.
fn advance(
    set: &PatternSet,
    kernel: &Retrieval<'_>,
    branch: Branch,
    beta_eff: f64,
    weights: Tensor<2>,
    found: &mut FixedPoints,
) -> Result<Tensor<2>> {
    let betas = set.betas(&vec![beta_eff; weights.dims()[0]]);
    let rule = StoppingRule::new(TOLERANCE, MAX_ITERATIONS)?;
    let solution = kernel.with_betas(&betas)?.solve(weights, &Picard, &rule)?;
    let weights = solution.state.component(0).clone();
    let readings = set.network.read(weights.clone(), &betas)?;
    let values = download(Tensor::cat(vec![readings.to_mean, readings.energy], 1))?;
    let points = values.chunks_exact(2).zip(&solution.outcomes).enumerate();
    let points = points.map(|(track, (value, outcome))| FixedPoint {
        branch,
        track,
        beta_eff,
        order: set.order(f64::from(value[0])),
        energy: f64::from(value[1]),
        iterations: outcome.iterations,
        at_limit: outcome.termination != Termination::Converged,
    });
    found.append(points, &betas, weights.clone());
    Ok(weights)
}

/// `weights` with a little multiplicative noise, normalised to sum 1.
fn perturbed(weights: Tensor<2>, seed: u64, index: u64) -> Tensor<2> {
    let [rows, count] = weights.dims();
    let noise = rng::normal(seed, Stream::Starts, 1000 + index, rows * count);
    let noise = upload(noise, count, &weights.device());
    let noisy = weights * (noise * NOISE + 1.0);
    noisy.clone() / noisy.sum_dim(1)
}
