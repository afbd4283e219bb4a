//! Time to a residual of 1e-4 of every method, on the chain of layers of the example `even_odd`,
//! from zero. Throughput is in samples. The iterations of each row are printed before the times:
//!
//! ```console
//! cargo bench --bench methods
//! ```
#![allow(clippy::unwrap_used, reason = "a benchmark may stop")]
#![recursion_limit = "256"]

#[path = "../examples/even_odd/chain.rs"]
mod chain;

use std::fmt;

use burn::tensor::Device;
use chain::Chain;
use divan::{Bencher, counter::ItemsCount};
use hvae_solver::{Anderson, Damped, Picard, Solution, StoppingRule, Sweep, Synchronous, solve};

const SIZES: [&[usize]; 2] = [&[256, 128], &[512, 256, 128, 64]];
const BATCHES: [usize; 2] = [64, 1024];
const METHODS: [&str; 5] = ["picard", "euler-0.7", "even-odd", "anderson-4", "even-odd-anderson-4"];

#[expect(clippy::print_stdout, reason = "a benchmark prints its results")]
fn main() {
    // `cargo bench` passes this; `cargo test` does not.
    if std::env::args().any(|argument| argument == "--bench") {
        for case in cases() {
            let solution = case.solve(&case.chain());
            let (mean, longest) = (solution.mean_iterations(), solution.iterations);
            println!("{case}: {mean:.1} iterations on average, {longest} at most");
            assert!(solution.all_converged(), "{case}");
        }
    }
    divan::main();
}

/// A row of the table.
#[derive(Clone, Copy)]
struct Case {
    method: &'static str,
    sizes: &'static [usize],
    batch: usize,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sizes: Vec<String> = self.sizes.iter().map(ToString::to_string).collect();
        write!(f, "{} {} batch {}", self.method, sizes.join("-"), self.batch)
    }
}

fn cases() -> Vec<Case> {
    let pairs = BATCHES.iter().flat_map(|&batch| SIZES.map(|sizes| (batch, sizes)));
    pairs.flat_map(|(batch, sizes)| METHODS.map(|method| Case { method, sizes, batch })).collect()
}

impl Case {
    fn chain(&self) -> Chain {
        Chain::random(self.sizes, self.batch, &Device::flex())
    }

    fn solve(&self, chain: &Chain) -> Solution {
        let (map, guess) = (chain.clone(), chain.guess());
        let rule = StoppingRule::new(1e-4, 500).unwrap();
        let anderson = Anderson::new(4).unwrap();
        let euler = Damped::forward_euler(0.7).unwrap();
        let solution = match self.method {
            "picard" => solve(Synchronous(map), guess, &Picard, &rule),
            "euler-0.7" => solve(Synchronous(map), guess, &euler, &rule),
            "even-odd" => solve(Sweep(map), guess, &Picard, &rule),
            "anderson-4" => solve(Synchronous(map), guess, &anderson, &rule),
            _ => solve(Sweep(map), guess, &anderson, &rule),
        };
        solution.unwrap()
    }
}

#[divan::bench(args = cases(), sample_count = 10, sample_size = 1)]
fn to_1e_4(bencher: Bencher<'_, '_>, case: &Case) {
    let chain = case.chain();
    bencher.counter(ItemsCount::new(case.batch)).bench_local(|| case.solve(&chain));
}
