//! Sets that differ in norm, cosine and dimension, on one curve against `beta_eff`.

use anyhow::Result;
use burn::tensor::{Device, Tensor};
use hvae_model::modern::{Equidistant, Space};
use hvae_solver::{Picard, StoppingRule, Termination};
use serde::Serialize;

use crate::transition::set::PatternSet;
use hvae_device::host::download;
use hvae_runtime::terminal::Progress;

/// States started at a pattern of one set, at each `beta_eff`.
#[derive(Debug, Clone, Serialize)]
pub struct Curve {
    /// What the set is.
    pub set: String,
    /// `beta_eff / beta`.
    pub scale: f64,
    /// Distance to the mean in units of a pattern's.
    pub order: Vec<f64>,
    /// Whether the step limit was met.
    pub at_limit: Vec<bool>,
}

/// The curves, and how far they lie apart.
#[derive(Debug, Clone, Serialize)]
pub struct Collapse {
    /// Where all are taken.
    pub beta_eff: Vec<f64>,
    /// One for each set.
    pub curves: Vec<Curve>,
    /// Largest difference between two curves where neither met the step limit.
    pub spread: f64,
}

const MAX_STEPS: usize = 2_000;
const TOLERANCE: f64 = 1e-6;

/// Curves of four sets of `count` patterns, over `effective`.
///
/// # Errors
///
/// When the device cannot be read.
pub fn collapse(count: usize, effective: &[f64], seed: u64, device: &Device) -> Result<Collapse> {
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
        let set = PatternSet::equidistant(&shape, seed, device)?;
        progress.update(curves.len(), || set.description.kind.clone());
        curves.push(curve(&set, effective)?);
    }
    let spread = (0..effective.len()).map(|i| apart(&curves, i)).fold(0.0, f64::max);
    Ok(Collapse { beta_eff: effective.to_vec(), curves, spread })
}

fn curve(set: &PatternSet, effective: &[f64]) -> Result<Curve> {
    let betas = set.betas(effective);
    let corner = Tensor::<2>::eye(set.count(), &set.network.device()).narrow(0, 0, 1);
    let guess = corner.repeat_dim(0, betas.len());
    let rule = StoppingRule::new(TOLERANCE, MAX_STEPS)?;
    let solution = set.network.at(&betas, Space::Weights)?.solve(guess, &Picard, &rule)?;
    let readings = set.network.read(solution.state.component(0).clone(), &betas)?;
    let order = download(readings.to_mean)?;
    Ok(Curve {
        set: set.description.kind.clone(),
        scale: set.description.scale,
        order: order.into_iter().map(|d| set.order(f64::from(d))).collect(),
        at_limit: solution
            .outcomes
            .iter()
            .map(|o| o.termination == Termination::StepLimit)
            .collect(),
    })
}

fn apart(curves: &[Curve], at: usize) -> f64 {
    let values = curves.iter().filter(|c| !c.at_limit[at]).map(|c| c.order[at]);
    let (low, high) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    (high - low).max(0.0)
}
