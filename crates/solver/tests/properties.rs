//! What holds for every method: independence of samples, stopping, and typed errors.
#![allow(clippy::unwrap_used, clippy::float_cmp, reason = "a test may stop, and compare exactly")]
#![recursion_limit = "256"]

mod problems;

use std::cell::Cell;

use burn::tensor::{Int, Tensor};
use hvae_solver::{
    Anderson, BlockMap, Damped, FixedPointMap, Outcome, Simultaneous, Solution, SolverError, State,
    StoppingRule, Sweep, Termination,
};
use problems::{
    Affine, Any, Case, Cosine, Logarithm, NetworkCase, bits, column, distance, host, indices, norm,
    tensor, zeros,
};

const METHODS: [Any; 5] =
    [Any::Picard, Any::Damped(0.4), Any::Euler(0.5), Any::Anderson(2), Any::Anderson(5)];

fn rule(rtol: f64, max_steps: usize) -> StoppingRule {
    StoppingRule::new(rtol, max_steps).unwrap()
}

/// The sample `i` of a solution: its outcome and the bits of its state. A residual that is not a
/// number is a string like any other.
fn sample(solution: &Solution, i: usize) -> (String, Vec<u32>) {
    (format!("{:?}", solution.outcomes[i]), bits(&solution.state)[i].clone())
}

fn steps(solution: &Solution) -> Vec<usize> {
    solution.outcomes.iter().map(|o| o.steps).collect()
}

// Independence of samples. Maps that work element by element are compared bit for bit at any batch
// size. Matrix products on the CPU are not: Burn's Flex gives small products to another kernel, which
// adds in another order. Measured with `x W^T` (W^T a transposed view): the bits of a row change
// between 42 and 43 rows for 9 x 6, 25 and 26 for 100 x 10, 8 and 9 for 64 x 32, 1 and 2 for
// 512 x 784; with an untransposed W between 1 and 2 rows for 784 x 512 and never for the others.
// Within one kernel a row's bits depend neither on the other rows nor on their number. The network
// of these tests has 64 samples and loses few of them.

#[test]
fn permuting_the_batch_permutes_the_solution() {
    let case = problems::contraction();
    let crowd = NetworkCase::crowd();
    let order: Vec<usize> = vec![3, 0, 4, 2, 1];
    let reverse: Vec<usize> = (0..64).rev().collect();
    for method in METHODS {
        let plain = case.run(method, &rule(1e-5, 200));
        let rows = indices(&order);
        let permuted =
            method.run(case.map.select(&rows), case.guess.select(&rows), &rule(1e-5, 200));
        for (place, &i) in order.iter().enumerate() {
            assert_eq!(sample(&permuted, place), sample(&plain, i), "{method:?}, sample {i}");
        }

        let rows = indices(&reverse);
        let map = crowd.sweep_unsolved();
        let permuted = method.run(map.select(&rows), crowd.guess(), &rule(0.0, 7));
        let plain = method.run(map, crowd.guess(), &rule(0.0, 7));
        for (place, &i) in reverse.iter().enumerate() {
            assert_eq!(sample(&permuted, place), sample(&plain, i), "{method:?}, sample {i}");
        }
    }
}

#[test]
fn a_sample_alone_ends_as_it_does_in_a_batch() {
    let case = problems::contraction();
    for method in METHODS {
        let together = case.run(method, &rule(1e-5, 200));
        for i in 0..5 {
            let row = indices(&[i]);
            let alone =
                method.run(case.map.select(&row), case.guess.select(&row), &rule(1e-5, 200));
            assert_eq!(sample(&alone, 0), sample(&together, i), "{method:?}, sample {i}");
        }
    }
}

#[test]
fn a_sample_that_has_converged_does_not_move_when_others_go_on() {
    let case = problems::contraction();
    for method in METHODS {
        let full = case.run(method, &rule(1e-5, 200));
        assert!(full.all_converged());
        let mut order: Vec<usize> = (0..5).collect();
        order.sort_by_key(|&i| full.outcomes[i].steps);
        assert!(full.outcomes[order[0]].steps < full.outcomes[order[4]].steps);
        for (rank, &i) in order.iter().enumerate() {
            let short = case.run(method, &rule(1e-5, full.outcomes[i].steps));
            for &done in &order[..=rank] {
                assert_eq!(sample(&short, done), sample(&full, done), "{method:?}");
            }
        }
    }
}

