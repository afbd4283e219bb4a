//! Anderson acceleration against an implementation in f64, and its safeguard.
#![allow(clippy::unwrap_used, clippy::float_cmp, reason = "a test may stop, and compare exactly")]
#![recursion_limit = "256"]

mod problems;

use burn::tensor::Tensor;
use hvae_solver::{
    Anderson, Damped, FixedPointMap, Memory, Method, Outcome, Safeguard, State, StoppingRule, solve,
};
use problems::{
    Affine, Any, LinearProblem, Matrix, NetworkCase, bits, column, distance, dot, host, indices,
    multiply, norm, solve_directly, spread, tensor,
};

/// Anderson's algorithm as it is written down, for one sample in f64.
struct Reference {
    memory: usize,
    ridge: f64,
    mixing: f64,
    /// Plain updates `t` and residuals `g`, oldest first.
    history: Vec<(Vec<f64>, Vec<f64>)>,
}

impl Reference {
    fn advance(&mut self, state: &[f64], image: &[f64]) -> Vec<f64> {
        let minus = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a - b).collect::<Vec<_>>();
        let residual = minus(image, state);
        let plain: Vec<f64> =
            state.iter().zip(&residual).map(|(s, g)| s + self.mixing * g).collect();
        if self.history.last().is_some_and(|(_, g)| norm(&residual) > norm(g)) {
            self.history.clear();
        }
        self.history.push((plain.clone(), residual.clone()));
        let excess = self.history.len().saturating_sub(self.memory);
        self.history.drain(..excess);
        let changes: Vec<_> = self
            .history
            .windows(2)
            .map(|w| (minus(&w[1].0, &w[0].0), minus(&w[1].1, &w[0].1)))
            .collect();
        if changes.is_empty() {
            return plain;
        }
        let normal: Matrix = (0..changes.len())
            .map(|i| {
                let entry = |j: usize| {
                    let ridge = if i == j { 1.0 + self.ridge } else { 1.0 };
                    dot(&changes[i].1, &changes[j].1) * ridge
                };
                (0..changes.len()).map(entry).collect()
            })
            .collect();
        let rhs: Vec<f64> = changes.iter().map(|c| dot(&c.1, &residual)).collect();
        let gamma = solve_directly(&normal, &rhs);
        let mut next = plain;
        for (gamma, change) in gamma.iter().zip(&changes) {
            next.iter_mut().zip(&change.0).for_each(|(x, dt)| *x -= gamma * dt);
        }
        next
    }
}

/// Rounding of f32, times the condition of the small system (a few hundred here).
const AS_IN_F64: f64 = 1e-4;

#[test]
fn iterates_agree_with_an_implementation_in_f64() {
    let radii = [0.2, 0.5, 0.8, 0.95];
    let spectra: Vec<_> = radii.iter().map(|&r| spread(-0.5 * r, r, 8)).collect();
    let problem = LinearProblem::symmetric(&spectra, 11);
    for (memory, ridge, mixing) in
        [(2, 0.0, 1.0), (3, 1e-6, 1.0), (4, 1e-6, 0.7), (4, 0.1, 1.0), (9, 0.0, 1.0)]
    {
        let method = Anderson::new(memory).unwrap();
        let method = method.with_ridge(ridge).unwrap().with_mixing(mixing).unwrap();
        let case = problem.case("agreement");
        let mut remembered = method.start(&[0]);
        let mut state = case.guess.clone();
        let mut references: Vec<_> = radii
            .iter()
            .map(|_| (vec![0.0; 8], Reference { memory, ridge, mixing, history: Vec::new() }))
            .collect();
        for iteration in 0..6 {
            let image = case.map.apply(&state, iteration);
            state = method.advance(state, image, &mut remembered);
            for (i, (expected, reference)) in references.iter_mut().enumerate() {
                let product = multiply(&problem.matrices[i], expected);
                let image: Vec<f64> =
                    product.iter().zip(&problem.shifts[i]).map(|(a, b)| a + b).collect();
                *expected = reference.advance(expected, &image);
                let error = distance(&host(&state)[i], expected) / norm(expected);
                let at =
                    format!("memory {memory}, ridge {ridge}, iteration {iteration}, sample {i}");
                assert!(error < AS_IN_F64, "{at}: {error:e}");
            }
        }
    }
}

#[test]
fn a_linear_problem_of_n_unknowns_takes_n_plus_2_iterations() {
    // In exact arithmetic: n differences span the residual, one more iteration to arrive, one to
    // see it.
    let problem = LinearProblem::symmetric(&vec![spread(-0.6, 0.9, 4); 3], 12);
    let case = problem.case("exact");
    let rule = StoppingRule::new(1e-4, 50).unwrap();
    let solution = case.run(Any::Anderson(5), &rule);
    assert!(solution.outcomes.iter().all(|o| o.iterations <= 6), "{:?}", solution.outcomes);
}

