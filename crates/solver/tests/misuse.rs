//! Borders and misuse: batches of none and of one, maps that change shapes, settings out of range.
#![allow(clippy::unwrap_used, clippy::float_cmp, reason = "a test may stop, and compare exactly")]
#![recursion_limit = "256"]

mod problems;

use std::cell::Cell;

use burn::tensor::{Int, Tensor};
use hvae_solver::{Anderson, Damped, FixedPointMap, SolverError, State, StoppingRule};
use problems::{Any, Case, Cosine, METHODS, NetworkCase, host, indices, rule, zeros};

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
