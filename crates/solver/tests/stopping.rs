//! For every method: when it stops, what it returns, and what a trace shows.
#![allow(clippy::unwrap_used, clippy::float_cmp, reason = "a test may stop, and compare exactly")]
#![recursion_limit = "256"]

mod problems;

use burn::tensor::{Int, Tensor};
use hvae_solver::{FixedPointMap, Solution, State, Termination};
use problems::{
    Affine, Any, METHODS, NetworkCase, bits, column, distance, host, norm, rule, tensor, zeros,
};

fn iterations(solution: &Solution) -> Vec<usize> {
    solution.outcomes.iter().map(|o| o.iterations).collect()
}

#[test]
fn a_warm_start_at_the_solution_takes_one_iteration() {
    let network = NetworkCase::chain();
    for method in METHODS {
        let case = problems::contraction();
        let cold = case.run(method, &rule(1e-5, 300));
        let warm = method.run(case.map, cold.state.clone(), &rule(1e-5, 300));
        assert_eq!(iterations(&warm), [1; 5], "{method:?}");
        assert_eq!(warm.iterations, 1);

        let cold = method.run(network.sweep_unsolved(), network.guess(), &rule(1e-5, 300));
        let warm = method.run(network.sweep_unsolved(), cold.state.clone(), &rule(1e-5, 300));
        assert_eq!(iterations(&warm), [1; 5], "{method:?}");
        for (a, b) in host(&warm.state).iter().zip(&host(&cold.state)) {
            assert!(distance(a, b) <= 1e-5 * norm(b));
        }
    }
}

#[test]
fn an_exact_fixed_point_converges_at_tolerance_zero() {
    for method in METHODS {
        let mut guess = zeros(2, &[1]);
        guess.replace(0, column(&[2.0, 1.0])).unwrap();
        let map = Affine::new(&[0.5, 0.9], &[1.0, 1.0]);
        let solution = method.run(map, guess, &rule(0.0, 5));
        assert_eq!(solution.outcomes[0].termination, Termination::Converged, "{method:?}");
        assert_eq!((solution.outcomes[0].iterations, solution.outcomes[0].residual), (1, 0.0));
    }
}

/// A fast component of size 1 and a slow one of a millionth of it, with a weight on the slow one.
struct Uneven(f64);

impl FixedPointMap for Uneven {
    fn apply(&self, state: &State, _iteration: usize) -> State {
        let [fast, slow] = [0, 1].map(|k| state.component(k).clone());
        let images = vec![fast * 0.1 + 0.9, slow * 0.9 + 1e-7];
        State::new(images).unwrap()
    }

    fn select(&self, _: &Tensor<1, Int>) -> Self {
        Self(self.0)
    }

    fn weight(&self, component: usize) -> f64 {
        if component == 1 { self.0 } else { 1.0 }
    }
}

#[test]
fn a_weight_makes_a_small_component_count() {
    let slow = |weight| {
        let solution = Any::Picard.run(Uneven(weight), zeros(1, &[1, 1]), &rule(1e-3, 300));
        assert!(solution.all_converged());
        1e6 * host(&solution.state)[0][1]
    };
    assert!(slow(1.0) < 0.5, "without a weight it is ignored");
    assert!((slow(1e6) - 1.0).abs() < 0.02);
}

#[test]
fn an_invalid_weight_is_an_error() {
    for weight in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let rule = rule(1e-3, 5);
        let found =
            hvae_solver::solve(Uneven(weight), zeros(1, &[1, 1]), &hvae_solver::Picard, &rule);
        assert!(found.unwrap_err().to_string().contains("weight"), "{weight}");
    }
}

#[test]
fn no_sample_ends_before_min_iterations() {
    let map = Affine::new(&[0.5, 0.0], &[0.0, 0.0]);
    for (least, most, expected) in [(3, 5, 3), (7, 5, 5)] {
        let rule = rule(1e-5, most).with_min_iterations(least).unwrap();
        let solution = Any::Picard.run(map.clone(), zeros(2, &[3]), &rule);
        assert!(solution.all_converged() && iterations(&solution) == [expected; 2]);
    }
    assert!(rule(1e-5, 5).with_min_iterations(0).is_err());
}

#[test]
fn a_fixed_point_at_zero_has_residual_zero() {
    let map = Affine::new(&[0.5, 0.0], &[0.0, 0.0]);
    let solution = Any::Picard.run(map, zeros(2, &[3]), &rule(1e-5, 5));
    assert!(solution.outcomes.iter().all(|o| o.iterations == 1 && o.residual == 0.0));
}

