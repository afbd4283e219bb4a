//! The thresholds as states show them, found by bisection.

use anyhow::{Context, Result};
use burn::tensor::Tensor;
use hvae_model::modern::{Equidistant, Retrieval, Space};
use hvae_solver::{Picard, StoppingRule, Termination};
use serde::Serialize;

use crate::transition::growth::growth;
use crate::transition::set::PatternSet;
use hvae_device::host::download;
use hvae_runtime::terminal::Progress;

/// Thresholds of equidistant patterns, all as `beta_eff`: by formula and as observed.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    /// Number of patterns.
    pub count: usize,
    /// `b1`, `b2`, `b3` by formula.
    pub formula: [f64; 3],
    /// As observed.
    pub observed: [f64; 3],
    /// Order parameter at which minima appear, by formula.
    pub formula_m1: f64,
    /// Order parameter of a state started at a pattern just above the observed `b1`.
    pub observed_m1: f64,
    /// States that met the step limit on the way, of all that were iterated.
    pub at_limit: [usize; 2],
}

impl Measured {
    /// `observed / formula - 1`.
    pub fn errors(&self) -> [f64; 3] {
        std::array::from_fn(|i| self.observed[i] / self.formula[i] - 1.0)
    }
}

/// Values of `beta` tried at once; each round narrows the bracket by one more than this.
const TRIED: usize = 16;
/// Relative width of the bracket that ends the search.
const WIDTH: f64 = 2e-5;
/// How far above `b1`, relatively, the state at the threshold is looked at: below, rounding decides.
const ABOVE: f64 = 2e-4;
/// Updates for each state at most: close to a threshold a state takes ever longer.
const MAX_STEPS: usize = 4_000;
/// Relative tolerance: near the smallest that f32 allows.
const TOLERANCE: f64 = 1e-6;
/// A state further from the mean than this share of a pattern's distance has not fallen to it.
const KEPT: f64 = 0.05;
/// Steps until the fastest-growing deviation leads.
const GROWTH_STEPS: usize = 30;

/// Observes the thresholds of an equidistant set of two or more patterns.
///
/// - `b1`: the smallest `beta` at which a state started at a pattern does not fall to the mean;
/// - `b2`: where that state's energy falls below the mean's;
/// - `b3`: where a small deviation from the mean begins to grow.
///
/// The brackets come from the number of patterns, not from the formulas.
///
/// # Errors
///
/// When a bracket does not hold its threshold.
pub fn observe(set: &PatternSet, seed: u64) -> Result<Measured> {
    let formula = set.formula.context("thresholds need two patterns")?;
    let count = set.count() as f64;
    let mut probe =
        Probe { set, at_limit: [0; 2], kernel: set.network.at(&[0.0], Space::Weights)? };
    let b1 = section([0.5, 4.0 * count.ln() + 4.0], |b| {
        Ok(probe.reach(b)?.iter().map(|s| s.order > KEPT).collect())
    })
    .context("b1")?;
    let b3 = section([0.5, 4.0 * count], |b| {
        let betas = set.betas(b);
        let mean = set.network.mean().repeat_dim(0, b.len());
        Ok(growth(&set.network, &mean, &betas, GROWTH_STEPS, seed)?
            .iter()
            .map(|g| *g > 1.0)
            .collect())
    })
    .context("b3")?;
    let b2 = section([0.9 * b1[0].min(b3[0]), 1.1 * b1[1].max(b3[1])], |b| {
        let mean = probe.energy_of_mean(b)?;
        let states = probe.reach(b)?;
        let below = |(s, mean): (&Reached, &f64)| s.order > KEPT && s.energy < *mean;
        Ok(states.iter().zip(&mean).map(below).collect())
    })
    .context("b2")?;
    let observed_m1 = probe.reach(&[b1[1] * (1.0 + ABOVE)])?[0].order;
    Ok(Measured {
        count: set.count(),
        formula: [formula.b1, formula.b2, formula.b3],
        observed: [b1, b2, b3].map(|[low, high]| f64::midpoint(low, high)),
        formula_m1: formula.m1,
        observed_m1,
        at_limit: probe.at_limit,
    })
}

/// [`observe`] for sets of these numbers of orthogonal patterns.
///
/// # Errors
///
/// As for [`observe`].
pub fn table(counts: &[u32], seed: u64, device: &burn::tensor::Device) -> Result<Vec<Measured>> {
    let mut progress = Progress::start("thresholds", counts.len(), 0);
    let mut rows = Vec::new();
    for &count in counts {
        progress.update(rows.len(), || format!("{count} patterns"));
        let shape = Equidistant::orthogonal(count as usize, count as usize, 1.0);
        let set = PatternSet::equidistant(&shape, seed, device)?;
        rows.push(observe(&set, seed).with_context(|| format!("{count} patterns"))?);
    }
    Ok(rows)
}

/// Narrows `bracket` to where `above` turns from false to true. `above` judges many values at once.
fn section(
    mut bracket: [f64; 2],
    mut above: impl FnMut(&[f64]) -> Result<Vec<bool>>,
) -> Result<[f64; 2]> {
    let ends = above(&bracket)?;
    anyhow::ensure!(ends == [false, true], "not between beta_eff {bracket:?}");
    while bracket[1] - bracket[0] > WIDTH * bracket[0] {
        let [low, high] = bracket;
        let step = (high - low) / (TRIED + 1) as f64;
        let tried: Vec<f64> = (1..=TRIED).map(|i| low + step * i as f64).collect();
        let first = above(&tried)?.iter().position(|&a| a).unwrap_or(TRIED);
        bracket = [low + step * first as f64, low + step * (first + 1) as f64];
    }
    Ok(bracket)
}

/// Where a state ended.
struct Reached {
    order: f64,
    energy: f64,
}

struct Probe<'a> {
    set: &'a PatternSet,
    at_limit: [usize; 2],
    kernel: Retrieval<'a>,
}

impl Probe<'_> {
    /// Where states that start at the first pattern end, one for each `beta_eff`.
    fn reach(&mut self, effective: &[f64]) -> Result<Vec<Reached>> {
        let (set, rows) = (self.set, effective.len());
        let betas = set.betas(effective);
        let device = set.network.device();
        let mut guess = vec![0.0; rows * set.count()];
        guess.iter_mut().step_by(set.count()).for_each(|p| *p = 1.0);
        let guess = hvae_device::host::upload(guess, set.count(), &device);
        let rule = StoppingRule::new(TOLERANCE, MAX_STEPS)?;
        let solution = self.kernel.with_betas(&betas)?.solve(guess, &Picard, &rule)?;
        self.at_limit[0] += solution.count(Termination::StepLimit);
        self.at_limit[1] += rows;
        let readings = set.network.read(solution.state.component(0).clone(), &betas)?;
        let values = download(Tensor::cat(vec![readings.to_mean, readings.energy], 1))?;
        let reached =
            |v: &[f32]| Reached { order: set.order(f64::from(v[0])), energy: f64::from(v[1]) };
        Ok(values.chunks_exact(2).map(reached).collect())
    }

    /// The energy of the mean at each `beta_eff`.
    fn energy_of_mean(&self, effective: &[f64]) -> Result<Vec<f64>> {
        let network = &self.set.network;
        let states = network.mean().repeat_dim(0, effective.len());
        let energies = download(network.energy(states, &self.set.betas(effective))?)?;
        Ok(energies.into_iter().map(f64::from).collect())
    }
}
