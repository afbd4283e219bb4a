//! The interface of a convergence check. `compacting` and `masked` implement it.

use burn::tensor::{Int, Tensor};

use crate::solution::{Outcome, Solution, Termination};
use crate::state::State;
use crate::stopping::StoppingRule;

/// Decides which samples have ended, and keeps their outcomes and final states.
pub(crate) trait Convergence {
    /// Checks the `image` after `iterations` iterations, given the squared norms of each sample.
    fn check(
        &mut self,
        image: &State,
        squares: Vec<Tensor<2>>,
        rule: &StoppingRule,
        iterations: usize,
    ) -> Continue;

    fn into_solution(self) -> Solution;
}

/// Which rows of the batch continue after a check. None at the last iteration.
#[allow(clippy::large_enum_variant, reason = "there is one per check")]
pub(crate) enum Continue {
    None,
    All,
    /// These rows, with their image.
    Rows(Tensor<1, Int>, State),
}

/// The outcomes so far.
pub(crate) struct Record {
    pub(crate) outcomes: Vec<Outcome>,
    iterations: usize,
    trace: Vec<(usize, Vec<f64>)>,
}

impl Record {
    pub(crate) fn new(samples: usize) -> Self {
        let pending = Outcome {
            termination: Termination::MaxIterations,
            iterations: 0,
            residual: f64::INFINITY,
        };
        Self { outcomes: vec![pending; samples], iterations: 0, trace: Vec::new() }
    }

    /// Notes that `outcomes` are those of a check after `iterations` iterations.
    pub(crate) fn checked(&mut self, iterations: usize, rule: &StoppingRule) {
        self.iterations = iterations;
        if rule.trace {
            self.trace.push((iterations, self.outcomes.iter().map(|o| o.residual).collect()));
        }
    }

    pub(crate) fn into_solution(self, state: State) -> Solution {
        Solution { state, outcomes: self.outcomes, iterations: self.iterations, trace: self.trace }
    }
}
