//! Thresholds measured by bisection on `beta_eff`.

use anyhow::{Context, Result, ensure};
use burn::tensor::Device;
use hvae_model::modern::{Equidistant, Space, Thresholds};
use hvae_runtime::terminal::Progress;
use hvae_solver::{Picard, StoppingRule, Termination};
use serde::Serialize;

use crate::transition::patterns::{Measured, PatternSet};
use crate::transition::stability::growth;

/// Thresholds of equidistant patterns as `beta_eff`, by formula and measured.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ThresholdCheck {
    pub(crate) count: usize,
    pub(crate) formula: Thresholds,
    pub(crate) measured: Thresholds,
    /// Number of states iterated.
    pub(crate) states: usize,
    /// Number of these that reached the iteration limit.
    pub(crate) at_limit: usize,
}

/// Values of `beta` per round; each round divides the bracket by one more than this.
const PER_ROUND: usize = 16;
/// Relative width of the final bracket.
const WIDTH: f64 = 2e-5;
/// `m1` is measured this far above `b1`, relatively: closer to it, rounding decides.
const ABOVE_B1: f64 = 2e-4;
/// Iteration limit: close to a threshold convergence becomes arbitrarily slow.
const MAX_ITERATIONS: usize = 4_000;
/// Relative tolerance: about the smallest that f32 allows.
const TOLERANCE: f64 = 1e-6;
/// Order parameter below which a state counts as fallen to the mean.
const FALLEN: f64 = 0.05;
/// Iterations until the fastest-growing perturbation dominates.
const GROWTH_ITERATIONS: usize = 30;

/// Measures the thresholds of a set of two or more equidistant patterns:
///
/// - `b1`: the smallest `beta` at which a state that starts at a pattern does not fall to the mean;
/// - `b2`: where the energy of that state falls below that of the mean;
/// - `b3`: where a small perturbation of the mean starts to grow;
/// - `m1`: the order parameter of that state just above `b1`.
///
/// The brackets depend on the number of patterns only, not on the formulas.
pub(crate) fn measure(set: &PatternSet, seed: u64) -> Result<ThresholdCheck> {
    let formula = set.formula.context("thresholds need two patterns")?;
    let count = set.count() as f64;
    let kernel = set.network.at(&[0.0], Space::Weights)?;
    let rule = StoppingRule::new(TOLERANCE, MAX_ITERATIONS)?;
    let (mut states, mut at_limit) = (0, 0);
    let mut solve_from_pattern = |effective: &[f64]| {
        let (betas, rows) = (set.betas(effective), effective.len());
        let solution = kernel.with_betas(&betas)?.solve(set.at_pattern(rows), &Picard, &rule)?;
        at_limit += solution.count(Termination::MaxIterations);
        states += rows;
        set.measure(solution.state.component(0).clone(), &betas)
    };
    let b1 = multisection([0.5, 4.0 * count.ln() + 4.0], |b| {
        Ok(solve_from_pattern(b)?.iter().map(|s| s.order > FALLEN).collect())
    })
    .context("b1")?;
    let b3 = multisection([0.5, 4.0 * count], |b| {
        let betas = set.betas(b);
        let mean = set.network.mean().repeat_dim(0, b.len());
        let growth = growth(&set.network, &mean, &betas, GROWTH_ITERATIONS, seed)?;
        Ok(growth.iter().map(|g| *g > 1.0).collect())
    })
    .context("b3")?;
    let b2 = multisection([0.9 * b1[0].min(b3[0]), 1.1 * b1[1].max(b3[1])], |b| {
        let mean = set.energy_of_mean(b)?;
        let states = solve_from_pattern(b)?;
        let below = |(s, mean): (&Measured, &f64)| s.order > FALLEN && s.energy < *mean;
        Ok(states.iter().zip(&mean).map(below).collect())
    })
    .context("b2")?;
    let m1 = solve_from_pattern(&[b1[1] * (1.0 + ABOVE_B1)])?[0].order;
    let [b1, b2, b3] = [b1, b2, b3].map(|[low, high]| f64::midpoint(low, high));
    let measured = Thresholds { b1, b2, b3, m1 };
    Ok(ThresholdCheck { count: set.count(), formula, measured, states, at_limit })
}

/// [`measure`] for orthogonal patterns, at each of `counts`.
pub(crate) fn table(counts: &[usize], seed: u64, device: &Device) -> Result<Vec<ThresholdCheck>> {
    let mut progress = Progress::start("thresholds", counts.len(), 0);
    let mut rows = Vec::new();
    for &count in counts {
        progress.update(rows.len(), || format!("{count} patterns"));
        let shape = Equidistant::orthogonal(count, count, 1.0);
        let set = PatternSet::equidistant(&shape, seed, 1, device)?;
        rows.push(measure(&set, seed).with_context(|| format!("{count} patterns"))?);
    }
    Ok(rows)
}

/// Narrows `bracket` to where `above`, evaluated at many values at once, changes from false to
/// true.
fn multisection(
    mut bracket: [f64; 2],
    mut above: impl FnMut(&[f64]) -> Result<Vec<bool>>,
) -> Result<[f64; 2]> {
    let ends = above(&bracket)?;
    ensure!(ends == [false, true], "no threshold between beta_eff {bracket:?}");
    while bracket[1] - bracket[0] > WIDTH * bracket[0] {
        let [low, high] = bracket;
        let width = (high - low) / (PER_ROUND + 1) as f64;
        let tried: Vec<f64> = (1..=PER_ROUND).map(|i| low + width * i as f64).collect();
        let first = above(&tried)?.iter().position(|&a| a).unwrap_or(PER_ROUND);
        bracket = [low + width * first as f64, low + width * (first + 1) as f64];
    }
    Ok(bracket)
}