/// Runs a map that is `good` in all samples, and one that is bad in sample `lost`; all others must
/// agree bit for bit.
fn assert_contained<F: FixedPointMap + Clone>(
    good: &F,
    bad: &F,
    guess: &State,
    lost: usize,
    rule: &StoppingRule,
) {
    for method in METHODS {
        let benign = method.run(good.clone(), guess.clone(), rule);
        let harmed = method.run(bad.clone(), guess.clone(), rule);
        assert_eq!(benign.count(Termination::NotFinite), 0);
        assert_eq!(harmed.outcomes[lost].termination, Termination::NotFinite, "{method:?}");
        for i in (0..guess.batch()).filter(|&i| i != lost) {
            assert_eq!(sample(&harmed, i), sample(&benign, i), "{method:?}, sample {i}");
        }
    }
}

#[test]
fn a_sample_that_is_not_finite_changes_no_bit_of_another() {
    for check_every in [1, 4] {
        let rule = rule(1e-6, 300).with_check_every(check_every).unwrap();
        // Not a number from the first image on.
        for poison in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let map = |a: f64| Affine::new(&[0.5, 0.8, -0.7], &[1.0, a, 2.0]);
            assert_contained(&map(1.0), &map(poison), &zeros(3, &[4]), 1, &rule);
        }
        // Not a number after a few steps.
        let map = |limit: f64| Logarithm::new(&[9.0, 5.0, limit, 7.0]);
        assert_contained(&map(9.0), &map(1.6), &zeros(4, &[1]), 2, &rule);
        // Not a number in the guess.
        let map = Cosine::new(&[0.3, 0.5, 0.7]);
        let mut guess = zeros(3, &[1]);
        guess.replace(0, column(&[0.0, 0.0, f64::NAN]));
        for method in METHODS {
            let harmed = method.run(map.clone(), guess.clone(), &rule);
            let benign = method.run(map.clone(), zeros(3, &[1]), &rule);
            assert_eq!(sample(&harmed, 0), sample(&benign, 0));
            assert_eq!(sample(&harmed, 1), sample(&benign, 1));
            assert_eq!(harmed.outcomes[2].termination, Termination::NotFinite);
        }
    }
}

#[test]
fn a_sample_that_is_not_finite_changes_no_bit_of_another_in_matrix_products() {
    let network = NetworkCase::crowd();
    let (good, guess) = (network.map(), network.guess());
    for component in [0, 1] {
        let bad = good.poisoned(component, 17);
        let rule = rule(0.0, 12).with_check_every(3).unwrap();
        assert_contained(&Sweep(good.clone()), &Sweep(bad.clone()), &guess, 17, &rule);
        assert_contained(&Simultaneous(good.clone()), &Simultaneous(bad), &guess, 17, &rule);
    }
}

#[test]
fn a_sample_that_stops_being_finite_hands_back_its_best_finite_state() {
    // Sample 0 rises towards 2 and passes its limit on the way.
    for method in [Any::Picard, Any::Damped(0.4)] {
        let solution = method.run(Logarithm::new(&[1.6, 9.0]), zeros(2, &[1]), &rule(1e-6, 100));
        let [lost, fine] = [solution.outcomes[0], solution.outcomes[1]];
        assert_eq!(lost.termination, Termination::NotFinite);
        assert!(lost.residual.is_nan() && lost.steps > 2 && lost.steps < fine.steps);
        let best = host(&solution.state)[0][0];
        assert!(best > 1.0 && best.is_finite(), "{method:?} {best}");
        assert_eq!(fine.termination, Termination::Converged);
        assert!(solution.max_residual().is_nan());
        assert_eq!(solution.count(Termination::NotFinite), 1);
        assert!(!solution.all_converged());
    }
}

