//! Iterations of every method on a chain of layers with symmetric couplings: all layers at once, in
//! even-odd sweeps, and each with Anderson acceleration.
//!
//! ```console
//! cargo run --release -p hvae-solver --example even_odd
//! ```
#![allow(clippy::print_stdout, reason = "an example prints")]
#![recursion_limit = "256"]

mod chain;

use burn::tensor::Device;
use chain::Chain;
use hvae_solver::{
    Anderson, Damped, FixedPointMap, Method, Picard, SolverError, State, StoppingRule, Sweep,
    Synchronous, solve,
};

fn report(
    name: &str,
    map: impl FixedPointMap,
    guess: &State,
    method: &impl Method,
) -> Result<(), SolverError> {
    let solution = solve(map, guess.clone(), method, &StoppingRule::new(1e-5, 500)?)?;
    assert!(solution.all_converged(), "{name}");
    println!("{name:<22} {:>5.1}   {:>4}", solution.mean_iterations(), solution.iterations);
    Ok(())
}

fn main() -> Result<(), SolverError> {
    let chain = Chain::random(&[64, 48, 32, 16], 32, &Device::flex());
    let (guess, anderson) = (chain.guess(), Anderson::new(4)?);
    println!("{:<22} iterations: mean, largest", "method");
    let damped = Damped::forward_euler(0.7)?;
    report("Euler, dt = 0.7", Synchronous(chain.clone()), &guess, &damped)?;
    report("Picard", Synchronous(chain.clone()), &guess, &Picard)?;
    report("Anderson(4)", Synchronous(chain.clone()), &guess, &anderson)?;
    report("even-odd", Sweep(chain.clone()), &guess, &Picard)?;
    report("even-odd, Anderson(4)", Sweep(chain), &guess, &anderson)
}
