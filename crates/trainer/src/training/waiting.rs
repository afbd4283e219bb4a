//! Steps whose losses are still on the device.

use anyhow::{Context, Result};
use burn::tensor::Tensor;
use hvae_model::{PhaseOutcomes, StepLosses, Vae};

use crate::metrics::EpochSums;
use crate::optimizer::{GradientNorm, finite_norm};

/// Steps at most whose losses wait: so late a number that is not finite is noticed, at most.
const MOST: usize = 16;

/// A step that has been taken.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) images: usize,
    /// How many of them count in the losses, and how many were dropped from a gradient.
    pub(super) samples: [usize; 2],
    pub(super) losses: StepLosses,
    pub(super) norm: GradientNorm,
    pub(super) outcomes: PhaseOutcomes,
}

/// The steps taken since the device was last read for their losses.
///
/// Where losses are known at once they wait for nothing. Sums are the same either way: steps are
/// added one by one, in their order.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    steps: Vec<Taken>,
    /// Norm of the newest gradient that is known.
    norm: f64,
}

impl Waiting {
    /// Whether `settle` is due.
    pub(super) fn is_due(&self) -> bool {
        let known = |t: &Taken| matches!(t.losses, StepLosses::Known(_));
        self.steps.len() >= MOST || self.steps.last().is_some_and(known)
    }

    /// A step more.
    pub(super) fn push(&mut self, step: Taken) {
        self.steps.push(step);
    }

    /// The newest gradient norm that is known.
    pub(super) fn norm(&self) -> f64 {
        self.norm
    }

    /// Adds all steps to `sums`.
    ///
    /// # Errors
    ///
    /// When a loss, a gradient or a weight of `model` is not finite.
    pub(super) fn settle(&mut self, model: &Vae, sums: &mut EpochSums) -> Result<()> {
        let steps = std::mem::take(&mut self.steps);
        let losses: Vec<&StepLosses> = steps.iter().map(|t| &t.losses).collect();
        let losses = model.read_losses(&losses)?;
        let norms = norms(&steps)?;
        for ((step, losses), norm) in steps.iter().zip(losses).zip(norms) {
            let [counted, dropped] = step.samples;
            sums.add([step.images, counted, dropped], norm, losses, &step.outcomes);
            self.norm = norm;
        }
        Ok(())
    }
}

/// The norm of every step's gradient, in one read at most.
fn norms(steps: &[Taken]) -> Result<Vec<f64>> {
    let squares: Vec<Tensor<1>> = steps
        .iter()
        .filter_map(|t| match &t.norm {
            GradientNorm::OnDevice(square) => Some(square.clone()),
            GradientNorm::Known(_) => None,
        })
        .collect();
    let read =
        if squares.is_empty() { Vec::new() } else { hvae_device::read(Tensor::cat(squares, 0)) };
    let mut read = read.into_iter();
    steps
        .iter()
        .map(|t| match t.norm {
            GradientNorm::Known(norm) => Ok(norm),
            GradientNorm::OnDevice(_) => finite_norm(read.next().context("a norm was read")?),
        })
        .collect()
}