#[test]
fn a_norm_beyond_f32_never_counts_as_converged() {
    // s = 1e30 is an exact fixed point, but its square is infinite and so is the norm.
    let map = Affine::new(&[0.0, 0.0], &[1e30, 1e3]);
    let mut guess = zeros(2, &[1]);
    guess.replace(0, column(&[1e30, 1e3]));
    let solution = Any::Picard.run(map, guess, &rule(1e-5, 10));
    assert_eq!(solution.outcomes[0].termination, Termination::NotFinite);
    assert!(solution.outcomes[0].residual.is_nan());
    assert_eq!(solution.outcomes[1].termination, Termination::Converged);
}

/// Two blocks, of which the second does not read the first: a number lost in the first goes
/// unnoticed by the residual.
#[derive(Clone)]
struct OneWay {
    drive: Tensor<2>,
    blocks: Vec<Vec<usize>>,
}

impl BlockMap for OneWay {
    fn blocks(&self) -> &[Vec<usize>] {
        &self.blocks
    }

    fn update(&self, component: usize, state: &State) -> Tensor<2> {
        let field = state.component(1).clone().mul_scalar(0.5).add_scalar(1.0);
        if component == 0 { field + self.drive.clone() } else { field }
    }

    fn select(&self, rows: &Tensor<1, Int>) -> Self {
        Self { drive: self.drive.clone().select(0, rows.clone()), ..self.clone() }
    }
}

#[test]
fn a_number_lost_in_a_component_that_is_not_carried_is_noticed() {
    let drive = column(&[0.0, f64::NAN, f64::INFINITY]);
    let map = Sweep(OneWay { drive, blocks: vec![vec![0], vec![1]] });
    assert_eq!(map.carried(2), [1]);
    for method in METHODS {
        let solution = method.run(map.clone(), zeros(3, &[1, 1]), &rule(1e-5, 100));
        let ends: Vec<_> = solution.outcomes.iter().map(|o| o.termination).collect();
        let expected = [Termination::Converged, Termination::NotFinite, Termination::NotFinite];
        assert_eq!(ends, expected, "{method:?}");
    }
}

// Stopping.

#[test]
fn a_warm_start_at_the_solution_takes_one_step() {
    let network = NetworkCase::chain();
    for method in METHODS {
        let case = problems::contraction();
        let cold = case.run(method, &rule(1e-5, 300));
        let warm = method.run(case.map, cold.state.clone(), &rule(1e-5, 300));
        assert_eq!(steps(&warm), [1; 5], "{method:?}");
        assert_eq!(warm.steps, 1);

        let cold = method.run(network.sweep_unsolved(), network.guess(), &rule(1e-5, 300));
        let warm = method.run(network.sweep_unsolved(), cold.state.clone(), &rule(1e-5, 300));
        assert_eq!(steps(&warm), [1; 5], "{method:?}");
        for (a, b) in host(&warm.state).iter().zip(&host(&cold.state)) {
            assert!(distance(a, b) <= 1e-5 * norm(b));
        }
    }
}

#[test]
fn an_exact_fixed_point_converges_at_tolerance_zero() {
    for method in METHODS {
        let mut guess = zeros(2, &[1]);
        guess.replace(0, column(&[2.0, 1.0]));
        let map = Affine::new(&[0.5, 0.9], &[1.0, 1.0]);
        let solution = method.run(map, guess, &rule(0.0, 5));
        assert_eq!(solution.outcomes[0].termination, Termination::Converged, "{method:?}");
        assert_eq!((solution.outcomes[0].steps, solution.outcomes[0].residual), (1, 0.0));
    }
}

#[test]
fn a_fixed_point_at_zero_has_residual_zero() {
    let map = Affine::new(&[0.5, 0.0], &[0.0, 0.0]);
    let solution = Any::Picard.run(map, zeros(2, &[3]), &rule(1e-5, 5));
    assert!(solution.outcomes.iter().all(|o| o.steps == 1 && o.residual == 0.0));
}

#[test]
fn tolerance_zero_runs_to_the_limit() {
    for method in [Any::Picard, Any::Damped(0.4), Any::Anderson(2)] {
        let case = problems::slow();
        let solution = case.run(method, &rule(0.0, 9));
        assert_eq!(solution.count(Termination::StepLimit), 3, "{method:?}");
        assert_eq!((steps(&solution), solution.steps), (vec![9; 3], 9));
    }
}

