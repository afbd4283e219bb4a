//! Every method on every problem that it must solve, against answers computed in f64.
#![allow(clippy::unwrap_used, clippy::float_cmp, reason = "a test may stop, and compare exactly")]
#![recursion_limit = "256"]

mod problems;

use hvae_solver::{
    Anderson, Damped, FixedPointMap, Picard, Solution, State, StoppingRule, Sweep, Termination,
    solve,
};
use problems::{Affine, Any, Case, NetworkCase, column, distance, host, norm};

const RTOL: f64 = 1e-5;

/// Enough for the slowest method on the slowest problem: rate 0.98 damped by half is 0.99.
const MAX_ITERATIONS: usize = 1500;

/// The bound that follows from the residual is of first order; this leaves room for the second.
const SECOND_ORDER: f64 = 1.5;

/// Relative rounding error of one image in f32, about ten times the unit roundoff.
const ROUNDING: f64 = 1e-6;

/// Every method that converges wherever the map contracts.
const ALL: [Any; 7] = [
    Any::Picard,
    Any::Damped(0.3),
    Any::Euler(0.5),
    Any::Euler(1.0),
    Any::Anderson(1),
    Any::Anderson(2),
    Any::Anderson(5),
];

fn rule() -> StoppingRule {
    StoppingRule::new(RTOL, MAX_ITERATIONS).unwrap()
}

/// Runs `methods` on `case` and compares with the answer. With `r = |f(s) - s|`, the error of the
/// image is at most `r |J_c (I - J_cc)^-1|`, plus what rounding adds.
fn verify<F: FixedPointMap + Clone>(case: &Case<F>, methods: &[Any]) {
    for &method in methods {
        let solution = case.run(method, &rule());
        let found = host(&solution.state);
        for (i, (found, answer)) in found.iter().zip(&case.answer).enumerate() {
            let at = format!("{} by {method:?}, sample {i}", case.name);
            let outcome = solution.outcomes[i];
            assert_eq!(outcome.termination, Termination::Converged, "{at}");
            assert!(outcome.residual <= RTOL, "{at}: residual {}", outcome.residual);
            let sensitivity = case.sensitivity[i];
            let bound = SECOND_ORDER * RTOL * sensitivity + ROUNDING * (1.0 + sensitivity);
            let error = distance(found, answer) / norm(answer);
            assert!(error <= bound, "{at}: error {error:e} above {bound:e}");
        }
    }
}

#[test]
fn every_method_finds_the_cosine_fixed_points() {
    // Slopes down to -0.9 there: Picard alternates and still converges.
    verify(&problems::cosine(), &ALL);
}

#[test]
fn every_method_solves_linear_contractions_like_a_direct_solve() {
    verify(&problems::contraction(), &ALL);
}

#[test]
fn every_method_solves_a_slow_contraction() {
    verify(&problems::slow(), &ALL);
}

#[test]
fn damping_solves_what_oscillates_under_picard() {
    verify(&problems::oscillation(), &[Any::Damped(0.5), Any::Euler(0.4)]);
    let solution = problems::oscillation().run(Any::Picard, &rule());
    assert_eq!(solution.count(Termination::Converged), 0);
}

#[test]
fn mixing_lets_anderson_solve_what_oscillates_under_picard() {
    let case = problems::oscillation();
    let method = Anderson::new(4).unwrap().with_mixing(0.5).unwrap();
    let solution = solve(case.map, case.guess, &method, &rule()).unwrap();
    assert!(solution.all_converged());
    for (found, answer) in host(&solution.state).iter().zip(&case.answer) {
        assert!(distance(found, answer) / norm(answer) < 1e-4, "{found:?} {answer:?}");
    }
}

#[test]
fn every_method_solves_every_network_synchronously_and_in_sweeps() {
    for network in [
        NetworkCase::pair(),
        NetworkCase::chain(),
        NetworkCase::triangle(),
        NetworkCase::self_coupled(),
    ] {
        verify(&network.synchronous(), &ALL);
        verify(&network.sweep(), &ALL);
    }
}

#[test]
fn sweeps_measure_what_the_next_sweep_reads() {
    let measured = |network: NetworkCase| {
        let sweep = network.sweep();
        sweep.map.measured(sweep.guess.components().len())
    };
    assert_eq!(measured(NetworkCase::pair()), [1]);
    assert_eq!(measured(NetworkCase::chain()), [0, 2]);
    assert_eq!(measured(NetworkCase::triangle()), [1, 2]);
    assert_eq!(measured(NetworkCase::self_coupled()), [0, 1]);
    let synchronous = NetworkCase::pair().synchronous();
    assert_eq!(synchronous.map.measured(2), [0, 1]);
}

