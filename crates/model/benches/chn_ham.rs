//! Time to a residual of 1e-4 of every method on the networks of arXiv 2311.15673, from pixels to
//! outputs; and of the matrix products only.
//!
//! Weights are those at the start of training, from a fixed seed, times 1.5, which makes them
//! converge about as slowly as trained ones. Throughput is in samples. `scripts/bench_converge.py`
//! times trained networks, against PyTorch.
#![allow(clippy::unwrap_used, reason = "a benchmark may stop")]
#![recursion_limit = "256"]

use std::fmt;

use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};
use divan::{Bencher, counter::ItemsCount};
use hvae_model::chn_ham::{Dynamics, Form, LayeredNetwork, Order};
use hvae_solver::{Anderson, Picard, Solution, StoppingRule, solve_in_parts};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

const NETWORKS: [&[usize]; 2] = [&[784, 1990, 10], &[784, 1024, 512, 256, 128, 70, 10]];
const BATCHES: [usize; 2] = [64, 1024];

fn main() {
    divan::main();
}

/// A network, a method and a batch.
#[derive(Clone, Copy)]
struct Case {
    sizes: &'static [usize],
    form: Form,
    even_odd: bool,
    anderson: bool,
    batch: usize,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = if self.form == Form::Ham { "ham" } else { "chn" };
        let even_odd = if self.even_odd { "-even-odd" } else { "" };
        let anderson = if self.anderson { "-anderson" } else { "" };
        let sizes: Vec<String> = self.sizes.iter().map(ToString::to_string).collect();
        write!(f, "{form}{even_odd}{anderson} {} batch {}", sizes.join("-"), self.batch)
    }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for batch in BATCHES {
        let [shallow, deep] = NETWORKS;
        for (sizes, form) in [(shallow, Form::Ham), (shallow, Form::Chn), (deep, Form::Ham)] {
            for method in 0..4 {
                let (even_odd, anderson) = (method / 2 == 1, method % 2 == 1);
                cases.push(Case { sizes, form, even_odd, anderson, batch });
            }
        }
    }
    cases
}

struct Problem {
    network: LayeredNetwork,
    images: Tensor<2>,
}

impl Problem {
    fn new(case: Case) -> Self {
        let device = Device::flex();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut network = LayeredNetwork::new(case.sizes, case.form, &mut rng, &device).unwrap();
        for weight in &mut network.weights {
            *weight = Param::from_tensor(weight.val().mul_scalar(1.5));
        }
        let count = case.batch * case.sizes[0];
        let pixels: Vec<f32> = (0..count).map(|_| rng.random_range(0.0..1.0)).collect();
        let images = TensorData::new(pixels, [case.batch, case.sizes[0]]);
        Self { network, images: Tensor::from_data(images, &device) }
    }

    fn map(&self, case: Case) -> Dynamics<'_> {
        let order = if case.even_odd { Order::EvenOdd { inner: 10 } } else { Order::Synchronous };
        Dynamics::new(&self.network, self.images.clone(), order).unwrap().damped(0.5).unwrap()
    }

    fn solve(&self, case: Case) -> (Solution, Tensor<2>) {
        let map = self.map(case);
        let rule = StoppingRule::new(1e-4, 240).unwrap();
        let (start, part) = (map.start(), map.part_size());
        let solution = if case.anderson {
            solve_in_parts(map.clone(), start, &Anderson::new(4).unwrap(), &rule, part)
        } else {
            solve_in_parts(map.clone(), start, &Picard, &rule, part)
        };
        let solution = solution.unwrap();
        let outputs = map.layers(&solution.state).pop().unwrap();
        (solution, outputs)
    }
}

#[divan::bench(args = cases(), sample_count = 5, sample_size = 1)]
fn to_1e_4(bencher: Bencher<'_, '_>, case: &Case) {
    let problem = Problem::new(*case);
    bencher.counter(ItemsCount::new(case.batch)).bench_local(|| problem.solve(*case));
}

/// The products of the same solve, in the same parts, for the samples that are still in theirs.
#[divan::bench(args = cases(), sample_count = 5, sample_size = 1)]
fn products_alone(bencher: Bencher<'_, '_>, case: &Case) {
    let problem = Problem::new(*case);
    let (solution, _) = problem.solve(*case);
    let size = problem.map(*case).part_size();
    let layers: Vec<Tensor<2>> =
        case.sizes[1..].iter().map(|&n| Tensor::ones([size, n], &Device::flex())).collect();
    let weights: Vec<Tensor<2>> = problem.network.weights.iter().map(Param::val).collect();
    let transposed =
        |w: &Tensor<2>| Tensor::<2>::from_data(w.clone().transpose().into_data(), &Device::flex());
    let transposed: Vec<Tensor<2>> = weights[1..].iter().map(transposed).collect();
    bencher.counter(ItemsCount::new(case.batch)).bench_local(|| {
        let drive = problem.images.clone().matmul(weights[0].clone());
        solution.outcomes.par_chunks(size).for_each(|outcomes| {
            let last = outcomes.iter().map(|o| o.iterations).max().unwrap();
            for iteration in 1..=last {
                let active = outcomes.iter().filter(|o| o.iterations >= iteration).count();
                for (k, pair) in layers.windows(2).enumerate() {
                    let rows = |k: usize| pair[k].clone().narrow(0, 0, active);
                    divan::black_box(rows(0).matmul(weights[k + 1].clone()));
                    divan::black_box(rows(1).matmul(transposed[k].clone()));
                }
            }
        });
        drive
    });
}
