//! Batches in parts: each part is a batch of its own, with any number of threads.
#![allow(clippy::unwrap_used, clippy::float_cmp, reason = "a test may stop, and compare exactly")]
#![recursion_limit = "256"]

mod problems;

use burn::tensor::{Int, Tensor};
use hvae_solver::{
    Anderson, FixedPointMap, Picard, Solution, SolverError, State, Termination, solve,
    solve_in_parts,
};
use problems::{NetworkCase, bits, indices, rule, tensor, zeros};

/// A solution as text, in which NaN compares equal.
fn all(solution: &Solution) -> String {
    let Solution { state, outcomes, iterations, trace, .. } = solution;
    format!("{:?} {outcomes:?} {iterations} {trace:?}", bits(state))
}

/// 64 samples in parts of 21, 21 and 22, against three separate batches.
#[test]
fn a_part_is_a_batch_of_its_own() {
    let crowd = NetworkCase::crowd();
    let (map, guess) = (crowd.sweep_unsolved(), crowd.guess());
    let method = Anderson::new(3).unwrap();
    let rule = rule(1e-5, 30).with_trace();
    let together = solve_in_parts(map.clone(), guess.clone(), &method, &rule, 24).unwrap();
    let mut iterations = 0;
    let mut checks = Vec::new();
    for rows in [0..21, 21..42, 42..64] {
        let picked = indices(&rows.clone().collect::<Vec<_>>());
        let single = solve(map.select(&picked), guess.select(&picked), &method, &rule).unwrap();
        assert_eq!(bits(&together.state)[rows.clone()], bits(&single.state));
        assert_eq!(together.outcomes[rows.clone()], single.outcomes);
        for (i, (count, residuals)) in together.trace.iter().enumerate() {
            let (expected, found) = &single.trace[i.min(single.trace.len() - 1)];
            assert_eq!(&residuals[rows.clone()], found, "check {i}");
            assert!(i >= single.trace.len() || count == expected);
        }
        iterations = iterations.max(single.iterations);
        checks.push(single.trace.len());
    }
    assert_eq!(together.iterations, iterations);
    assert!(checks.iter().min() < checks.iter().max(), "some part should end first: {checks:?}");
}

/// With fewer threads than parts, and with more; with products large enough for several threads.
#[test]
fn the_number_of_threads_changes_no_bit() {
    let crowd = NetworkCase::crowd();
    let large = Large::new(96, 512);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let rule = rule(1e-5, 200).with_trace();
            let map = crowd.sweep_unsolved();
            let small = solve_in_parts(map, crowd.guess(), &Picard, &rule, 5).unwrap();
            let guess = zeros(96, &[512]);
            let large = solve_in_parts(large.clone(), guess, &Picard, &rule, 48).unwrap();
            assert!(small.all_converged() && large.all_converged());
            all(&small) + &all(&large)
        })
    };
    let one = run(1);
    for threads in [2, 3, 16] {
        assert_eq!(run(threads), one, "{threads} threads");
    }
}

/// `s = tanh(s W) / 2 + drive`.
#[derive(Debug, Clone)]
struct Large {
    weight: Tensor<2>,
    drive: Tensor<2>,
}

impl Large {
    fn new(samples: usize, units: usize) -> Self {
        let wave = |rows: usize, scale: f64| {
            let row =
                |i: usize| (0..units).map(|j| scale * ((i * 31 + j * 7) as f64).sin()).collect();
            tensor(&(0..rows).map(row).collect::<Vec<_>>())
        };
        Self { weight: wave(units, 1.0 / units as f64), drive: wave(samples, 0.5) }
    }
}

impl FixedPointMap for Large {
    fn apply(&self, state: &State, _iteration: usize) -> State {
        let image = |s: Tensor<2>| s.matmul(self.weight.clone()).tanh() * 0.5 + self.drive.clone();
        state.map(image)
    }

    fn select(&self, rows: &Tensor<1, Int>) -> Self {
        Self { drive: self.drive.clone().select(0, rows.clone()), ..self.clone() }
    }
}

#[test]
fn small_batches_and_a_size_of_0_are_solved_as_one() {
    let crowd = NetworkCase::crowd();
    let rule = rule(1e-5, 200);
    let whole = all(&solve(crowd.sweep_unsolved(), crowd.guess(), &Picard, &rule).unwrap());
    for size in [0, 64, 1000] {
        let solution = solve_in_parts(crowd.sweep_unsolved(), crowd.guess(), &Picard, &rule, size);
        assert_eq!(all(&solution.unwrap()), whole, "{size}");
    }
    let empty = solve_in_parts(Broken, zeros(0, &[2]), &Picard, &rule, 3).unwrap();
    assert!(empty.outcomes.is_empty());
}

/// Returns a state of another shape.
#[derive(Debug, Clone)]
struct Broken;

impl FixedPointMap for Broken {
    fn apply(&self, state: &State, _iteration: usize) -> State {
        state.map(|s| s.narrow(1, 0, 1))
    }

    fn select(&self, _rows: &Tensor<1, Int>) -> Self {
        Self
    }
}

#[test]
fn an_invalid_map_is_an_error() {
    let error = solve_in_parts(Broken, zeros(7, &[2]), &Picard, &rule(1e-5, 3), 2).unwrap_err();
    assert!(matches!(error, SolverError::ShapeChanged { component: 0, .. }), "{error}");
}

#[test]
fn a_sample_that_is_not_finite_affects_no_other() {
    let crowd = NetworkCase::crowd();
    let rule = rule(1e-5, 200);
    let run = |poison: f64| {
        let mut rows = vec![vec![0.0; 1]; 64];
        rows[41][0] = poison;
        let guess = crowd.guess().map(|s| s + tensor(&rows));
        solve_in_parts(crowd.sweep_unsolved(), guess, &Picard, &rule, 10).unwrap()
    };
    let (whole, lost) = (run(0.0), run(f64::NAN));
    assert!(whole.all_converged());
    for (i, (expected, found)) in whole.outcomes.iter().zip(&lost.outcomes).enumerate() {
        if i == 41 {
            assert_eq!(found.termination, Termination::NotFinite);
        } else {
            assert_eq!((expected, &bits(&whole.state)[i]), (found, &bits(&lost.state)[i]), "{i}");
        }
    }
}
