//! Eigenvalues at fixed points, against the measured growth of perturbations.

use anyhow::Result;
use burn::tensor::Tensor;
use hvae_device::{download, upload};
use hvae_model::modern::{ModernHopfield, Space, stability};
use hvae_solver::{StoppingRule, Termination};
use serde::Serialize;

use crate::transition::hysteresis::{Branch, FixedPoint, FixedPoints};
use crate::transition::patterns::PatternSet;
use crate::transition::saddles;
use crate::transition::starts::directions;

/// A fixed point with its predicted and measured stability.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct StabilityCheck {
    #[serde(flatten)]
    pub(crate) point: FixedPoint,
    /// The largest eigenvalue of `beta Cov_p(X)`: the predicted growth per iteration; stable below
    /// 1.
    pub(crate) eigenvalue: f64,
    /// Whether the power iteration reached its limit; the eigenvalue is then a lower bound.
    pub(crate) eigenvalue_at_limit: bool,
    /// The measured growth of a small perturbation per iteration.
    pub(crate) growth: f64,
}

/// Iterations after which the growth is measured.
const GROWTH_ITERATIONS: usize = 100;
/// Relative tolerance of the eigenvector.
const POWER_TOLERANCE: f64 = 1e-3;
/// Limit of the power iteration.
const POWER_ITERATIONS: usize = 400;
/// Fixed points per batch.
const BATCH: usize = 512;

/// Eigenvalue and growth at the fixed points `found`, and at those that iteration cannot find.
pub(crate) fn check(
    set: &PatternSet,
    mut found: FixedPoints,
    effective: &[f64],
    seed: u64,
) -> Result<Vec<StabilityCheck>> {
    add_unstable(set, effective, &mut found)?;
    if found.points.is_empty() {
        return Ok(Vec::new());
    }
    let all = Tensor::cat(found.weights, 0);
    let network = &set.network;
    let rule = StoppingRule::new(POWER_TOLERANCE, POWER_ITERATIONS)?;
    let mut checks = Vec::new();
    for points in found.points.chunks(BATCH) {
        let effective: Vec<f64> = points.iter().map(|point| point.beta_eff).collect();
        let betas = &set.betas(&effective);
        let rows = points.len();
        let weights = all.clone().narrow(0, checks.len(), rows);
        let start = directions(network, rows, 1.0, seed, 8);
        let predicted = stability(network, weights.clone(), betas, start, &rule)?;
        let states = network.read(weights, betas)?.centred + network.mean();
        let measured = growth(network, &states, betas, GROWTH_ITERATIONS, seed)?;
        let rows = points.iter().zip(predicted).zip(measured);
        checks.extend(rows.map(|((point, predicted), growth)| StabilityCheck {
            point: *point,
            eigenvalue: predicted.eigenvalue,
            eigenvalue_at_limit: predicted.outcome.termination != Termination::Converged,
            growth,
        }));
    }
    Ok(checks)
}

/// Adds fixed points that iteration cannot reach because they are unstable: the mean of equidistant
/// patterns, otherwise saddles between two patterns.
fn add_unstable(set: &PatternSet, effective: &[f64], found: &mut FixedPoints) -> Result<()> {
    if !set.description.equidistant {
        return saddles::add(set, effective, found);
    }
    for (&beta_eff, energy) in effective.iter().zip(set.energy_of_mean(effective)?) {
        let (branch, track, order, iterations, at_limit) = (Branch::Mean, 0, 0.0, 0, false);
        let point = FixedPoint { branch, track, beta_eff, order, energy, iterations, at_limit };
        found.push(set, point, vec![1.0 / set.count() as f32; set.count()]);
    }
    Ok(())
}

/// Largest change of `beta <x_i, xi>` that a perturbation causes: small enough for the map to be
/// linear, large enough for f32.
const SMALL: f64 = 0.02;

/// The growth per iteration of a small perturbation of each of `states` `[B, d]`, after
/// `iterations` of
///
/// ```text
/// v <- [ f(xi + v) - f(xi - v) ] / 2,  rescaled to its initial length
/// ```
///
/// The difference cancels terms quadratic in `v` and the residual of the fixed point.
pub(super) fn growth(
    network: &ModernHopfield,
    states: &Tensor<2>,
    betas: &[f64],
    iterations: usize,
    seed: u64,
) -> Result<Vec<f64>> {
    let doubled: Vec<f64> = betas.iter().chain(betas).copied().collect();
    let retrieval = network.at(&doubled, Space::States)?;
    let centred = network.patterns() - network.mean();
    let norms = download(centred.square().sum_dim(1))?;
    let radius = f64::from(norms.into_iter().fold(0.0, f32::max)).sqrt();
    let lengths: Vec<f32> =
        betas.iter().map(|b| (SMALL / (b * radius).max(SMALL)) as f32).collect();
    let lengths = upload(lengths, 1, &network.device());
    let mut perturbation = directions(network, betas.len(), 1.0, seed, 7) * lengths.clone();
    let mut factor = lengths.zeros_like();
    let rows = betas.len();
    for _ in 0..iterations {
        let both = vec![states.clone() + perturbation.clone(), states.clone() - perturbation];
        let image = retrieval.update(Tensor::cat(both, 0));
        let difference = (image.clone().narrow(0, 0, rows) - image.narrow(0, rows, rows)) * 0.5;
        let length = difference.clone().square().sum_dim(1).sqrt();
        factor = length.clone() / lengths.clone();
        perturbation = difference * (lengths.clone() / length.clamp_min(f32::MIN_POSITIVE));
    }
    Ok(download(factor)?.into_iter().map(f64::from).collect())
}
