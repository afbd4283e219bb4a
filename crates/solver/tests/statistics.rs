//! Iteration counts of every method on every problem: a change here is a change of the solver.
#![allow(clippy::unwrap_used, reason = "a test may stop")]
#![recursion_limit = "256"]

mod problems;

use hvae_solver::{FixedPointMap, State, StoppingRule};
use problems::{Any, Case, NetworkCase};

const METHODS: [Any; 4] = [Any::Picard, Any::Damped(0.3), Any::Anderson(2), Any::Anderson(5)];

/// Other processors sum in another order. That moves the count by one if the residual crosses the
/// tolerance slowly, and Anderson amplifies rounding errors.
const COUNT_BY_ROUNDING: usize = 1;
const PART_BY_ROUNDING: f64 = 0.05;

/// Mean and largest iterations of a batch by every method of [`METHODS`].
type Row = [(f64, usize); 4];

fn compare<F: FixedPointMap + Clone>(name: &str, map: &F, guess: &State, expected: &Row) {
    let rule = StoppingRule::new(1e-5, 1000).unwrap();
    let found = METHODS.map(|method| {
        let solution = method.run(map.clone(), guess.clone(), &rule);
        let largest = solution.outcomes.iter().map(|o| o.iterations).max().unwrap();
        ((solution.mean_iterations() * 10.0).round() / 10.0, largest)
    });
    for ((found, expected), method) in found.iter().zip(expected).zip(METHODS) {
        let slack = COUNT_BY_ROUNDING as f64 + PART_BY_ROUNDING * expected.0;
        let off = (found.0 - expected.0).abs();
        assert!(off <= slack, "{name} by {method:?}: mean {found:?}, was {expected:?}");
        let slack = COUNT_BY_ROUNDING as f64 + PART_BY_ROUNDING * expected.1 as f64;
        let off = found.1.abs_diff(expected.1) as f64;
        assert!(off <= slack, "{name} by {method:?}: largest {found:?}, was {expected:?}");
    }
}

fn compare_case<F: FixedPointMap + Clone>(case: &Case<F>, expected: &Row) {
    compare(case.name, &case.map, &case.guess, expected);
}

#[test]
fn iterations_on_one_component_are_as_they_were() {
    compare_case(&problems::cosine(), &[(30.2, 88), (8.0, 10), (5.4, 6), (5.6, 6)]);
    compare_case(&problems::contraction(), &[(28.6, 80), (42.0, 115), (27.8, 80), (10.6, 18)]);
    compare_case(&problems::slow(), &[(370.3, 374), (530.3, 536), (84.3, 86), (33.7, 37)]);
}

#[test]
fn iterations_on_networks_are_as_they_were() {
    let table = [
        (
            NetworkCase::pair(),
            [(18.6, 28), (26.6, 42), (17.2, 27), (10.4, 13)],
            [(10.2, 16), (17.0, 24), (6.8, 9), (6.0, 7)],
        ),
        (
            NetworkCase::chain(),
            [(14.8, 19), (21.6, 29), (14.2, 19), (10.2, 12)],
            [(8.0, 11), (13.8, 18), (6.2, 8), (5.8, 7)],
        ),
        (
            NetworkCase::triangle(),
            [(11.0, 14), (17.6, 22), (10.6, 14), (8.6, 10)],
            [(6.6, 8), (13.0, 15), (5.8, 7), (5.6, 6)],
        ),
        (
            NetworkCase::self_coupled(),
            [(11.8, 16), (19.0, 25), (11.4, 15), (8.2, 10)],
            [(10.8, 15), (17.2, 23), (9.0, 10), (7.2, 8)],
        ),
    ];
    for (network, synchronous, sweep) in table {
        compare("synchronous", &network.synchronous_unsolved(), &network.guess(), &synchronous);
        compare("sweep", &network.sweep_unsolved(), &network.guess(), &sweep);
    }
}