/// The smallest entry of column `sample` of a trace, and its step.
fn smallest(solution: &Solution, sample: usize) -> (usize, f64) {
    let column = solution.trace.iter().map(|(step, residuals)| (*step, residuals[sample]));
    column.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap()
}

#[test]
fn the_step_limit_hands_back_the_best_image_and_its_residual() {
    // Under Picard the residuals of stretched turns go up and down; damped by 0.1 as well.
    let case = problems::oscillation();
    let mut earlier = 0;
    for method in [Any::Picard, Any::Damped(0.05)] {
        let full = case.run(method, &rule(1e-5, 25).with_trace());
        for i in 0..4 {
            if full.outcomes[i].termination != Termination::StepLimit {
                continue;
            }
            let (step, residual) = smallest(&full, i);
            assert_eq!(full.outcomes[i].residual, residual, "{method:?}, sample {i}");
            assert_eq!(full.outcomes[i].steps, 25);
            // Its image is the last and best of a run that ends there.
            let short = case.run(method, &rule(1e-5, step));
            assert_eq!(bits(&short.state)[i], bits(&full.state)[i], "{method:?}, sample {i}");
            earlier += usize::from(step < 25);
        }
    }
    assert!(earlier >= 2, "some best images are not the last");
}

/// `s = s^2 / (1 + s)`: from large `s`, relative residuals grow while differences shrink.
#[derive(Clone)]
struct Vanishing;

impl FixedPointMap for Vanishing {
    fn apply(&self, state: &State) -> State {
        state.map(|s| s.clone().square() / s.add_scalar(1.0))
    }

    fn select(&self, _rows: &Tensor<1, Int>) -> Self {
        Self
    }
}

#[test]
fn a_converged_sample_hands_back_the_image_that_met_the_tolerance() {
    let mut guess = zeros(2, &[1]);
    guess.replace(0, column(&[5.0, 3.0]));
    let rule = rule(0.0, 50).with_atol(1e-3).unwrap();
    for method in [Any::Picard, Any::Damped(0.1)] {
        let solution = method.run(Vanishing, guess.clone(), &rule);
        assert!(solution.all_converged());
        for (state, outcome) in host(&solution.state).iter().zip(&solution.outcomes) {
            assert!(state[0] < 1e-3, "{method:?}: {}", state[0]);
            assert!(outcome.residual > 1.0);
        }
    }
}

#[test]
fn the_absolute_tolerance_ends_what_goes_to_zero() {
    // s = s / 2: the relative residual is 1 for ever.
    let map = Affine::new(&[0.5, 0.5], &[0.0, 0.0]);
    let mut guess = zeros(2, &[1]);
    guess.replace(0, column(&[1.0, 8.0]));
    let relative = Any::Picard.run(map.clone(), guess.clone(), &rule(0.1, 30));
    assert_eq!(relative.count(Termination::StepLimit), 2);
    let absolute = Any::Picard.run(map, guess, &rule(0.0, 30).with_atol(1.0 / 1024.0).unwrap());
    // |f - s| is 2^-step and 8 2^-step.
    assert_eq!(steps(&absolute), [10, 13]);
    assert!(absolute.outcomes.iter().all(|o| o.residual == 1.0));
}

#[test]
fn checking_rarely_rounds_the_steps_up() {
    let case = problems::contraction();
    // Residuals of these fall from step to step, so a sample converged stays converged.
    for method in [Any::Picard, Any::Damped(0.4), Any::Euler(0.5)] {
        let always = steps(&case.run(method, &rule(1e-5, 200)));
        for check_every in [2, 3, 7, 50] {
            let rule = rule(1e-5, 200).with_check_every(check_every).unwrap();
            let expected: Vec<_> = always.iter().map(|s| s.next_multiple_of(check_every)).collect();
            assert_eq!(steps(&case.run(method, &rule)), expected, "{method:?} {check_every}");
        }
    }
    // Those of Anderson need not, but the iterates are the same whenever they are looked at.
    let often = case.run(Any::Anderson(3), &rule(0.0, 12));
    let once = case.run(Any::Anderson(3), &rule(0.0, 12).with_check_every(12).unwrap());
    for i in 0..5 {
        if smallest(&case.run(Any::Anderson(3), &rule(0.0, 12).with_trace()), i).0 == 12 {
            assert_eq!(bits(&often.state)[i], bits(&once.state)[i]);
        }
    }
}