#[test]
fn acceleration_pays_where_contraction_is_slow() {
    let rule = StoppingRule::new(1e-5, 1000).unwrap();
    let picard = problems::slow().run(Any::Picard, &rule);
    let anderson = problems::slow().run(Any::Anderson(5), &rule);
    assert!(anderson.all_converged());
    assert!(
        5.0 * anderson.mean_iterations() < picard.mean_iterations(),
        "{} against {}",
        anderson.mean_iterations(),
        picard.mean_iterations()
    );
}

#[test]
fn fast_contraction_is_not_slowed_down() {
    // Residuals fall by 100 per iteration, so those in memory differ widely in size.
    let problem = LinearProblem::symmetric(&vec![spread(-0.01, 0.01, 6); 4], 13);
    let rule = StoppingRule::new(1e-6, 50).unwrap();
    let picard = problem.case("fast").run(Any::Picard, &rule);
    for memory in [2, 4, 8] {
        let anderson = problem.case("fast").run(Any::Anderson(memory), &rule);
        for (a, p) in anderson.outcomes.iter().zip(&picard.outcomes) {
            assert!(
                a.iterations <= p.iterations,
                "memory {memory}: {} against {}",
                a.iterations,
                p.iterations
            );
        }
    }
}

/// Iterations that Anderson may take more than Picard: what it loses before the safeguard acts.
const FEW: usize = 8;

#[test]
fn nonlinear_problems_never_take_many_more_iterations_than_picard() {
    let rule = StoppingRule::new(1e-5, 3000).unwrap();
    let check = |name: &str, memory: usize, anderson: &[Outcome], picard: &[Outcome]| {
        for (i, (a, p)) in anderson.iter().zip(picard).enumerate() {
            let at = format!("{name}, memory {memory}, sample {i}");
            assert!(
                a.iterations <= p.iterations + FEW,
                "{at}: {} against {}",
                a.iterations,
                p.iterations
            );
        }
    };
    for network in [NetworkCase::stiff(), NetworkCase::crowd(), NetworkCase::triangle()] {
        let synchronous = network.synchronous_unsolved();
        let sweep = network.sweep_unsolved();
        let guess = network.guess();
        let plain = Any::Picard.run(synchronous.clone(), guess.clone(), &rule).outcomes;
        let swept = Any::Picard.run(sweep.clone(), guess.clone(), &rule).outcomes;
        for memory in [2, 3, 5, 10] {
            let method = Any::Anderson(memory);
            let found = method.run(synchronous.clone(), guess.clone(), &rule).outcomes;
            check("synchronous", memory, &found, &plain);
            let found = method.run(sweep.clone(), guess.clone(), &rule).outcomes;
            check("sweep", memory, &found, &swept);
        }
    }
}

#[test]
fn the_ridge_hardly_matters_below_its_default() {
    let rule = StoppingRule::new(1e-5, 1000).unwrap();
    let case = problems::slow();
    let mean = |ridge: f64| {
        let method = Anderson::new(5).unwrap().with_ridge(ridge).unwrap();
        let solution = solve(case.map.clone(), case.guess.clone(), &method, &rule).unwrap();
        assert!(solution.all_converged());
        solution.mean_iterations()
    };
    let default = mean(1e-6);
    for ridge in [0.0, 1e-10, 1e-8, 1e-4] {
        let found = mean(ridge);
        assert!((found - default).abs() <= 0.25 * default, "{ridge}: {found}, {default}");
    }
    // A ridge that dominates leaves plain updates.
    let picard = case.run(Any::Picard, &rule).mean_iterations();
    assert!((mean(1e12) - picard).abs() <= 1.0);
}

fn state(rows: &[Vec<f64>]) -> State {
    State::new(vec![tensor(rows)]).unwrap()
}

/// States and images of one sample, one pair per iteration: residuals of length 2, 3 and 1.
fn growing() -> [(State, State); 3] {
    [
        (state(&[vec![0.0, 0.0]]), state(&[vec![2.0, 0.0]])),
        (state(&[vec![2.0, 0.0]]), state(&[vec![2.0, 3.0]])),
        (state(&[vec![2.0, 3.0]]), state(&[vec![2.5, 3.5]])),
    ]
}

#[test]
fn a_grown_residual_makes_the_update_plain() {
    for (mixing, expected) in [(1.0, [2.0, 3.0]), (0.5, [2.0, 1.5])] {
        let method = Anderson::new(4).unwrap().with_mixing(mixing).unwrap();
        let mut memory = method.start(&[0]);
        let [first, second, _] = growing();
        method.advance(first.0, first.1, &mut memory);
        let next = method.advance(second.0, second.1, &mut memory);
        assert_eq!(host(&next), [expected]);
    }
}

