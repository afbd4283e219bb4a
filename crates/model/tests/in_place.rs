//! Phases in place, in host memory, against the solver's general loop.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop")]
#![recursion_limit = "256"]

mod common;

use burn::tensor::Device;
use common::{compare, host, layer, pairs, rng, strengthen, uniform};
use hvae_model::{
    Activation, Cost, EpGradient, Force, HopfieldNetwork, LayerId, Nudge, NudgeSize, Nudging,
    Relaxation, Role, Unconverged, gradient,
};
use hvae_solver::{Solution, StoppingRule};

/// More than two parts, of which none is a multiple of the rows that are multiplied at a time.
const BATCH: usize = 141;

/// A chain with every kind of nonlinearity and couplings within two of its layers; a layer in
/// its middle is coupled with no clamped one.
fn network() -> HopfieldNetwork {
    let layers = vec![
        layer("input", 6, Activation::Identity, 1.0),
        layer("relu", 18, Activation::Relu, 1.0),
        layer("tanh", 7, Activation::Tanh, 2.0),
        layer("output", 33, Activation::Sigmoid, 4.0),
    ];
    let couplings = pairs(&[(0, 1), (1, 2), (2, 3), (1, 1), (3, 3)]);
    let mut network =
        HopfieldNetwork::new(layers, &couplings, &mut rng(3), &Device::flex()).unwrap();
    strengthen(&mut network, 0.3);
    network
}

fn phase(network: &HopfieldNetwork) -> Relaxation<'_> {
    let input = uniform([BATCH, 6], -1.0, 1.0, 4, &Device::flex());
    let roles = vec![Role::Clamped(input), Role::Free, Role::Free, Role::Free];
    Relaxation::new(network, roles).unwrap()
}

/// Residuals are traced by the general loop only.
fn rules(tolerance: f64, most: usize) -> [StoppingRule; 2] {
    let rule = StoppingRule::new(tolerance, most).unwrap();
    [rule, rule.with_trace()]
}

fn numbers(solution: &Solution) -> Vec<f64> {
    solution.state.components().iter().flat_map(|s| host(s.clone())).collect()
}

/// States and outcomes are those of the general loop, for samples that converge and for samples
/// that do not.
#[test]
fn sweeps_in_place_are_those_of_the_solver() {
    let network = network();
    let phase = phase(&network);
    for (tolerance, most) in [(1e-5, 60), (1e-3, 6), (0.0, 3)] {
        let [found, expected] =
            rules(tolerance, most).map(|rule| phase.relax(phase.guess(), 0.0, &rule).unwrap());
        assert!(expected.trace.len() > 1 && found.trace.is_empty());
        for (a, b) in found.outcomes.iter().zip(&expected.outcomes) {
            // A residual may be rounded to either side of the tolerance.
            assert!(a.iterations.abs_diff(b.iterations) <= 1, "{a:?} {b:?}");
            assert_eq!(a.termination, b.termination);
            let apart = (a.residual - b.residual).abs();
            let same = a.iterations == b.iterations;
            assert!(!same || apart < 1e-3 * b.residual + 1e-6, "{a:?} {b:?}");
        }
        for (a, b) in numbers(&found).iter().zip(numbers(&expected)) {
            assert!((a - b).abs() < 2e-5, "{a} {b}");
        }
    }
}

/// The free equilibrium and the gradient of a nudge of its last layer.
fn ep(network: &HopfieldNetwork, free: &StoppingRule, rule: StoppingRule) -> EpGradient {
    let phase = phase(network);
    let free = phase.free_equilibrium(0.0, free).unwrap();
    let force = uniform([BATCH, 33], -1.0, 1.0, 7, &Device::flex());
    let force = Force { layer: LayerId(3), force };
    let nudge = Nudge {
        size: NudgeSize::new(1e-3),
        nudging: Nudging::Centred,
        unconverged: Unconverged::Use,
        damping: 0.0,
        rule,
    };
    gradient(&phase, &free, Cost::Forces(&[force]), &nudge).unwrap()
}

fn weights(gradient: &EpGradient) -> Vec<Vec<f64>> {
    gradient.weights.iter().map(|w| host(w.clone())).collect()
}

/// The inputs that a free phase keeps, and deviations in place, give the gradient that the general
/// loop gives; where samples have not converged, no inputs are kept.
#[test]
fn nudged_phases_in_place_are_those_of_the_solver() {
    let network = network();
    for (tolerance, most) in [(1e-6, 80), (1e-6, 4)] {
        let [here, traced] = rules(tolerance, most);
        let [nudged, nudged_traced] = rules(1e-6, 80);
        let found = weights(&ep(&network, &here, nudged));
        let expected = weights(&ep(&network, &traced, nudged_traced));
        for (found, expected) in found.iter().zip(&expected) {
            let (cosine, ratio) = compare(found, expected);
            assert!(cosine > 1.0 - 1e-7 && (ratio - 1.0).abs() < 1e-4, "{most}: {cosine} {ratio}");
        }
    }
}

/// No bit depends on how many parts there are.
#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    let network = network();
    let [rule, _] = rules(1e-4, 60);
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| weights(&ep(&network, &rule, rule)))
    };
    let one = with(1);
    for threads in [2, 7] {
        let equal = one.iter().flatten().eq(with(threads).iter().flatten());
        assert!(equal, "{threads} threads");
    }
}
