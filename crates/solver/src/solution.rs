//! What a solve hands back.

use serde::Serialize;

use crate::State;

/// How one sample ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum Termination {
    /// The residual met the tolerance.
    Converged,
    /// The step limit came first; the state is the best one seen.
    StepLimit,
    /// The image was not finite, or its squared norm not in f32; the state is the best finite one
    /// seen at a check before, or that image if there is none.
    NotFinite,
}

/// The outcome of one sample.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Outcome {
    /// How the sample ended.
    pub termination: Termination,
    /// Applications of the map spent on it.
    pub steps: usize,
    /// `|f(s) - s| / |f(s)|` of the undamped map where the returned state was made; NaN where
    /// the sample was not finite.
    pub residual: f64,
}

/// The solution of a batch.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Solution {
    /// The final state of every sample, in the order of the guess.
    pub state: State,
    /// The outcome of every sample, in the same order.
    pub outcomes: Vec<Outcome>,
    /// Applications of the map to the whole batch or a part of it.
    pub steps: usize,
    /// With a trace: for each check, the step and every sample's residual then; samples that
    /// ended before keep their last one.
    pub trace: Vec<(usize, Vec<f64>)>,
}

impl Solution {
    /// Whether every sample converged.
    pub fn all_converged(&self) -> bool {
        self.count(Termination::Converged) == self.outcomes.len()
    }

    /// How many samples ended so.
    pub fn count(&self, termination: Termination) -> usize {
        self.outcomes.iter().filter(|o| o.termination == termination).count()
    }

    /// Largest residual of the batch; NaN if any is.
    pub fn max_residual(&self) -> f64 {
        self.outcomes
            .iter()
            .map(|o| o.residual)
            .fold(0.0, |a, b| if b > a || b.is_nan() { b } else { a })
    }

    /// Mean number of steps per sample.
    pub fn mean_steps(&self) -> f64 {
        let total: usize = self.outcomes.iter().map(|o| o.steps).sum();
        total as f64 / self.outcomes.len().max(1) as f64
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "sums of small whole numbers are exact")]
mod tests {
    use burn::tensor::{Device, Tensor};

    use super::*;

    #[test]
    fn outcomes_are_summed_up_over_the_batch() -> Result<(), crate::SolverError> {
        let outcome = |termination, steps, residual| Outcome { termination, steps, residual };
        let solution = Solution {
            state: State::new(vec![Tensor::zeros([3, 1], &Device::flex())])?,
            outcomes: vec![
                outcome(Termination::Converged, 4, 0.1),
                outcome(Termination::StepLimit, 9, 0.5),
                outcome(Termination::Converged, 5, 0.2),
            ],
            steps: 9,
            trace: Vec::new(),
        };
        assert_eq!(solution.max_residual(), 0.5);
        assert_eq!(solution.mean_steps(), 6.0);
        assert_eq!(solution.count(Termination::Converged), 2);
        assert!(!solution.all_converged());
        Ok(())
    }
}
