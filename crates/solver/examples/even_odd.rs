//! Iterations of every method on a chain of layers `s_k = tanh(b_k + sum_l W_kl s_l)` with
//! symmetric couplings: all layers at once, in even-odd sweeps, and each with Anderson
//! acceleration.
//!
//! ```console
//! cargo run --release -p hvae-solver --example even_odd
//! ```
#![allow(clippy::print_stdout, reason = "an example prints")]
#![recursion_limit = "256"]

use burn::tensor::{Device, Int, Tensor, TensorData};
use hvae_solver::{
    Anderson, BlockMap, Damped, FixedPointMap, Method, Picard, SolverError, State, StoppingRule,
    Sweep, Synchronous, solve,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const SIZES: [usize; 4] = [64, 48, 32, 16];
const BATCH: usize = 32;

#[derive(Clone)]
struct Chain {
    /// `W` between layers `k` and `k + 1`, `[n_k, n_(k + 1)]`.
    weights: Vec<Tensor<2>>,
    /// `b_k` of every sample, `[batch, n_k]`.
    biases: Vec<Tensor<2>>,
    /// The even layers, then the odd ones.
    blocks: [Vec<usize>; 2],
}

impl Chain {
    fn random(device: &Device) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut uniform = |shape: [usize; 2], limit: f32| {
            let values = (0..shape[0] * shape[1]).map(|_| rng.random_range(-limit..limit));
            let values: Vec<f32> = values.collect();
            Tensor::from_data(TensorData::new(values, shape), device)
        };
        // The largest singular value of such a matrix is about 0.55 whatever its shape.
        let limit = |m: usize, n: usize| 0.95 / ((m as f32).sqrt() + (n as f32).sqrt());
        let weights = SIZES.windows(2).map(|n| uniform([n[0], n[1]], limit(n[0], n[1]))).collect();
        let biases = SIZES.iter().map(|&n| uniform([BATCH, n], 0.5)).collect();
        Self { weights, biases, blocks: [vec![0, 2], vec![1, 3]] }
    }
}

impl BlockMap for Chain {
    fn blocks(&self) -> &[Vec<usize>] {
        &self.blocks
    }

    fn update(&self, k: usize, state: &State, _iteration: usize) -> Tensor<2> {
        let mut input = self.biases[k].clone();
        if k > 0 {
            let below = state.component(k - 1).clone();
            input = input + below.matmul(self.weights[k - 1].clone());
        }
        if k + 1 < SIZES.len() {
            let above = state.component(k + 1).clone();
            input = input + above.matmul(self.weights[k].clone().transpose());
        }
        input.tanh()
    }

    fn select(&self, rows: &Tensor<1, Int>) -> Self {
        let biases = self.biases.iter().map(|b| b.clone().select(0, rows.clone())).collect();
        Self { biases, ..self.clone() }
    }

    fn is_self_coupled(&self, _k: usize) -> bool {
        false
    }
}

fn report<F: FixedPointMap, M: Method>(name: &str, map: F, method: &M) -> Result<(), SolverError> {
    let zeros = SIZES.map(|n| Tensor::zeros([BATCH, n], &Device::flex()));
    let rule = StoppingRule::new(1e-5, 500)?;
    let solution = solve(map, State::new(zeros.to_vec())?, method, &rule)?;
    assert!(solution.all_converged(), "{name}");
    println!("{name:<22} {:>5.1}   {:>4}", solution.mean_iterations(), solution.iterations);
    Ok(())
}

fn main() -> Result<(), SolverError> {
    let chain = Chain::random(&Device::flex());
    let anderson = Anderson::new(4)?;
    println!("{:<22} iterations: mean, largest", "method");
    report("Euler, dt = 0.7", Synchronous(chain.clone()), &Damped::forward_euler(0.7)?)?;
    report("Picard", Synchronous(chain.clone()), &Picard)?;
    report("Anderson(4)", Synchronous(chain.clone()), &anderson)?;
    report("even-odd", Sweep(chain.clone()), &Picard)?;
    report("even-odd, Anderson(4)", Sweep(chain), &anderson)
}