/// What the next sweep does not read may be anything.
#[test]
fn the_block_that_is_updated_first_needs_no_guess() {
    let case = NetworkCase::chain().sweep();
    let from_zero = case.run(Any::Picard, &rule());
    let mut guess = case.guess.clone();
    for k in [1, 3] {
        guess.replace(k, guess.component(k).clone().add_scalar(0.7)).unwrap();
    }
    let from_elsewhere = Any::Picard.run(case.map, guess, &rule());
    assert_eq!(problems::bits(&from_zero.state), problems::bits(&from_elsewhere.state));
    assert_eq!(from_zero.outcomes, from_elsewhere.outcomes);
}

#[test]
fn divergence_ends_at_max_iterations_and_later_as_not_finite() {
    // s = 2 s + 1 runs away from -1; the square of its norm leaves f32 after 64 doublings.
    let rates = [2.0, 2.0];
    for method in [Any::Picard, Any::Damped(0.5)] {
        let run = |max_iterations| {
            let map = Affine::new(&rates, &[1.0, -1.0]);
            let rule = StoppingRule::new(RTOL, max_iterations).unwrap();
            method.run(map, problems::zeros(2, &[3]), &rule)
        };
        let early = run(40);
        assert_eq!(early.count(Termination::MaxIterations), 2, "{method:?}");
        assert!(early.outcomes.iter().all(|o| o.residual > 0.4 && o.iterations == 40));
        let late = run(400);
        assert_eq!(late.count(Termination::NotFinite), 2, "{method:?}");
        assert!(late.outcomes.iter().all(|o| o.residual.is_nan() && o.iterations < 200));
        assert!(host(&late.state).iter().flatten().all(|x| x.is_finite()), "the best is finite");
    }
}

#[test]
fn slow_dynamics_far_from_linear_end_in_fixed_points() {
    // Many fixed points, so the answer is that f(s) = s, not which s.
    let network = NetworkCase::stiff();
    for memory in [2, 3, 5, 10] {
        let solution =
            Any::Anderson(memory).run(network.sweep_unsolved(), network.guess(), &rule());
        assert!(solution.all_converged(), "memory {memory}");
        for (i, state) in host(&solution.state).iter().enumerate() {
            let residual = network.residual(i, state);
            // Over all units, where the rule measured one block; gains are up to about 2.
            assert!(residual < 4.0 * RTOL, "memory {memory}, sample {i}: {residual}");
        }
    }
}

#[test]
fn methods_are_the_same_where_their_settings_make_them_so() {
    let case = problems::contraction();
    let bits = |solution: &Solution| problems::bits(&solution.state);
    let rule = StoppingRule::new(1e-5, 100).unwrap().with_trace();
    let picard = solve(case.map.clone(), case.guess.clone(), &Picard, &rule).unwrap();
    for method in [Any::Damped(0.0), Any::Euler(1.0), Any::Anderson(1)] {
        let same = case.run(method, &rule);
        assert_eq!(bits(&same), bits(&picard), "{method:?} is Picard");
        assert_eq!(same.trace, picard.trace, "{method:?} is Picard");
    }
    let damped = case.run(Any::Damped(0.75), &rule);
    let euler = case.run(Any::Euler(0.25), &rule);
    assert_eq!(bits(&damped), bits(&euler), "forward Euler is damped Picard");
    assert_eq!(damped.trace, euler.trace);
}

#[test]
fn anderson_that_remembers_nothing_is_damped_by_its_mixing() {
    let case = problems::contraction();
    let rule = StoppingRule::new(1e-5, 400).unwrap();
    let mixed = Anderson::new(1).unwrap().with_mixing(0.5).unwrap();
    let mixed = solve(case.map.clone(), case.guess.clone(), &mixed, &rule).unwrap();
    let damped = Damped::new(0.5).unwrap();
    let damped = solve(case.map, case.guess, &damped, &rule).unwrap();
    for (a, b) in host(&mixed.state).iter().zip(&host(&damped.state)) {
        // s + (f - s) / 2 and f / 2 + s / 2 round differently.
        assert!(distance(a, b) <= 1e-5 * norm(a));
    }
    for (a, b) in mixed.outcomes.iter().zip(&damped.outcomes) {
        assert!(a.iterations.abs_diff(b.iterations) <= 1);
    }
}

#[test]
fn components_that_no_block_updates_stay_as_guessed() {
    let case = NetworkCase::pair();
    let map = case.map().with_blocks(&[&[1]]);
    let guess =
        State::new(vec![column(&[0.5; 5]).expand([5, 9]), column(&[0.0; 5]).expand([5, 6])])
            .unwrap();
    for method in [Any::Picard, Any::Damped(0.5), Any::Anderson(3)] {
        let solution = method.run(Sweep(map.clone()), guess.clone(), &rule());
        assert!(solution.all_converged());
        assert!(host(&solution.state).iter().all(|s| s[..9].iter().all(|&x| x == 0.5)));
    }
    let nothing = map.with_blocks(&[]);
    let solution = Any::Picard.run(Sweep(nothing), guess, &rule());
    assert!(solution.outcomes.iter().all(|o| o.iterations == 1), "the identity");
}
