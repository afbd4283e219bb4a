//! The eigenvalue at fixed points beside the growth of deviations from them.

use anyhow::Result;
use burn::tensor::Tensor;
use hvae_model::modern::stability;
use hvae_solver::{StoppingRule, Termination};
use serde::Serialize;

use crate::transition::growth::growth;
use crate::transition::hysteresis::{Step, Way};
use crate::transition::saddles;
use crate::transition::set::PatternSet;
use crate::transition::starts::directions;
use hvae_device::host::upload;

/// Fixed points, as weights.
#[derive(Debug, Default)]
pub struct FixedPoints {
    weights: Vec<Tensor<2>>,
    betas: Vec<f64>,
}

impl FixedPoints {
    /// Number of fixed points.
    pub fn len(&self) -> usize {
        self.betas.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.betas.is_empty()
    }

    /// Adds the rows of `weights` `[rows, N]`.
    pub fn push(&mut self, weights: Tensor<2>, betas: &[f64]) {
        self.weights.push(weights);
        self.betas.extend(betas);
    }
}

/// A fixed point with what is predicted and what is observed there.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Checked {
    /// The fixed point.
    #[serde(flatten)]
    pub step: Step,
    /// The largest eigenvalue of `beta Cov_p(X)`: predicts the growth, and stability below 1.
    pub eigenvalue: f64,
    /// Whether the power iteration for it met its limit. It is then a lower bound.
    pub eigenvalue_at_limit: bool,
    /// The observed growth of a small deviation in one update.
    pub growth: f64,
}

/// Updates after which growth is measured.
const STEPS: usize = 100;
/// Relative tolerance of the eigenvector, and steps for it at most.
const POWER: (f64, usize) = (1e-3, 400);
/// Fixed points looked at together.
const BATCH: usize = 512;

/// Eigenvalue and growth at `steps`, whose weights are `points`, and at the fixed points of
/// Newton's method or symmetry.
///
/// # Errors
///
/// When the device cannot be read.
pub fn check(
    set: &PatternSet,
    mut steps: Vec<Step>,
    mut points: FixedPoints,
    effective: &[f64],
    seed: u64,
) -> Result<Vec<Checked>> {
    extra(set, effective, &mut steps, &mut points)?;
    if points.is_empty() {
        return Ok(Vec::new());
    }
    let network = &set.network;
    let all = Tensor::cat(points.weights, 0);
    let rule = StoppingRule::new(POWER.0, POWER.1)?;
    let mut checked = Vec::new();
    for from in (0..steps.len()).step_by(BATCH) {
        let rows = BATCH.min(steps.len() - from);
        let betas = &points.betas[from..from + rows];
        let weights = all.clone().narrow(0, from, rows);
        let start = directions(rows, network.dimension(), 1.0, seed, 8);
        let start = upload(start, network.dimension(), &network.device());
        let predicted = stability(network, weights.clone(), betas, start, &rule)?;
        let states = network.read(weights, betas)?.centred + network.mean();
        let observed = growth(network, &states, betas, STEPS, seed)?;
        let rows = steps[from..from + rows].iter().zip(predicted).zip(observed);
        checked.extend(rows.map(|((step, predicted), growth)| Checked {
            step: *step,
            eigenvalue: predicted.eigenvalue,
            eigenvalue_at_limit: predicted.outcome.termination != Termination::Converged,
            growth,
        }));
    }
    Ok(checked)
}

/// Fixed points that iteration cannot find, because they are unstable: the mean of equidistant
/// patterns, else saddles between two patterns.
fn extra(
    set: &PatternSet,
    effective: &[f64],
    steps: &mut Vec<Step>,
    points: &mut FixedPoints,
) -> Result<()> {
    let mut add = |way, track, beta_eff, order, energy, weights: Vec<f32>| {
        let weights = upload(weights, set.count(), &set.network.device());
        points.push(weights, &set.betas(&[beta_eff]));
        steps.push(Step { way, track, beta_eff, order, energy, steps: 0, at_limit: false });
    };
    if set.description.equidistant {
        let betas = set.betas(effective);
        let states = set.network.mean().repeat_dim(0, betas.len());
        let energies = hvae_device::host::download(set.network.energy(states, &betas)?)?;
        for (&value, energy) in effective.iter().zip(energies) {
            let uniform = vec![1.0 / set.count() as f32; set.count()];
            add(Way::Mean, 0, value, 0.0, f64::from(energy), uniform);
        }
        return Ok(());
    }
    for saddle in saddles::find(set, effective)? {
        add(
            Way::Saddle,
            saddle.pair,
            saddle.beta_eff,
            set.order(saddle.to_mean),
            f64::NAN,
            saddle.weights,
        );
    }
    Ok(())
}
