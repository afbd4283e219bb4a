//! Time to a residual of 1e-4 of every method, on a synthetic contraction: a chain of layers
//! `s_k = tanh(b_k + sum_l s_l W_kl)` with symmetric couplings, from zero.
//!
//! Weights and drives come from a fixed seed; the drives of the samples have scales of their own,
//! so that samples take different numbers of iterations. Throughput is in samples. The iterations
//! of each row are printed before the times:
//!
//! ```console
//! cargo bench --bench methods
//! ```
#![allow(clippy::unwrap_used, reason = "a benchmark may stop")]
#![recursion_limit = "256"]

use std::fmt;

use burn::tensor::{Device, Int, Tensor, TensorData};
use divan::Bencher;
use divan::counter::ItemsCount;
use hvae_solver::{
    Anderson, BlockMap, Damped, Picard, Solution, State, StoppingRule, Sweep, Synchronous, solve,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const SIZES: [&[usize]; 2] = [&[256, 128], &[512, 256, 128, 64]];
const BATCHES: [usize; 2] = [64, 1024];
const SEED: u64 = 1;

/// About the largest possible gain of one application; below 1, but near enough to make it slow.
const GAIN: f64 = 0.95;

/// Damping of forward Euler with `dt = 0.7`.
const DAMPING: f64 = 0.3;

/// Memory of Anderson, as in arXiv 2311.15673.
const MEMORY: usize = 4;

#[expect(clippy::print_stdout, reason = "a benchmark prints its results")]
fn main() {
    // `cargo bench` passes this; `cargo test` does not.
    if std::env::args().any(|argument| argument == "--bench") {
        for case in cases() {
            let solution = Chain::new(case).solve(case.method);
            let (mean, longest) = (solution.mean_iterations(), solution.iterations);
            println!("{case}: {mean:.1} iterations on average, {longest} at most");
            assert!(solution.all_converged(), "{case}");
        }
    }
    divan::main();
}

/// The rows of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Row {
    Picard,
    Euler,
    EvenOdd,
    Anderson,
    EvenOddAnderson,
}

const ROWS: [Row; 5] = [Row::Picard, Row::Euler, Row::EvenOdd, Row::Anderson, Row::EvenOddAnderson];

#[derive(Debug, Clone, Copy)]
struct Case {
    method: Row,
    sizes: &'static [usize],
    batch: usize,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let method = match self.method {
            Row::Picard => "picard",
            Row::Euler => "euler-0.7",
            Row::EvenOdd => "even-odd",
            Row::Anderson => "anderson-4",
            Row::EvenOddAnderson => "even-odd-anderson-4",
        };
        let sizes: Vec<String> = self.sizes.iter().map(ToString::to_string).collect();
        write!(f, "{method} {} batch {}", sizes.join("-"), self.batch)
    }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for batch in BATCHES {
        for sizes in SIZES {
            cases.extend(ROWS.map(|method| Case { method, sizes, batch }));
        }
    }
    cases
}

/// The layers of a chain, even and odd ones in a block each.
#[derive(Clone)]
struct Chain {
    /// `W` between layers `k` and `k + 1`, `[n_k, n_(k + 1)]`.
    weights: Vec<Tensor<2>>,
    drive: Vec<Tensor<2>>,
    blocks: Vec<Vec<usize>>,
}

impl Chain {
    fn new(case: Case) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(SEED);
        let device = Device::flex();
        let mut uniform = |shape: [usize; 2], limit: &dyn Fn(usize) -> f64| {
            let row = |i: usize| (0..shape[1]).map(move |_| i);
            let values: Vec<f32> = (0..shape[0])
                .flat_map(row)
                .map(|i| (rng.random_range(-1.0..1.0) * limit(i)) as f32)
                .collect();
            Tensor::from_data(TensorData::new(values, shape), &device)
        };
        // Uniform numbers in (-l, l) have standard deviation l / sqrt(3); the largest singular
        // value of a random matrix is about that times sqrt(m) + sqrt(n). A chain of L layers whose
        // couplings all had the largest singular value g, with the same vectors throughout, would
        // have gain 2 g cos(pi / (L + 1)).
        let angle = std::f64::consts::PI / (case.sizes.len() + 1) as f64;
        let largest = GAIN / (2.0 * angle.cos());
        let limit =
            |m: usize, n: usize| largest * 3.0_f64.sqrt() / ((m as f64).sqrt() + (n as f64).sqrt());
        let pairs = case.sizes.windows(2).map(|n| uniform([n[0], n[1]], &|_| limit(n[0], n[1])));
        let weights = pairs.collect();
        let scale = |sample: usize| 2.0 * (sample + 1) as f64 / case.batch as f64;
        let drive = case.sizes.iter().map(|&n| uniform([case.batch, n], &scale)).collect();
        let layers = |first: usize| (first..case.sizes.len()).step_by(2).collect();
        // The largest layer is even: a sweep does not measure what it updates first.
        Self { weights, drive, blocks: vec![layers(0), layers(1)] }
    }

    fn solve(&self, method: Row) -> Solution {
        let guess = State::new(self.drive.iter().map(Tensor::zeros_like).collect()).unwrap();
        let rule = StoppingRule::new(1e-4, 500).unwrap();
        let anderson = Anderson::new(MEMORY).unwrap();
        let damped = Damped::new(DAMPING).unwrap();
        let map = self.clone();
        let solution = match method {
            Row::Picard => solve(Synchronous(map), guess, &Picard, &rule),
            Row::Euler => solve(Synchronous(map), guess, &damped, &rule),
            Row::EvenOdd => solve(Sweep(map), guess, &Picard, &rule),
            Row::Anderson => solve(Synchronous(map), guess, &anderson, &rule),
            Row::EvenOddAnderson => solve(Sweep(map), guess, &anderson, &rule),
        };
        solution.unwrap()
    }
}

impl BlockMap for Chain {
    fn blocks(&self) -> &[Vec<usize>] {
        &self.blocks
    }

    fn update(&self, component: usize, state: &State, _iteration: usize) -> Tensor<2> {
        let below = component.checked_sub(1).map(|k| {
            let weight = self.weights[k].clone();
            state.component(k).clone().matmul(weight)
        });
        let above = self.weights.get(component).map(|weight| {
            let weight = weight.clone().transpose();
            state.component(component + 1).clone().matmul(weight)
        });
        let fields = below.into_iter().chain(above);
        fields.fold(self.drive[component].clone(), |sum, field| sum + field).tanh()
    }

    fn select(&self, rows: &Tensor<1, Int>) -> Self {
        let drive = self.drive.iter().map(|d| d.clone().select(0, rows.clone())).collect();
        Self { drive, ..self.clone() }
    }

    fn is_self_coupled(&self, _component: usize) -> bool {
        false
    }
}

#[divan::bench(args = cases(), sample_count = 10, sample_size = 1)]
fn to_1e_4(bencher: Bencher<'_, '_>, case: &Case) {
    let chain = Chain::new(*case);
    bencher.counter(ItemsCount::new(case.batch)).bench_local(|| chain.solve(case.method));
}
