//! Ended samples cost nothing: which samples are in the batch in every iteration.
#![allow(clippy::unwrap_used, reason = "a test may stop")]
#![recursion_limit = "256"]

mod problems;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use burn::tensor::{Int, Tensor};
use hvae_solver::{
    Anderson, Damped, FixedPointMap, Method, Picard, Solution, SolverError, State, Sweep, solve,
};
use problems::{Affine, METHODS, NetworkCase, bits, rule, zeros};

/// Batch sizes, in order.
type Batches = Rc<RefCell<Vec<usize>>>;

/// A map that records its batch sizes and checks the iteration index.
#[derive(Clone)]
struct Noted<F> {
    map: F,
    batches: Batches,
}

impl<F: FixedPointMap> Noted<F> {
    fn new(map: F) -> Self {
        Self { map, batches: Batches::default() }
    }
}

impl<F: FixedPointMap> FixedPointMap for Noted<F> {
    fn apply(&self, state: &State, iteration: usize) -> State {
        assert_eq!(iteration, self.batches.borrow().len());
        self.batches.borrow_mut().push(state.batch());
        self.map.apply(state, iteration)
    }

    fn select(&self, rows: &Tensor<1, Int>) -> Self {
        Self { map: self.map.select(rows), batches: Rc::clone(&self.batches) }
    }

    fn measured(&self, components: usize) -> Vec<usize> {
        self.map.measured(components)
    }

    fn check(&self, components: usize) -> Result<(), SolverError> {
        self.map.check(components)
    }
}

/// A method that records its batch sizes and reads the state.
struct NotedMethod<'m, M> {
    method: &'m M,
    batches: Batches,
}

impl<M: Method> Method for NotedMethod<'_, M> {
    type Memory = M::Memory;

    fn start(&self, measured: &[usize]) -> M::Memory {
        self.method.start(measured)
    }

    fn advance(&self, state: State, image: State, memory: &mut M::Memory) -> State {
        assert_eq!(state.batch(), image.batch());
        self.batches.borrow_mut().push(state.batch());
        self.method.advance(state, image, memory)
    }
}

/// Samples that end at once, soon, late, and as not finite.
fn mixture() -> (Affine, State) {
    let rates = [0.0, 0.5, 0.9, 0.3, -0.8, 0.5];
    let shifts = [1.0, 1.0, 1.0, f64::NAN, 2.0, 3.0];
    (Affine::new(&rates, &shifts), zeros(6, &[2]))
}

/// Number of samples that take more than `count` iterations.
fn remaining(solution: &Solution, count: usize) -> usize {
    solution.outcomes.iter().filter(|o| o.iterations > count).count()
}

#[test]
fn the_map_sees_only_samples_that_have_not_ended() {
    let network = NetworkCase::crowd();
    let parted = Cell::new(0);
    for method in METHODS {
        for check_every in [1, 4] {
            let rule = rule(1e-5, 200).with_check_every(check_every).unwrap();
            let check = |solution: Solution, batches: Batches| {
                let expected: Vec<_> =
                    (0..solution.iterations).map(|count| remaining(&solution, count)).collect();
                let at = format!("{method:?}, every {check_every}");
                assert_eq!(*batches.borrow(), expected, "{at}");
                parted.set(parted.get() + usize::from(expected.last() < expected.first()));
            };
            let (map, guess) = mixture();
            let map = Noted::new(map);
            let batches = Rc::clone(&map.batches);
            check(method.run(map, guess, &rule), batches);
            let map = Noted::new(network.sweep_unsolved());
            let batches = Rc::clone(&map.batches);
            check(method.run(map, network.guess(), &rule), batches);
        }
    }
    // Anderson may end all of them at the same check.
    assert!(parted.get() > 15, "some samples end before others: {} of 20", parted.get());
}

#[test]
fn a_batch_checked_once_keeps_its_size() {
    let (map, guess) = mixture();
    let map = Noted::new(map);
    let batches = Rc::clone(&map.batches);
    let rule = rule(1e-5, 20).with_check_every(20).unwrap();
    solve(map, guess, &Picard, &rule).unwrap();
    assert_eq!(*batches.borrow(), [6; 20]);
}

/// Runs `method` as it is and noted.
fn compare<F: FixedPointMap + Clone, M: Method>(map: &F, guess: &State, method: &M) {
    for check_every in [1, 4] {
        let rule = rule(1e-5, 200).with_check_every(check_every).unwrap();
        let plain = solve(map.clone(), guess.clone(), method, &rule).unwrap();
        let noted = NotedMethod { method, batches: Batches::default() };
        let solution = solve(map.clone(), guess.clone(), &noted, &rule).unwrap();
        let expected: Vec<_> =
            (1..solution.iterations).map(|count| remaining(&solution, count)).collect();
        assert_eq!(*noted.batches.borrow(), expected);
        // Not reading the state changes nothing else.
        assert!(noted.reads_state());
        assert_eq!(bits(&solution.state), bits(&plain.state));
        assert_eq!(format!("{:?}", solution.outcomes), format!("{:?}", plain.outcomes));
    }
}

#[test]
fn a_method_advances_only_samples_that_have_not_ended() {
    let network = NetworkCase::crowd();
    let (map, guess) = mixture();
    let sweep: Sweep<_> = network.sweep_unsolved();
    compare(&map, &guess, &Picard);
    compare(&sweep, &network.guess(), &Picard);
    for damping in [0.0, 0.4] {
        compare(&map, &guess, &Damped::new(damping).unwrap());
        compare(&sweep, &network.guess(), &Damped::new(damping).unwrap());
    }
    compare(&map, &guess, &Anderson::new(4).unwrap());
    compare(&sweep, &network.guess(), &Anderson::new(4).unwrap());
}

/// The last image is returned, so another update would be wasted.
#[test]
fn there_is_no_update_after_the_last_check() {
    let rule = rule(0.0, 7);
    for rule in [rule, rule.with_masking()] {
        let (map, guess) = mixture();
        let method = NotedMethod { method: &Picard, batches: Batches::default() };
        let solution = solve(map, guess, &method, &rule).unwrap();
        assert_eq!((solution.iterations, method.batches.borrow().len()), (7, 6));
    }
}

#[test]
fn only_methods_that_read_the_state_say_so() {
    assert!(!Picard.reads_state() && !Damped::new(0.0).unwrap().reads_state());
    assert!(Damped::new(0.1).unwrap().reads_state() && Anderson::new(2).unwrap().reads_state());
}