#[test]
fn the_step_limit_is_always_a_check() {
    let rule = rule(0.0, 10).with_check_every(7).unwrap().with_trace();
    let solution = problems::slow().run(Any::Picard, &rule);
    assert_eq!(solution.trace.iter().map(|t| t.0).collect::<Vec<_>>(), [7, 10]);
    assert_eq!(steps(&solution), [10; 3]);
    assert_eq!(rule.max_steps(), 10);
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
                (1..=solution.steps / check_every).map(|i| i * check_every).collect();
            assert_eq!(checks, expected);
            for (i, outcome) in solution.outcomes.iter().enumerate() {
                for (step, residuals) in &solution.trace {
                    assert_eq!(residuals.len(), 5);
                    // From its end on, a sample keeps its last residual.
                    assert_eq!(*step >= outcome.steps, residuals[i] <= 1e-5);
                    assert!(*step < outcome.steps || residuals[i] == outcome.residual);
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
        for (step, residuals) in trace {
            for (i, s) in states.iter_mut().enumerate() {
                let product = problems::multiply(&problem.matrices[i], s);
                let shift = &problem.shifts[i];
                let f: Vec<f64> = product.iter().zip(shift).map(|(a, b)| a + b).collect();
                let expected = distance(&f, s) / norm(&f);
                // 1e-5: differences of f32 numbers about 0.01 of their size.
                let error = (residuals[i] - expected).abs();
                assert!(error < 1e-5, "damping {damping}, step {step}: {error:e}");
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
            guess.replace(0, tensor(&vec![vec![scale, -0.25 * scale]; 3]));
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

#[test]
fn a_batch_without_samples_is_handed_back() {
    for method in METHODS {
        let empty = |case: Case<problems::Linear>| {
            let none = indices(&[]);
            method.run(case.map.select(&none), zeros(0, &[7]), &rule(1e-5, 10))
        };
        let solution = empty(problems::contraction());
        assert_eq!(solution.state.component(0).dims(), [0, 7]);
        assert!(solution.outcomes.is_empty() && solution.trace.is_empty());
        assert!(solution.all_converged());
        assert_eq!((solution.steps, solution.mean_steps()), (0, 0.0));
        assert_eq!(solution.max_residual(), 0.0);
    }
    let network = NetworkCase::pair();
    let map = network.sweep_unsolved().select(&indices(&[]));
    let solution = Any::Anderson(3).run(map, zeros(0, &[9, 6]), &rule(1e-5, 10));
    assert_eq!(solution.state.batch(), 0);
}

#[test]
fn a_batch_of_one_is_a_batch() {
    for method in METHODS {
        let case = Cosine::case(&[1.0]);
        let solution = case.run(method, &rule(1e-6, 100));
        assert!(solution.all_converged());
        assert_eq!(solution.mean_steps(), solution.steps as f64);
        assert!((host(&solution.state)[0][0] - 0.739_085_133).abs() < 1e-5);
    }
}

// Errors.

/// Returns what it is told to from step `at` on.
struct Shifty {
    step: Cell<usize>,
    at: usize,
    image: Vec<Tensor<2>>,
}

impl FixedPointMap for Shifty {
    fn apply(&self, state: &State) -> State {
        self.step.set(self.step.get() + 1);
        if self.step.get() < self.at {
            return state.map(|s| s.add_scalar(1.0));
        }
        State::new(self.image.clone()).unwrap()
    }

    fn select(&self, _rows: &Tensor<1, Int>) -> Self {
        unreachable!("no sample ends")
    }
}

#[test]
fn a_map_that_changes_shapes_is_an_error() {
    let run = |at: usize, shapes: &[[usize; 2]]| {
        let image = shapes.iter().map(|&s| Tensor::zeros(s, &problems::device())).collect();
        let map = Shifty { step: Cell::new(0), at, image };
        Any::Picard.try_run(map, zeros(4, &[3, 2]), &rule(1e-9, 10)).unwrap_err()
    };
    let shape =
        |component, expected, found| SolverError::ShapeChanged { component, expected, found };
    let count = |found| SolverError::ComponentsChanged { expected: 2, found };
    // At the first step and at a later one.
    for at in [1, 4] {
        assert_eq!(run(at, &[[4, 3], [4, 5]]), shape(1, [4, 2], [4, 5]));
        assert_eq!(run(at, &[[1, 3], [1, 2]]), shape(0, [4, 3], [1, 3]));
        assert_eq!(run(at, &[[4, 3]]), count(1));
        assert_eq!(run(at, &[[4, 3], [4, 2], [4, 1]]), count(3));
    }
}

#[test]
fn a_state_needs_components_that_agree() {
    assert_eq!(State::new(Vec::new()).unwrap_err(), SolverError::NoComponents);
    let parts = |a: usize, b: usize| {
        let part = |n| Tensor::zeros([n, 2], &problems::device());
        State::new(vec![part(a), part(a), part(b)])
    };
    let expected = SolverError::BatchMismatch { component: 2, expected: 3, found: 4 };
    assert_eq!(parts(3, 4).unwrap_err(), expected);
    assert_eq!(parts(3, 3).unwrap().batch(), 3);
}

#[test]
fn every_setting_outside_its_range_is_an_error_that_names_it() {
    fn assert_rejected<T>(result: Result<T, SolverError>, setting: &str, given: f64) {
        match result.err() {
            Some(SolverError::OutOfRange { name, value, .. }) => {
                assert_eq!(name, setting);
                assert!(value == given || value.is_nan() && given.is_nan(), "{name} {value}");
            }
            other => unreachable!("{setting} = {given}: {other:?}"),
        }
    }
    let beyond = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    let anderson = Anderson::new(3).unwrap();
    for value in beyond.into_iter().chain([-1e-9, -1.0]) {
        assert_rejected(StoppingRule::new(value, 10), "rtol", value);
        assert_rejected(rule(0.1, 10).with_atol(value), "atol", value);
        assert_rejected(anderson.with_ridge(value), "ridge", value);
    }
    for value in beyond.into_iter().chain([-0.1, 1.0, 1.5]) {
        assert_rejected(Damped::new(value), "damping", value);
    }
    for value in beyond.into_iter().chain([-0.1, 0.0, 1.5]) {
        assert_rejected(Damped::forward_euler(value), "dt", value);
        assert_rejected(anderson.with_mixing(value), "mixing", value);
    }
    assert_rejected(Anderson::new(0), "memory", 0.0);
    assert_rejected(StoppingRule::new(0.1, 0), "max_steps", 0.0);
    assert_rejected(rule(0.1, 10).with_check_every(0), "check_every", 0.0);

    let message = Damped::new(1.0).unwrap_err().to_string();
    assert_eq!(message, "damping = 1 is outside its range: in [0, 1)");
    for (dt, damping) in [(1.0, 0.0), (0.25, 0.75)] {
        assert!(Damped::forward_euler(dt).is_ok() && Damped::new(damping).is_ok());
    }
}

#[test]
fn outcomes_are_summed_up_over_the_batch() {
    let outcome = |termination, steps, residual| Outcome { termination, steps, residual };
    let solution = Solution {
        state: zeros(3, &[1]),
        outcomes: vec![
            outcome(Termination::Converged, 4, 0.1),
            outcome(Termination::StepLimit, 9, 0.5),
            outcome(Termination::Converged, 5, 0.2),
        ],
        steps: 9,
        trace: Vec::new(),
    };
    assert_eq!(solution.max_residual(), 0.5);
    assert_eq!(solution.mean_steps(), 6.0);
    assert_eq!(solution.count(Termination::Converged), 2);
    assert!(!solution.all_converged());
}
