//! The result of a solve.

use crate::state::State;

/// Why the iteration of a sample ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Termination {
    /// The residual met the tolerance.
    Converged,
    /// The maximum number of iterations was reached; the state is the one with the smallest
    /// residual.
    MaxIterations,
    /// The image or its squared norm was not finite in f32; the state is the finite one with the
    /// smallest residual at an earlier check, or that image if there is no such check.
    NotFinite,
}

/// The outcome of one sample.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Outcome {
    /// Why the iteration ended.
    pub termination: Termination,
    /// Number of iterations (applications of the map).
    pub iterations: usize,
    /// `|f(s) - s| / |f(s)|` of the undamped map at the returned state; NaN if not finite.
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
    /// Number of iterations of the sample that took the most.
    pub iterations: usize,
    /// With [`StoppingRule::with_trace`](crate::StoppingRule::with_trace): for each check, the
    /// number of iterations so far and the residual of every sample. Ended samples keep their last
    /// residual.
    pub trace: Vec<(usize, Vec<f64>)>,
}

impl Solution {
    /// A solution of rows that were [solved in place](crate::solve_rows), without a trace.
    pub fn new(state: State, outcomes: Vec<Outcome>) -> Self {
        let iterations = outcomes.iter().map(|o| o.iterations).max().unwrap_or(0);
        Self { state, outcomes, iterations, trace: Vec::new() }
    }

    /// Whether every sample converged.
    pub fn all_converged(&self) -> bool {
        self.count(Termination::Converged) == self.outcomes.len()
    }

    /// Number of samples with this termination.
    pub fn count(&self, termination: Termination) -> usize {
        self.outcomes.iter().filter(|o| o.termination == termination).count()
    }

    /// Largest residual of the batch; NaN if any residual is.
    pub fn max_residual(&self) -> f64 {
        self.outcomes
            .iter()
            .map(|o| o.residual)
            .fold(0.0, |a, b| if b > a || b.is_nan() { b } else { a })
    }

    /// Mean number of iterations per sample.
    pub fn mean_iterations(&self) -> f64 {
        let total: usize = self.outcomes.iter().map(|o| o.iterations).sum();
        total as f64 / self.outcomes.len().max(1) as f64
    }
}
