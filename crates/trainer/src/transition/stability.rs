//! Eigenvalues at fixed points, against the measured growth of perturbations.

use anyhow::Result;
use hvae_model::modern::stability;
use hvae_solver::{StoppingRule, Termination};
use serde::Serialize;

use crate::transition::fixed_points::{Branch, FixedPoint, FixedPoints};
use crate::transition::growth::growth;
use crate::transition::patterns::PatternSet;
use crate::transition::saddles;
use crate::transition::starts::directions;
use hvae_device::host::{download, upload};

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
///
/// # Errors
///
/// If the device cannot be read.
pub(crate) fn check(
    set: &PatternSet,
    mut found: FixedPoints,
    effective: &[f64],
    seed: u64,
) -> Result<Vec<StabilityCheck>> {
    add_unstable(set, effective, &mut found)?;
    let Some(all) = found.weights() else { return Ok(Vec::new()) };
    let network = &set.network;
    let rule = StoppingRule::new(POWER_TOLERANCE, POWER_ITERATIONS)?;
    let mut checks = Vec::new();
    for (points, betas) in found.points.chunks(BATCH).zip(found.betas.chunks(BATCH)) {
        let rows = points.len();
        let weights = all.clone().narrow(0, checks.len(), rows);
        let start = directions(rows, network.dimension(), 1.0, seed, 8);
        let start = upload(start, network.dimension(), &network.device());
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
    let mut add = |branch, track, beta_eff, order, energy, weights: Vec<f32>| {
        let weights = upload(weights, set.count(), &set.network.device());
        let point =
            FixedPoint { branch, track, beta_eff, order, energy, iterations: 0, at_limit: false };
        found.append([point], &set.betas(&[beta_eff]), weights);
    };
    if set.description.equidistant {
        let betas = set.betas(effective);
        let states = set.network.mean().repeat_dim(0, betas.len());
        let energies = download(set.network.energy(states, &betas)?)?;
        for (&value, energy) in effective.iter().zip(energies) {
            let uniform = vec![1.0 / set.count() as f32; set.count()];
            add(Branch::Mean, 0, value, 0.0, f64::from(energy), uniform);
        }
        return Ok(());
    }
    for saddle in saddles::find(set, effective)? {
        let order = set.order(saddle.to_mean);
        add(Branch::Saddle, saddle.pair, saddle.beta_eff, order, f64::NAN, saddle.weights);
    }
    Ok(())
}
