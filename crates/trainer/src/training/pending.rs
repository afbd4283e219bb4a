//! Steps whose losses the host has not read yet.

use anyhow::Result;

use crate::run::{EpochSums, MeanLosses};
use crate::training::step::{StepReport, StepRunner};

/// Most steps between two reads: a number that is not finite is noticed at most this late.
const MAX_PENDING: usize = 16;

/// The steps since the device was last read for their losses.
///
/// On the host every step is read at once. Sums are the same either way: steps are added one by
/// one, in their order.
#[derive(Debug, Default)]
pub(super) struct PendingSteps {
    pub(super) steps: Vec<StepReport>,
    /// Losses of the newest step that has been read.
    pub(super) losses: MeanLosses,
    /// Norm of its gradient.
    pub(super) gradient_norm: f64,
}

impl PendingSteps {
    /// Whether the steps should be read now.
    pub(super) fn is_due(&self) -> bool {
        self.steps.len() >= MAX_PENDING
            || self.steps.last().is_some_and(|step| step.losses.are_known())
    }

    /// Reads all steps and adds them to `sums`.
    pub(super) fn flush(&mut self, runner: &StepRunner, sums: &mut EpochSums) -> Result<()> {
        let steps = std::mem::take(&mut self.steps);
        for (step, (losses, norm)) in steps.iter().zip(runner.read(&steps)?) {
            sums.add(step.counts, losses, norm, &step.outcomes);
            self.gradient_norm = norm;
            self.losses = MeanLosses {
                reconstruction_error: losses.reconstruction,
                divergence: losses.divergence,
                elbo: losses.log_likelihood - losses.divergence,
            };
        }
        Ok(())
    }
}
