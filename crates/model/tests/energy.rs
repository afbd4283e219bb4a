//! The energy, its derivatives and its descent.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::float_cmp,
    clippy::many_single_char_names,
    clippy::too_many_lines,
    reason = "a test may stop, compare exactly, and follow the symbols of its formulas"
)]
#![recursion_limit = "256"]

mod common;

use burn::tensor::{Device, Tensor};
use common::{chain_of, host, layer, pairs, rng, strengthen, uniform};
use hvae_model::{Activation, HopfieldNetwork, Relaxation, Role};
use hvae_solver::{BlockMap, FixedPointMap, Sweep};

const ALL: [Activation; 5] = [
    Activation::Identity,
    Activation::Relu,
    Activation::HardSigmoid,
    Activation::Sigmoid,
    Activation::Tanh,
];

/// `slope` is the derivative of `apply`, and `conjugate` is the Legendre conjugate that belongs to
/// it: `A'(g(a)) = a` wherever `g` is strictly increasing.
#[test]
fn activations_agree_with_their_derivatives_and_energies() {
    let device = Device::flex().autodiff();
    for activation in ALL {
        let a = uniform([4, 9], -2.0, 2.0, 1, &device).require_grad();
        let s = activation.apply(a.clone());
        let exact = a.grad(&s.clone().sum().backward()).unwrap();
        let slope = activation.slope(s.detach());
        for (found, expected) in host(slope).iter().zip(host(exact)) {
            assert!((found - expected).abs() < 1e-6, "{activation:?} slope {found} {expected}");
        }

        let s = activation.apply(a.clone()).detach().require_grad();
        let exact = s.grad(&activation.conjugate(s.clone()).sum().backward()).unwrap();
        let inside = host(activation.slope(s.detach()));
        for ((found, a), slope) in host(exact).iter().zip(host(a)).zip(inside) {
            if slope > 0.0 {
                // 1e-4: the logarithms lose digits near the ends of the range.
                assert!((found - a).abs() < 1e-4, "{activation:?} energy {found} {a}");
            }
        }
    }
}

/// A chain of four layers with every kind of nonlinearity, and gains.
fn chain(device: &Device) -> HopfieldNetwork {
    let layers = vec![
        layer("input", 6, Activation::Identity, 1.0),
        layer("relu", 8, Activation::Relu, 1.0),
        layer("tanh", 7, Activation::Tanh, 2.0),
        layer("output", 9, Activation::Sigmoid, 4.0),
    ];
    let mut network = chain_of(layers, &mut rng(3), device).unwrap();
    strengthen(&mut network, 1.5);
    network
}

/// The derivative of `E` in each free layer vanishes at an equilibrium, by automatic
/// differentiation of `E` itself.
#[test]
fn an_equilibrium_is_a_stationary_point_of_the_energy() {
    let device = Device::flex().autodiff();
    let network = chain(&device);
    let input = uniform([5, 6], 0.0, 1.0, 4, &device);
    let roles = vec![Role::Clamped(input.clone()), Role::Free, Role::Free, Role::Free];
    let relaxation = Relaxation::new(&network, roles).unwrap();
    let sweep = Sweep(relaxation.clone());
    let mut state = relaxation.guess();
    for iteration in 0..300 {
        state = sweep.apply(&state, iteration);
    }
    let leaf = |s: &Tensor<2>| Tensor::from_data(s.clone().into_data(), &device).require_grad();
    let states: Vec<Tensor<2>> = state.components().iter().map(leaf).collect();
    let mut all = vec![input];
    all.extend(states.iter().cloned());
    let gradients = network.energy(&all).unwrap().sum().backward();
    for (k, s) in states.iter().enumerate() {
        let gradient = host(s.grad(&gradients).unwrap());
        for (slope, s) in gradient.into_iter().zip(host(s.clone())) {
            // A rectified unit at 0 may be held there: its derivative is then positive.
            let held = k == 0 && s == 0.0 && slope > 0.0;
            assert!(held || slope.abs() < 2e-5, "layer {} dE/ds = {slope} at {s}", k + 1);
        }
    }
}

