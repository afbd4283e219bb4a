//! Edge cases and misuse: batches of 0 and 1 samples, maps that change shapes, invalid blocks,
//! other data types, settings out of range.
#![allow(clippy::unwrap_used, clippy::float_cmp, reason = "a test may stop, and compare exactly")]
#![recursion_limit = "256"]

mod problems;

use burn::tensor::{DType, FloatDType, Int, Tensor};
use hvae_solver::{
    Anderson, Damped, FixedPointMap, SolverError, State, StoppingRule, Sweep, Synchronous,
};
use problems::{Affine, Any, Case, Cosine, METHODS, NetworkCase, bits, host, indices, rule, zeros};

#[test]
fn an_empty_batch_is_returned() {
    for method in METHODS {
        let empty = |case: Case<problems::Linear>| {
            let empty_rows = indices(&[]);
            method.run(case.map.select(&empty_rows), zeros(0, &[7]), &rule(1e-5, 10))
        };
        let solution = empty(problems::contraction());
        assert_eq!(solution.state.component(0).dims(), [0, 7]);
        assert!(solution.outcomes.is_empty() && solution.trace.is_empty());
        assert!(solution.all_converged());
        assert_eq!((solution.iterations, solution.mean_iterations()), (0, 0.0));
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
        assert_eq!(solution.mean_iterations(), solution.iterations as f64);
        assert!((host(&solution.state)[0][0] - 0.739_085_133).abs() < 1e-5);
    }
}

/// Returns `image` from iteration `at` on.
struct Shifty {
    at: usize,
    image: Vec<Tensor<2>>,
}

