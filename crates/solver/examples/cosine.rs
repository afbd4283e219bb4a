//! `s = a cos(s)` for a batch of `a`: one outcome per sample, also for the sample that is NaN.
//!
//! ```console
//! cargo run --release -p hvae-solver --example cosine
//! ```
#![allow(clippy::print_stdout, reason = "an example prints")]
#![recursion_limit = "256"]

use burn::tensor::{Device, Int, Tensor};
use hvae_solver::{Anderson, FixedPointMap, SolverError, State, StoppingRule, solve};

/// `a` of every sample, `[batch, 1]`.
struct Cosine(Tensor<2>);

impl FixedPointMap for Cosine {
    fn apply(&self, state: &State, _iteration: usize) -> State {
        state.map(|s| s.cos() * self.0.clone())
    }

    fn select(&self, rows: &Tensor<1, Int>) -> Self {
        Self(self.0.clone().select(0, rows.clone()))
    }
}

fn main() -> Result<(), SolverError> {
    let device = Device::flex();
    let scales = [0.5, 1.0, 1.2, f32::NAN];
    let map = Cosine(Tensor::from_floats(scales.map(|a| [a]), &device));
    let guess = State::new(vec![Tensor::zeros([4, 1], &device)])?;

    let solution = solve(map, guess, &Anderson::new(4)?, &StoppingRule::new(1e-5, 100)?)?;

    let found = hvae_device::read(solution.state.component(0).clone());
    println!("   a   fixed point  iterations  residual  termination");
    for ((a, s), o) in scales.iter().zip(found).zip(&solution.outcomes) {
        let (count, residual, end) = (o.iterations, o.residual, o.termination);
        println!("{a:>4}  {s:>12.6}  {count:>10}  {residual:>8.1e}  {end:?}");
    }
    Ok(())
}