#[test]
fn tolerance_zero_runs_to_the_limit() {
    for method in [Any::Picard, Any::Damped(0.4), Any::Anderson(2)] {
        let case = problems::slow();
        let solution = case.run(method, &rule(0.0, 9));
        assert_eq!(solution.count(Termination::MaxIterations), 3, "{method:?}");
        assert_eq!((iterations(&solution), solution.iterations), (vec![9; 3], 9));
    }
}

/// The smallest entry of column `sample` of a trace, and its iteration.
fn smallest(solution: &Solution, sample: usize) -> (usize, f64) {
    let column = solution.trace.iter().map(|(count, residuals)| (*count, residuals[sample]));
    column.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap()
}

#[test]
fn max_iterations_returns_the_best_image_and_its_residual() {
    // Under Picard the residuals of stretched turns go up and down; damped by 0.1 as well.
    let case = problems::oscillation();
    let mut earlier = 0;
    for method in [Any::Picard, Any::Damped(0.05)] {
        let full = case.run(method, &rule(1e-5, 25).with_trace());
        for i in 0..4 {
            if full.outcomes[i].termination != Termination::MaxIterations {
                continue;
            }
            let (best, residual) = smallest(&full, i);
            assert_eq!(full.outcomes[i].residual, residual, "{method:?}, sample {i}");
            assert_eq!(full.outcomes[i].iterations, 25);
            // Its image is the last and best of a run that ends there.
            let short = case.run(method, &rule(1e-5, best));
            assert_eq!(bits(&short.state)[i], bits(&full.state)[i], "{method:?}, sample {i}");
            earlier += usize::from(best < 25);
        }
    }
    assert!(earlier >= 2, "some best images are not the last");
}

/// `s = s^2 / (1 + s)`: from large `s`, relative residuals grow while differences shrink.
#[derive(Clone)]
struct Vanishing;

impl FixedPointMap for Vanishing {
    fn apply(&self, state: &State, _iteration: usize) -> State {
        state.map(|s| s.clone().square() / s.add_scalar(1.0))
    }

    fn select(&self, _rows: &Tensor<1, Int>) -> Self {
        Self
    }
}

#[test]
fn a_converged_sample_returns_the_image_that_met_the_tolerance() {
    let mut guess = zeros(2, &[1]);
    guess.replace(0, column(&[5.0, 3.0])).unwrap();
    let rule = rule(0.0, 50).with_atol(1e-3).unwrap();
    for rule in [rule, rule.with_masking()] {
        for method in [Any::Picard, Any::Damped(0.1)] {
            let solution = method.run(Vanishing, guess.clone(), &rule);
            assert!(solution.all_converged());
            for (state, outcome) in host(&solution.state).iter().zip(&solution.outcomes) {
                assert!(state[0] < 1e-3, "{method:?}: {}", state[0]);
                assert!(outcome.residual > 1.0);
            }
        }
    }
}

#[test]
fn the_absolute_tolerance_ends_decay_to_zero() {
    // s = s / 2: the relative residual is 1 for ever.
    let map = Affine::new(&[0.5, 0.5], &[0.0, 0.0]);
    let mut guess = zeros(2, &[1]);
    guess.replace(0, column(&[1.0, 8.0])).unwrap();
    let relative = Any::Picard.run(map.clone(), guess.clone(), &rule(0.1, 30));
    assert_eq!(relative.count(Termination::MaxIterations), 2);
    assert!(!relative.all_converged());
    let rule = rule(0.0, 30).with_atol(1.0 / 1024.0).unwrap();
    for rule in [rule, rule.with_masking()] {
        let absolute = Any::Picard.run(map.clone(), guess.clone(), &rule);
        // |f - s| is 2^-i and 8 2^-i after i iterations.
        assert_eq!(iterations(&absolute), [10, 13]);
        assert!(absolute.all_converged());
        assert_eq!((absolute.mean_iterations(), absolute.max_residual()), (11.5, 1.0));
        assert!(absolute.outcomes.iter().all(|o| o.residual == 1.0));
    }
}

#[test]
fn checking_rarely_rounds_the_iterations_up() {
    let case = problems::contraction();
    // Their residuals fall monotonically, so a converged sample stays converged.
    for method in [Any::Picard, Any::Damped(0.4), Any::Euler(0.5)] {
        let always = iterations(&case.run(method, &rule(1e-5, 200)));
        for check_every in [2, 3, 7, 50] {
            let rule = rule(1e-5, 200).with_check_every(check_every).unwrap();
            let expected: Vec<_> = always.iter().map(|s| s.next_multiple_of(check_every)).collect();
            assert_eq!(iterations(&case.run(method, &rule)), expected, "{method:?} {check_every}");
        }
    }
    // Those of Anderson may not, but checks do not change the iterates.
    let often = case.run(Any::Anderson(3), &rule(0.0, 12));
    let once = case.run(Any::Anderson(3), &rule(0.0, 12).with_check_every(12).unwrap());
    for i in 0..5 {
        if smallest(&case.run(Any::Anderson(3), &rule(0.0, 12).with_trace()), i).0 == 12 {
            assert_eq!(bits(&often.state)[i], bits(&once.state)[i]);
        }
    }
}

