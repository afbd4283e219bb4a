//! Sums over the steps of an epoch.

use std::mem;

use hvae_model::{Losses, PerPhase, PhaseOutcomes};
use hvae_solver::{Outcome, Termination};
use serde::{Deserialize, Serialize};

use crate::run::metrics::{MeanLosses, PhaseMeans, PhaseStats};

/// How many images a step had, and how many of them it used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) images: usize,
    /// Images that count in the losses.
    pub(crate) counted: usize,
    /// Images dropped from a gradient.
    pub(crate) dropped: usize,
}

/// Sums over the samples of one phase.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct PhaseSums {
    samples: u64,
    sweeps: u64,
    converged: u64,
    /// Samples whose state was not finite; not counted in `residual`.
    not_finite: u64,
    residual: f64,
    /// Number of samples by their sweeps.
    by_sweeps: Vec<u64>,
}

impl PhaseSums {
    /// Adds the outcomes of a batch.
    pub(crate) fn add(&mut self, outcomes: &[Outcome]) {
        for outcome in outcomes {
            self.samples += 1;
            self.sweeps += outcome.iterations as u64;
            if self.by_sweeps.len() <= outcome.iterations {
                self.by_sweeps.resize(outcome.iterations + 1, 0);
            }
            self.by_sweeps[outcome.iterations] += 1;
            self.converged += u64::from(outcome.termination == Termination::Converged);
            if outcome.residual.is_finite() {
                self.residual += outcome.residual;
            } else {
                self.not_finite += 1;
            }
        }
    }

    /// Means over the samples; `None` without samples.
    pub(crate) fn means(&self) -> Option<PhaseStats> {
        let n = self.samples as f64;
        (self.samples > 0).then(|| PhaseStats {
            sweeps: self.sweeps as f64 / n,
            converged: self.converged as f64 / n,
            not_finite: self.not_finite,
            residual: (self.samples > self.not_finite)
                .then(|| self.residual / (self.samples - self.not_finite) as f64),
            by_sweeps: self.by_sweeps.clone(),
        })
    }
}

/// Part of a checkpoint: a resumed epoch reports what an uninterrupted one does.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct EpochSums {
    pub(crate) images: u64,
    /// Images that do not count in the losses.
    uncounted: u64,
    /// Images dropped from a gradient.
    pub(crate) dropped: u64,
    reconstruction_error: f64,
    log_likelihood: f64,
    divergence: f64,
    gradient_norm: f64,
    steps: u64,
    #[serde(flatten)]
    phases: PerPhase<PhaseSums>,
}

impl EpochSums {
    /// Adds a step: its counts, mean losses, gradient norm, and how its phases ended.
    pub(crate) fn add(
        &mut self,
        counts: Counts,
        losses: Losses,
        gradient_norm: f64,
        outcomes: &PhaseOutcomes,
    ) {
        let n = counts.counted as f64;
        self.images += counts.images as u64;
        self.uncounted += (counts.images - counts.counted) as u64;
        self.dropped += counts.dropped as u64;
        self.reconstruction_error += losses.reconstruction * n;
        self.log_likelihood += losses.log_likelihood * n;
        self.divergence += losses.divergence * n;
        self.gradient_norm += gradient_norm;
        self.steps += 1;
        self.phases = mem::take(&mut self.phases).zip(outcomes.each_ref(), |mut sums, outcomes| {
            sums.add(outcomes);
            sums
        });
    }

    /// Mean losses so far.
    pub(crate) fn losses(&self) -> MeanLosses {
        let n = (self.images - self.uncounted).max(1) as f64;
        MeanLosses {
            reconstruction_error: self.reconstruction_error / n,
            divergence: self.divergence / n,
            elbo: (self.log_likelihood - self.divergence) / n,
        }
    }

    /// Mean gradient norm so far.
    pub(crate) fn gradient_norm(&self) -> f64 {
        self.gradient_norm / self.steps.max(1) as f64
    }

    /// Means of the four phases so far.
    pub(crate) fn phases(&self) -> PhaseMeans {
        self.phases.each_ref().map(PhaseSums::means)
    }
}
