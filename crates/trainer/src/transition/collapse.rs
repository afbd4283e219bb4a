//! Pattern sets that differ in norm, cosine and dimension: one curve against `beta_eff`.

use anyhow::Result;
use burn::tensor::Device;
use hvae_model::modern::{Equidistant, Space};
use hvae_runtime::terminal::Progress;
use hvae_solver::{Picard, StoppingRule, Termination};
use serde::Serialize;

use crate::transition::patterns::PatternSet;

/// Fixed points reached from a pattern of one set, at each `beta_eff`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Curve {
    pub(crate) set: String,
    /// `beta_eff / beta`.
    pub(crate) scale: f64,
    /// Distance to the mean, relative to that of a pattern.
    pub(crate) order: Vec<f64>,
    pub(crate) at_limit: Vec<bool>,
}

/// The curves of several sets.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Collapse {
    pub(crate) beta_eff: Vec<f64>,
    pub(crate) curves: Vec<Curve>,
    /// Largest difference between two curves, without values at the iteration limit.
    pub(crate) spread: f64,
}

const MAX_ITERATIONS: usize = 2_000;
const TOLERANCE: f64 = 1e-6;

/// Curves of four sets of `count` patterns, over `effective`.
pub(crate) fn collapse(
    count: usize,
    effective: &[f64],
    seed: u64,
    device: &Device,
) -> Result<Collapse> {
    let with = |dimension, norm, cosine| Equidistant { count, dimension, norm, cosine };
    let sets = [
        Equidistant::simplex(count, count.max(2) - 1, 1.0),
        with(count, 2.0, 0.0),
        with(2 * count, 0.7, 0.5),
        with(3 * count, 5.0, 0.9),
    ];
    let mut progress = Progress::start("collapse", sets.len(), 0);
    let mut curves = Vec::new();
    for shape in sets {
        let set = PatternSet::equidistant(&shape, seed, 1, device)?;
        progress.update(curves.len(), || name(&set));
        curves.push(curve(&set, effective)?);
    }
    let spread = |at: usize| {
        let values = || curves.iter().filter(|c| !c.at_limit[at]).map(|c| c.order[at]);
        values().fold(f64::NEG_INFINITY, f64::max) - values().fold(f64::INFINITY, f64::min)
    };
    let spread = (0..effective.len()).map(spread).fold(0.0, f64::max);
    Ok(Collapse { beta_eff: effective.to_vec(), curves, spread })
}

fn name(set: &PatternSet) -> String {
    format!("{}, dimension {}", set.description.kind, set.description.dimension)
}

fn curve(set: &PatternSet, effective: &[f64]) -> Result<Curve> {
    let (betas, guess) = (set.betas(effective), set.at_pattern(effective.len()));
    let rule = StoppingRule::new(TOLERANCE, MAX_ITERATIONS)?;
    let solution = set.network.at(&betas, Space::Weights)?.solve(guess, &Picard, &rule)?;
    let measured = set.measure(solution.state.component(0).clone(), &betas)?;
    let at_limit = solution.outcomes.iter().map(|o| o.termination == Termination::MaxIterations);
    Ok(Curve {
        set: name(set),
        scale: set.description.scale,
        order: measured.into_iter().map(|m| m.order).collect(),
        at_limit: at_limit.collect(),
    })
}