#[test]
fn a_grown_residual_discards_earlier_differences() {
    let method = Anderson::new(4).unwrap();
    let [first, second, third] = growing();
    let mut memory = method.start(&[0]);
    method.advance(first.0, first.1, &mut memory);
    method.advance(second.0.clone(), second.1.clone(), &mut memory);
    let old = method.advance(third.0.clone(), third.1.clone(), &mut memory);
    let mut memory = method.start(&[0]);
    method.advance(second.0, second.1, &mut memory);
    let fresh = method.advance(third.0, third.1.clone(), &mut memory);
    assert_eq!(bits(&old), bits(&fresh));
    assert_ne!(bits(&fresh), bits(&third.1), "the last update is accelerated");
}

#[test]
fn a_sample_that_discards_keeps_the_memory_of_another() {
    // The residual of sample 0 grows at the second iteration, that of sample 1 does not.
    let pairs = [([0.0, 0.0], [2.0, 2.0]), ([2.0, 2.0], [5.0, 3.0]), ([5.0, 3.0], [5.5, 3.4])];
    let method = Anderson::new(4).unwrap();
    let mut both = method.start(&[0]);
    let mut single = method.start(&[0]);
    for (s, f) in pairs {
        let pair = |v: [f64; 2]| State::new(vec![column(&v)]).unwrap();
        let one = |v: [f64; 2]| State::new(vec![column(&v[1..])]).unwrap();
        let together = method.advance(pair(s), pair(f), &mut both);
        let other = method.advance(one(s), one(f), &mut single);
        assert_eq!(bits(&together)[1], bits(&other)[0]);
    }
}

#[test]
fn dependent_and_vanishing_differences_do_no_harm() {
    for ridge in [0.0, 1e-6] {
        // One unknown: all differences are parallel. The answer is exact in f32.
        let method = Anderson::new(6).unwrap().with_ridge(ridge).unwrap();
        let mut memory = method.start(&[0]);
        let mut s = State::new(vec![column(&[0.0, 100.0])]).unwrap();
        for _ in 0..12 {
            let image = s.map(|s| s.mul_scalar(0.5).add_scalar(1.0));
            s = method.advance(s, image, &mut memory);
        }
        for value in host(&s).concat() {
            assert!((value - 2.0).abs() < 1e-6, "ridge {ridge}: {value}");
        }
    }
}

#[test]
fn exactly_parallel_differences_count_once() {
    // Plain updates of s = s / 2 + 1: residuals 1, 1/2, 1/4, and a singular small system unless
    // the older difference is left out.
    let method = Anderson::new(4).unwrap().with_ridge(0.0).unwrap();
    let mut memory = method.start(&[0]);
    let one = |v: f64| State::new(vec![column(&[v])]).unwrap();
    for (s, f, expected) in [(0.0, 1.0, 1.0), (1.0, 1.5, 2.0), (1.5, 1.75, 2.0)] {
        let next = method.advance(one(s), one(f), &mut memory);
        assert_eq!(host(&next), [[expected]]);
    }
}

#[test]
fn a_repeated_state_does_not_stop_acceleration() {
    let method = Anderson::new(4).unwrap();
    let [_, second, third] = growing();
    let run = |repeats: usize| {
        let mut memory = method.start(&[0]);
        for _ in 0..repeats {
            method.advance(second.0.clone(), second.1.clone(), &mut memory);
        }
        method.advance(third.0.clone(), third.1.clone(), &mut memory)
    };
    assert_eq!(bits(&run(2)), bits(&run(1)));
    assert_ne!(bits(&run(2)), bits(&third.1));
}

#[test]
fn a_nan_between_two_checks_is_discarded() {
    let method = Anderson::new(4).unwrap();
    let mut memory = method.start(&[0]);
    let one = |v: f64| State::new(vec![column(&[v])]).unwrap();
    method.advance(one(0.0), one(1.0), &mut memory);
    method.advance(one(1.0), one(f64::NAN), &mut memory);
    // The map may recover from NaN; then the updates are plain.
    for s in [1.0, 1.5, 1.75, 1.875, 1.9375] {
        let next = method.advance(one(s), one(0.5 * s + 1.0), &mut memory);
        assert!(host(&next)[0][0].is_finite());
    }
}

#[test]
fn a_selected_memory_is_that_of_its_samples() {
    let case = problems::contraction();
    let method = Anderson::new(4).unwrap();
    let rows = indices(&[4, 1]);
    // Five iterations together, then samples 4 and 1 only ...
    let mut memory = method.start(&[0]);
    let mut s = case.guess.clone();
    for iteration in 0..5 {
        let image = case.map.apply(&s, iteration);
        s = method.advance(s, image, &mut memory);
    }
    let (mut s, mut memory, map) = (s.select(&rows), memory.select(&rows), case.map.select(&rows));
    // ... or only these two from the start.
    let mut single = method.start(&[0]);
    let mut expected = case.guess.select(&rows);
    for iteration in 0..9 {
        let image = map.apply(&expected, iteration);
        expected = method.advance(expected, image, &mut single);
        if iteration >= 5 {
            let image = map.apply(&s, iteration);
            s = method.advance(s, image, &mut memory);
            assert_eq!(bits(&s), bits(&expected), "iteration {iteration}");
        }
    }
}

