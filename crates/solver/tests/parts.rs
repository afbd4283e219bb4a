//! Batches in parts: each part is a batch of its own, on however many threads.
#![allow(clippy::unwrap_used, clippy::float_cmp, reason = "a test may stop, and compare exactly")]
#![recursion_limit = "256"]

mod problems;

use hvae_solver::{
    Anderson, FixedPointMap, Picard, Solution, SolverError, State, Termination, solve,
    solve_in_parts,
};
use problems::{NetworkCase, bits, indices, rule, zeros};

/// Everything that a solution says, as text; a residual that is not a number equals itself there.
fn all(solution: &Solution) -> String {
    let Solution { state, outcomes, steps, trace, .. } = solution;
    format!("{:?} {outcomes:?} {steps} {trace:?}", bits(state))
}

/// 64 samples in parts of 24, 24 and 16, beside three batches of their own.
#[test]
fn a_part_is_a_batch_of_its_own() {
    let crowd = NetworkCase::crowd();
    let (map, guess) = (crowd.sweep_unsolved(), crowd.guess());
    let method = Anderson::new(3).unwrap();
    let rule = rule(1e-5, 9).with_trace();
    let together = solve_in_parts(map.clone(), guess.clone(), &method, &rule, 24).unwrap();
    let mut steps = 0;
    for rows in [0..24, 24..48, 48..64] {
        let picked = indices(&rows.clone().collect::<Vec<_>>());
        let alone = solve(map.select(&picked), guess.select(&picked), &method, &rule).unwrap();
        assert_eq!(bits(&together.state)[rows.clone()], bits(&alone.state));
        assert_eq!(together.outcomes[rows.clone()], alone.outcomes);
        for (i, (step, residuals)) in together.trace.iter().enumerate() {
            let (expected, found) = &alone.trace[i.min(alone.trace.len() - 1)];
            assert_eq!(&residuals[rows.clone()], found, "check {i}");
            assert!(i >= alone.trace.len() || step == expected);
        }
        steps = steps.max(alone.steps);
    }
    assert_eq!(together.steps, steps);
    let ends: Vec<usize> = together.outcomes.iter().map(|o| o.steps).collect();
    assert!(ends.iter().min() < ends.iter().max(), "they should not all end at once: {ends:?}");
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let crowd = NetworkCase::crowd();
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let rule = rule(1e-5, 200).with_trace();
        pool.install(|| {
            all(&solve_in_parts(crowd.sweep_unsolved(), crowd.guess(), &Picard, &rule, 5).unwrap())
        })
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn small_batches_and_a_size_of_0_are_solved_whole() {
    let crowd = NetworkCase::crowd();
    let rule = rule(1e-5, 200);
    let whole = all(&solve(crowd.sweep_unsolved(), crowd.guess(), &Picard, &rule).unwrap());
    for size in [0, 64, 1000] {
        let solution = solve_in_parts(crowd.sweep_unsolved(), crowd.guess(), &Picard, &rule, size);
        assert_eq!(all(&solution.unwrap()), whole, "{size}");
    }
    let none = solve_in_parts(Broken, zeros(0, &[2]), &Picard, &rule, 3).unwrap();
    assert!(none.outcomes.is_empty());
}

/// Returns a state of another shape.
#[derive(Debug, Clone)]
struct Broken;

impl FixedPointMap for Broken {
    fn apply(&self, state: &State) -> State {
        state.map(|s| s.narrow(1, 0, 1))
    }

    fn select(&self, _rows: &burn::tensor::Tensor<1, burn::tensor::Int>) -> Self {
        Self
    }
}

#[test]
fn what_is_wrong_with_a_map_is_an_error_here_too() {
    let error = solve_in_parts(Broken, zeros(7, &[2]), &Picard, &rule(1e-5, 3), 2).unwrap_err();
    assert!(matches!(error, SolverError::ShapeChanged { component: 0, .. }), "{error}");
}

#[test]
fn a_lost_sample_is_told_in_its_place() {
    let crowd = NetworkCase::crowd();
    let mut rows = vec![vec![0.0; 1]; 64];
    rows[41][0] = f64::NAN;
    let guess = crowd.guess().map(|s| s + problems::tensor(&rows));
    let rule = rule(1e-5, 200);
    let solution = solve_in_parts(crowd.sweep_unsolved(), guess, &Picard, &rule, 10).unwrap();
    let lost: Vec<usize> =
        (0..64).filter(|&i| solution.outcomes[i].termination == Termination::NotFinite).collect();
    assert_eq!(lost, [41]);
}