#[test]
fn the_last_iteration_is_always_a_check() {
    let rule = rule(0.0, 10).with_check_every(7).unwrap().with_trace();
    let solution = problems::slow().run(Any::Picard, &rule);
    assert_eq!(solution.trace.iter().map(|t| t.0).collect::<Vec<_>>(), [7, 10]);
    assert_eq!(iterations(&solution), [10; 3]);
    assert_eq!(rule.max_iterations(), 10);
    assert_eq!(rule.rtol(), 0.0);
}

#[test]
fn the_trace_has_one_entry_per_check() {
    let case = problems::contraction();
    for method in METHODS {
        for check_every in [1, 3] {
            let rule = rule(1e-5, 500).with_check_every(check_every).unwrap();
            assert!(case.run(method, &rule).trace.is_empty(), "only on request");
            let solution = case.run(method, &rule.with_trace());
            let checks: Vec<_> = solution.trace.iter().map(|t| t.0).collect();
            let expected: Vec<_> =
                (1..=solution.iterations / check_every).map(|i| i * check_every).collect();
            assert_eq!(checks, expected);
            for (i, outcome) in solution.outcomes.iter().enumerate() {
                for (count, residuals) in &solution.trace {
                    assert_eq!(residuals.len(), 5);
                    // An ended sample keeps its last residual.
                    assert_eq!(*count >= outcome.iterations, residuals[i] <= 1e-5);
                    assert!(*count < outcome.iterations || residuals[i] == outcome.residual);
                }
            }
        }
    }
}

#[test]
fn the_trace_shows_the_residual_at_the_limit_not_the_best() {
    let case = problems::oscillation();
    let long = case.run(Any::Picard, &rule(1e-5, 26).with_trace());
    for limit in 20..26 {
        let short = case.run(Any::Picard, &rule(1e-5, limit).with_trace());
        assert_eq!(short.trace[..], long.trace[..limit]);
    }
}

#[test]
fn residuals_are_those_of_the_undamped_map() {
    let radii = [0.3, 0.9];
    let spectra: Vec<_> = radii.iter().map(|&r| problems::spread(-r, r, 5)).collect();
    let problem = problems::LinearProblem::symmetric(&spectra, 21);
    let case = problem.case("residuals");
    let rule = rule(0.0, 8).with_trace();
    let first = |method: Any| case.run(method, &rule).trace[0].clone();
    for damping in [0.0, 0.3, 0.99] {
        assert_eq!(first(Any::Damped(damping)), first(Any::Picard), "damping {damping}");
        let trace = case.run(Any::Damped(damping), &rule).trace;
        let mut states = vec![vec![0.0; 5]; 2];
        for (count, residuals) in trace {
            for (i, s) in states.iter_mut().enumerate() {
                let product = problems::multiply(&problem.matrices[i], s);
                let shift = &problem.shifts[i];
                let f: Vec<f64> = product.iter().zip(shift).map(|(a, b)| a + b).collect();
                let expected = distance(&f, s) / norm(&f);
                // 1e-5: differences of f32 numbers about 0.01 of their size.
                let error = (residuals[i] - expected).abs();
                assert!(error < 1e-5, "damping {damping}, iteration {count}: {error:e}");
                s.iter_mut().zip(f).for_each(|(s, f)| *s = damping * *s + (1.0 - damping) * f);
            }
        }
    }
}

#[test]
fn a_power_of_two_scales_everything_exactly() {
    let shift = 3.0;
    for method in METHODS {
        let run = |scale: f64| {
            let map = Affine::new(&[0.5, -0.8, 0.97], &[shift * scale, scale, -scale]);
            let mut guess = zeros(3, &[2]);
            guess.replace(0, tensor(&vec![vec![scale, -0.25 * scale]; 3])).unwrap();
            method.run(map, guess, &rule(1e-4, 100))
        };
        let plain = run(1.0);
        for exponent in [-20, 20] {
            let scale = 2.0_f64.powi(exponent);
            let scaled = run(scale);
            assert_eq!(scaled.outcomes, plain.outcomes, "{method:?} 2^{exponent}");
            for (a, b) in host(&scaled.state).concat().iter().zip(host(&plain.state).concat()) {
                assert_eq!(*a, b * scale, "{method:?} 2^{exponent}");
            }
        }
    }
}