#[test]
fn components_that_are_not_measured_take_their_image() {
    let anderson = Anderson::new(3).unwrap();
    let damped = Damped::new(0.5).unwrap();
    let (mut memory, mut measured) = (anderson.start(&[1]), damped.start(&[1]));
    let pair = |a: f64, b: f64| State::new(vec![column(&[a]), column(&[b])]).unwrap();
    for (s, f) in [(0.0, 1.0), (1.0, 1.5), (1.5, 1.75)] {
        let (state, image) = (pair(-s, s), pair(10.0 + f, f));
        let next = anderson.advance(state.clone(), image.clone(), &mut memory);
        let first: Tensor<2> = next.component(0).clone();
        assert_eq!(first.into_scalar::<f32>(), (10.0 + f) as f32);
        let next = damped.advance(state, image, &mut measured);
        assert_eq!(host(&next), [[10.0 + f, 0.5 * (s + f)]]);
    }
}

/// In one dimension an accelerated update ends at the fixed point, beyond the image by
/// `rate / (1 - rate)` times the length of the plain update: too far for [`Safeguard::Distance`] if
/// the rate is above one half. Then only the plain iteration remains.
#[test]
fn the_distance_safeguard_rejects_updates_far_beyond_the_image() {
    let rates = [0.9, 0.6, 0.4, -0.9];
    // Fixed points at 100, so that the norms of states play no part.
    let shifts = rates.map(|rate| 100.0 * (1.0 - rate));
    let map = Affine::new(&rates, &shifts);
    let guess = State::new(vec![column(&[101.0; 4])]).unwrap();
    let rule = StoppingRule::new(1e-5, 500).unwrap();
    let iterations = |method: Any| {
        let solution = method.run(map.clone(), guess.clone(), &rule);
        assert!(solution.all_converged());
        solution.outcomes.iter().map(|o| o.iterations).collect::<Vec<_>>()
    };
    let plain = iterations(Any::Picard);
    let method = Anderson::new(2).unwrap().with_safeguard(Safeguard::Distance);
    let solution = solve(map.clone(), guess.clone(), &method, &rule).unwrap();
    let guarded: Vec<usize> = solution.outcomes.iter().map(|o| o.iterations).collect();
    assert_eq!(guarded[..2], plain[..2]);
    assert!(guarded[2] < plain[2] && guarded[3] < 6, "{guarded:?} against {plain:?}");
    let usual = iterations(Any::Anderson(2));
    assert!(usual.iter().all(|&s| s < 6), "{usual:?}");
}

#[test]
fn the_distance_safeguard_compares_distances_with_norms() {
    // The second update ends at the fixed point. From 11 to 5 and then 1 it is shorter than the
    // plain update, but too long for a state of 1; from 1 to 40.6 and then 100 it is longer, but
    // not too long for a state of 100.
    for (rate, fixed, s, taken) in [(0.4, 1.0, 11.0, false), (0.6, 100.0, 1.0, true)] {
        let map = Affine::new(&[rate], &[fixed * (1.0 - rate)]);
        let method = Anderson::new(2).unwrap().with_ridge(0.0).unwrap();
        let method = method.with_safeguard(Safeguard::Distance);
        let mut memory = method.start(&[0]);
        let at = |s: f64| State::new(vec![column(&[s])]).unwrap();
        // An update from elsewhere, so that there is a difference to remember.
        method.advance(at(s + 16.0), map.apply(&at(s + 16.0), 0), &mut memory);
        let image = map.apply(&at(s), 1);
        let next = host(&method.advance(at(s), image.clone(), &mut memory))[0][0];
        let expected = if taken { fixed } else { host(&image)[0][0] };
        assert!((next - expected).abs() < 1e-4 * fixed, "{next}, not {expected}");
    }
}

#[test]
fn a_ridge_below_the_rounding_error_of_one_has_no_effect() {
    let case = problems::contraction();
    let run = |ridge: f64| {
        let method = Anderson::new(4).unwrap().with_ridge(ridge).unwrap();
        let rule = StoppingRule::new(0.0, 8).unwrap();
        bits(&solve(case.map.clone(), case.guess.clone(), &method, &rule).unwrap().state)
    };
    for ridge in [1e-10, 5.9e-8] {
        assert_eq!(run(ridge), run(0.0), "ridge {ridge:e}");
    }
    assert_ne!(run(1e-6), run(0.0));
}