impl FixedPointMap for Shifty {
    fn apply(&self, state: &State, iteration: usize) -> State {
        if iteration < self.at {
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
        let map = Shifty { at, image };
        Any::Picard.try_run(map, zeros(4, &[3, 2]), &rule(1e-9, 10)).unwrap_err()
    };
    let shape =
        |component, expected, found| SolverError::ShapeChanged { component, expected, found };
    let count = |found| SolverError::ComponentsChanged { expected: 2, found };
    // In the first iteration and in a later one.
    for at in [0, 3] {
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
fn components_have_one_data_type() {
    let part = |dtype| Tensor::<2>::zeros([3, 2], &problems::device()).cast(dtype);
    let (single, double) = (part(FloatDType::F32), part(FloatDType::F64));
    let (expected, found) = (DType::F32, DType::F64);
    let mixed = State::new(vec![single.clone(), double.clone()]);
    let error = SolverError::TypeMismatch { component: 1, expected, found };
    assert_eq!(mixed.unwrap_err(), error);

    let map = Shifty { at: 1, image: vec![double.clone()] };
    let solution = Any::Damped(0.5).try_run(map, zeros(3, &[2]), &rule(1e-9, 10));
    let error = SolverError::TypeChanged { component: 0, expected, found };
    assert_eq!(solution.unwrap_err(), error);

    let mut state = State::new(vec![single]).unwrap();
    let error = SolverError::TypeMismatch { component: 0, expected, found };
    assert_eq!(state.replace(0, double), Err(error));
}

#[test]
fn states_of_f64_are_solved_beyond_the_precision_of_f32() {
    let (rates, shifts) = ([0.5, 0.75, -0.625], [1.0, 2.0, 3.0]);
    let map = Affine::new(&rates, &shifts).in_f64();
    let guess = zeros(3, &[2]).map(|s| s.cast(FloatDType::F64));
    let rule = rule(1e-12, 300);
    let masked = rule.with_masking();
    for (method, rule) in METHODS.into_iter().flat_map(|m| [(m, rule), (m, masked)]) {
        let solution = method.run(map.clone(), guess.clone(), &rule);
        assert!(solution.all_converged(), "{method:?}");
        let data = solution.state.component(0).clone().into_data();
        for (i, pair) in data.try_to_vec::<f64>().unwrap().chunks_exact(2).enumerate() {
            let answer = shifts[i] / (1.0 - rates[i]);
            // Rates are at most 3/4, so that errors are at most three times the residuals.
            assert!((pair[0] / answer - 1.0).abs() < 4e-12, "{method:?}: {pair:?}, {answer}");
            assert_eq!(pair[0], pair[1]);
        }
    }
}

#[test]
fn a_component_is_replaced_only_by_one_that_fits() {
    let mut state = zeros(3, &[1, 2]);
    let part = |n| Tensor::zeros([n, 4], &problems::device());
    let batch = |expected, found| SolverError::BatchMismatch { component: 1, expected, found };
    assert_eq!(state.replace(1, part(2)), Err(batch(3, 2)));
    let error = SolverError::NoSuchComponent { place: "replace", component: 2, components: 2 };
    assert_eq!(state.replace(2, part(3)), Err(error));
    assert_eq!(state.component(1).dims(), [3, 2], "as it was");
    assert_eq!(state.replace(1, part(3)), Ok(()));
    assert_eq!(state.component(1).dims(), [3, 4]);
}

#[test]
#[should_panic(expected = "zip needs states with equal numbers of components")]
fn states_of_different_numbers_of_components_do_not_zip() {
    let _ = zeros(2, &[1, 2]).zip(zeros(2, &[1]), |a, _| a);
}

type Blocks = &'static [&'static [usize]];

#[test]
fn blocks_with_invalid_components_are_an_error() {
    let network = NetworkCase::pair();
    let no_such =
        |component| SolverError::NoSuchComponent { place: "blocks", component, components: 2 };
    let repeated = |component| SolverError::RepeatedComponent { place: "blocks", component };
    let cases: [(Blocks, SolverError); 4] = [
        (&[&[0], &[2]], no_such(2)),
        (&[&[7], &[0, 1]], no_such(7)),
        (&[&[0, 0], &[1]], repeated(0)),
        (&[&[1], &[0], &[1]], repeated(1)),
    ];
    let empty_rows = indices(&[]);
    for (blocks, error) in cases {
        let map = network.map().with_blocks(blocks);
        let rule = rule(1e-5, 10);
        let sweep = Any::Picard.try_run(Sweep(map.clone()), network.guess(), &rule);
        assert_eq!(sweep.unwrap_err(), error);
        let both = Any::Anderson(2).try_run(Synchronous(map.clone()), network.guess(), &rule);
        assert_eq!(both.unwrap_err(), error);
        // Also for an empty batch.
        let empty = Sweep(map).select(&empty_rows);
        assert_eq!(Any::Picard.try_run(empty, zeros(0, &[9, 6]), &rule).unwrap_err(), error);
    }
}

#[test]
fn empty_blocks_change_nothing() {
    let network = NetworkCase::pair();
    let cases: [(Blocks, Blocks); 4] = [
        (&[&[0], &[]], &[&[0]]),
        (&[&[], &[0], &[], &[1]], &[&[0], &[1]]),
        (&[&[], &[]], &[]),
        (&[&[]], &[]),
    ];
    for (blocks, same) in cases {
        let map = |blocks| Sweep(network.map().with_blocks(blocks));
        assert_eq!(map(blocks).measured(2), map(same).measured(2));
        for method in METHODS {
            let run = |blocks| method.run(map(blocks), network.guess(), &rule(1e-5, 100));
            let (found, expected) = (run(blocks), run(same));
            assert_eq!(found.outcomes, expected.outcomes);
            assert_eq!(bits(&found.state), bits(&expected.state));
        }
    }
}

/// The identity, with these measured components.
struct Measuring(Vec<usize>);

impl FixedPointMap for Measuring {
    fn apply(&self, state: &State, _iteration: usize) -> State {
        state.clone()
    }

    fn select(&self, _rows: &Tensor<1, Int>) -> Self {
        Self(self.0.clone())
    }

    fn measured(&self, _components: usize) -> Vec<usize> {
        self.0.clone()
    }
}

#[test]
fn measured_components_are_distinct_and_exist() {
    let run = |measured: &[usize]| {
        Any::Anderson(2).try_run(Measuring(measured.to_vec()), zeros(2, &[1, 1]), &rule(0.1, 3))
    };
    assert!(run(&[1]).is_ok() && run(&[1, 0]).is_ok());
    assert_eq!(run(&[]).unwrap_err(), SolverError::NothingMeasured);
    let error = SolverError::NoSuchComponent { place: "measured", component: 2, components: 2 };
    assert_eq!(error.to_string(), "measured: component 2 is out of bounds for a state of 2");
    assert_eq!(run(&[0, 2]).unwrap_err(), error);
    let error = SolverError::RepeatedComponent { place: "measured", component: 1 };
    assert_eq!(run(&[1, 1]).unwrap_err(), error);
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
    assert_rejected(StoppingRule::new(0.1, 0), "max_iterations", 0.0);
    assert_rejected(rule(0.1, 10).with_check_every(0), "check_every", 0.0);

    let message = Damped::new(1.0).unwrap_err().to_string();
    assert_eq!(message, "damping = 1 is out of range: must be in [0, 1)");
    for (dt, damping) in [(1.0, 0.0), (0.25, 0.75)] {
        assert!(Damped::forward_euler(dt).is_ok() && Damped::new(damping).is_ok());
    }
}