/// Even-odd sweeps never raise the energy, from any start, for every nonlinearity, gain and
/// strength of coupling.
#[test]
fn a_sweep_never_raises_the_energy() {
    let device = Device::flex();
    for (seed, strength) in [(1, 1.0), (2, 3.0), (3, 6.0)] {
        let mut network = chain(&device);
        strengthen(&mut network, strength);
        let input = uniform([16, 6], 0.0, 1.0, seed, &device);
        let roles = vec![Role::Clamped(input.clone()), Role::Free, Role::Free, Role::Free];
        let sweep = Sweep(Relaxation::new(&network, roles).unwrap());
        let energy = |state: &hvae_solver::State| {
            let mut all = vec![input.clone()];
            all.extend(state.components().iter().cloned());
            host(network.energy(&all).unwrap())
        };
        let start = uniform([16, 24], 0.0, 1.0, seed + 20, &device);
        let parts = vec![
            start.clone().narrow(1, 0, 8),
            start.clone().narrow(1, 8, 7),
            start.narrow(1, 15, 9),
        ];
        let mut state = hvae_solver::State::new(parts).unwrap();
        let mut before = energy(&state);
        let first = before.clone();
        for iteration in 0..30 {
            state = sweep.apply(&state, iteration);
            let after = energy(&state);
            for (new, old) in after.iter().zip(&before) {
                // Rounding of a sum of some 100 terms of the size of the energy.
                assert!(*new <= old + 2e-5 * old.abs().max(1.0), "energy rose {old} -> {new}");
            }
            before = after;
        }
        assert!(before.iter().zip(&first).all(|(b, a)| b < a), "no descent at all");
    }
}

/// Layers that are not coupled share a block. One that a clamped layer drives comes first, of these
/// the one with the most units.
#[test]
fn blocks_are_as_few_as_the_couplings_allow_and_a_driven_one_comes_first() {
    let device = Device::flex();
    let sized = |sizes: &[usize]| -> Vec<_> {
        let each = sizes.iter().enumerate();
        each.map(|(k, &n)| layer(&format!("l{k}"), n, Activation::Tanh, 1.0)).collect()
    };
    let blocks = |sizes: &[usize], couplings: &[(usize, usize)]| {
        let network =
            HopfieldNetwork::new(sized(sizes), &pairs(couplings), &mut rng(1), &device).unwrap();
        let mut roles = vec![Role::Clamped(Tensor::zeros([2, sizes[0]], &device))];
        roles.resize_with(sizes.len(), || Role::Free);
        Relaxation::new(&network, roles).unwrap().blocks().to_vec()
    };
    let chain = [(0, 1), (1, 2), (2, 3), (3, 4)];
    // Components count from the first free layer.
    assert_eq!(blocks(&[6, 8, 7, 9, 5], &chain), [vec![0, 2], vec![1, 3]]);
    assert_eq!(blocks(&[6, 3, 7, 2, 5], &chain), [vec![0, 2], vec![1, 3]]);
    let all = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)];
    assert_eq!(blocks(&[6, 3, 7, 5], &all), [vec![1], vec![2], vec![0]]);
}

/// The loop gain is the rate at which sweeps converge.
#[test]
fn loop_gain_predicts_the_rate_of_convergence() {
    let device = Device::flex();
    let mut network = chain(&device);
    strengthen(&mut network, 1.8);
    let input = uniform([4, 6], 0.0, 1.0, 4, &device);
    let roles = vec![Role::Clamped(input), Role::Free, Role::Free, Role::Free];
    let relaxation = Relaxation::new(&network, roles).unwrap();
    let sweep = Sweep(relaxation.clone());
    let mut state = relaxation.guess();
    let mut lengths = Vec::new();
    for iteration in 0..60 {
        let next = sweep.apply(&state, iteration);
        lengths.push(host(
            (next.component(1).clone() - state.component(1).clone()).square().sum_dim(1),
        ));
        state = next;
    }
    // One step is the least that says anything.
    let gain = |iterations| host(relaxation.loop_gain(&state, iterations).unwrap());
    assert_eq!(gain(0), gain(1));
    let gains = gain(60);
    for (sample, gain) in gains.iter().enumerate() {
        // While the steps are still well above rounding.
        let last = lengths.iter().position(|l| l[sample] < 1e-8).unwrap_or(lengths.len() - 1);
        let rate = (lengths[last][sample] / lengths[last - 1][sample]).sqrt();
        assert!((rate / gain - 1.0).abs() < 0.1, "sample {sample}: rate {rate}, loop gain {gain}");
    }
}
