//! The layered networks of arXiv 2311.15673: equilibria, energies, gradients, step counts.
#![allow(clippy::unwrap_used, reason = "a test may stop")]
#![recursion_limit = "256"]

mod common;

use std::fmt::Write as _;

use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};
use common::{compare, distance, host, rng, uniform};
use hvae_model::chn_ham::{Dynamics, Form, Gradient, LayeredNetwork, Learning, Order, rho};
use hvae_model::{LayerId, ModelError, Nudge, NudgeSize, Nudging, Relaxation, Role, Unconverged};
use hvae_solver::{
    Anderson, FixedPointMap, Picard, Safeguard, Solution, State, StoppingRule, solve,
};
use serde_json::Value;

const EVEN_ODD: Order = Order::EvenOdd { inner: 10 };
const ORDERS: [Order; 2] = [Order::Synchronous, EVEN_ODD];
const FORMS: [Form; 2] = [Form::Chn, Form::Ham];

/// Weights of about the size that training gives: the initial ones couple weakly.
fn network(sizes: &[usize], form: Form, factor: f64, device: &Device) -> LayeredNetwork {
    let mut network = LayeredNetwork::new(sizes, form, &mut rng(7), device).unwrap();
    for weight in &mut network.weights {
        let scaled = weight.val().mul_scalar(factor).into_data();
        *weight = Param::from_tensor(Tensor::from_data(scaled, device));
    }
    network
}

fn dynamics(network: &LayeredNetwork, images: Tensor<2>, order: Order) -> Dynamics<'_> {
    Dynamics::new(network, images, order).unwrap().damped(0.5).unwrap()
}

fn equilibrium(dynamics: &Dynamics<'_>, rtol: f64) -> Solution {
    let rule = StoppingRule::new(rtol, 3000).unwrap();
    solve(dynamics.clone(), dynamics.start(), &Picard, &rule).unwrap()
}

fn largest(a: &Tensor<2>, b: &Tensor<2>) -> f32 {
    (a.clone() - b.clone()).abs().max().into_scalar()
}

/// Equilibria that `scripts/bench_converge.py --fixture` found in double precision.
#[test]
fn equilibria_are_those_of_the_pytorch_script() {
    let text = include_str!("fixtures/equilibria.json");
    let fixture: Value = serde_json::from_str(text).unwrap();
    let cases = fixture["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 8);
    let device = Device::flex();
    for case in cases {
        let sizes: Vec<usize> = case["sizes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|n| n.as_u64().unwrap() as usize)
            .collect();
        let row = case["row"].as_str().unwrap();
        let form = if row.starts_with("CHN") { Form::Chn } else { Form::Ham };
        let order = if row.ends_with("EO") { EVEN_ODD } else { Order::Synchronous };
        let mut network = LayeredNetwork::new(&sizes, form, &mut rng(1), &device).unwrap();
        let scale = case["scale"].as_f64().unwrap();
        for (k, pair) in sizes.windows(2).enumerate() {
            let [rows, columns] = [pair[0], pair[1]];
            let weight = |i: usize| (scale * (1.0 + 0.7 * i as f64 + k as f64).sin()) as f32;
            let weights: Vec<f32> = (0..rows * columns).map(weight).collect();
            let weights = TensorData::new(weights, [rows, columns]);
            network.weights[k] = Param::from_tensor(Tensor::from_data(weights, &device));
            let bias = |j: usize| (0.1 * (j as f64 + 2.0 * k as f64).cos()) as f32;
            let biases = TensorData::new((0..columns).map(bias).collect::<Vec<f32>>(), [columns]);
            network.biases[k] = Param::from_tensor(Tensor::from_data(biases, &device));
        }
        let pixel =
            |(i, j): (usize, usize)| (0.5 * (1.0 + (i as f64 + 0.37 * j as f64).sin())) as f32;
        let pixels = (0..6 * sizes[0]).map(|p| pixel((p / sizes[0], p % sizes[0]))).collect();
        let pixels = Tensor::from_data(TensorData::new::<f32, _>(pixels, [6, sizes[0]]), &device);
        let dynamics = dynamics(&network, pixels, order);
        let solution = equilibrium(&dynamics, 1e-6);
        assert!(solution.all_converged(), "{row} {sizes:?}: {:?}", solution.outcomes);
        let found = host(dynamics.layers(&solution.state).pop().unwrap());
        let expected = case["outputs"].as_array().unwrap().iter();
        let expected =
            expected.flat_map(|line| line.as_array().unwrap()).map(|v| v.as_f64().unwrap());
        for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
            // The tolerance over one less the contraction, and f32 sums.
            let off = (found - expected).abs();
            assert!(off < 3e-5, "{row} {sizes:?}, output {i}: {found} is not {expected}");
        }
    }
}

#[test]
fn both_orders_find_one_equilibrium_of_a_ham() {
    for sizes in [vec![30, 25, 10], vec![30, 40, 20, 8], vec![30, 40, 30, 20, 10]] {
        let device = Device::flex();
        let network = network(&sizes, Form::Ham, 1.0, &device);
        let images = uniform([7, 30], 0.0, 1.0, 3, &device);
        let [a, b] = ORDERS.map(|order| {
            let dynamics = dynamics(&network, images.clone(), order);
            let solution = equilibrium(&dynamics, 1e-6);
            assert!(solution.all_converged());
            dynamics.layers(&solution.state)
        });
        assert_eq!(a.len(), sizes.len() - 1);
        for (a, b) in a.iter().zip(&b) {
            // The tolerance over one less the contraction, times norms of about 5.
            assert!(largest(a, b) < 2e-4, "{sizes:?}: {}", largest(a, b));
        }
    }
}

#[test]
fn a_ham_is_a_hopfield_network_seen_through_its_pre_activations() {
    let device = Device::flex();
    let layered = network(&[30, 40, 20, 10], Form::Ham, 1.5, &device);
    let images = uniform([5, 30], 0.0, 1.0, 4, &device);
    let dynamics = dynamics(&layered, images.clone(), EVEN_ODD);
    let layers = dynamics.layers(&equilibrium(&dynamics, 1e-6).state);

    let network = layered.network().unwrap();
    let mut roles = vec![Role::Clamped(rho(images.clone()))];
    roles.resize_with(4, || Role::Free);
    let relaxation = Relaxation::new(&network, roles).unwrap();
    let rule = StoppingRule::new(1e-6, 500).unwrap();
    let other = relaxation.free_equilibrium(0.0, &rule).unwrap();
    for (k, s) in layers.iter().enumerate() {
        assert!(largest(&rho(s.clone()), &other.state(LayerId(k + 1))) < 1e-5);
    }
    // Energies agree but for the pixels' own term, which no dynamics changes.
    let states: Vec<_> = (0..4).map(|k| other.state(LayerId(k))).collect();
    let pixels = states[0].clone().square().sum_dim(1).mul_scalar(0.5).squeeze_dim::<1>(1);
    let theirs = host(network.energy(&states).unwrap() - pixels);
    for (mine, theirs) in host(layered.energy(images, &layers).unwrap()).iter().zip(theirs) {
        assert!((mine - theirs).abs() < 1e-4 * theirs.abs().max(1.0), "{mine} {theirs}");
    }
}

/// Rounding of a sum over a few hundred units.
const ROUNDING: f64 = 2e-5;

#[test]
fn even_odd_sweeps_never_raise_the_energy_of_a_ham() {
    let device = Device::flex();
    // Couplings far beyond contraction: descent does not depend on it.
    for factor in [1.0, 3.0, 8.0] {
        let network = network(&[30, 40, 30, 20, 10], Form::Ham, factor, &device);
        let images = uniform([9, 30], 0.0, 1.0, 5, &device);
        let dynamics = dynamics(&network, images.clone(), EVEN_ODD);
        let mut state = dynamics.start();
        let energy =
            |state: &_| host(network.energy(images.clone(), &dynamics.layers(state)).unwrap());
        let (mut last, mut fallen) = (energy(&state), 0.0);
        for iteration in 0..40 {
            state = dynamics.apply(&state, iteration);
            let now = energy(&state);
            for (now, last) in now.iter().zip(&last) {
                assert!(*now <= last + ROUNDING * last.abs().max(1.0), "{factor}: {last} to {now}");
                fallen += last - now;
            }
            last = now;
        }
        assert!(fallen > 0.1, "nothing moved: {fallen}");
    }
}

/// At an equilibrium the gradient of the energy vanishes: moving a unit changes it in second order.
#[test]
fn equilibria_are_stationary_points_of_the_energy() {
    let device = Device::flex();
    for form in FORMS {
        let network = network(&[20, 15, 10, 5], form, 1.0, &device);
        let images = uniform([3, 20], 0.0, 1.0, 6, &device);
        let dynamics = dynamics(&network, images.clone(), Order::Synchronous);
        let layers = dynamics.layers(&equilibrium(&dynamics, 1e-7).state);
        let lowest = host(network.energy(images.clone(), &layers).unwrap());
        for k in 0..layers.len() {
            let change = |by: f64| {
                let mut moved = layers.clone();
                moved[k] = moved[k].clone().add_scalar(by);
                host(network.energy(images.clone(), &moved).unwrap())
            };
            let (up, down) = (change(0.01), change(-0.01));
            for ((up, down), low) in up.iter().zip(down).zip(&lowest) {
                let (slope, curve) = ((up - down) / 0.02, (up + down - 2.0 * low) / 1e-4);
                assert!(slope.abs() < 0.01 * curve.abs().max(0.1), "{form:?} {k}: {slope} {curve}");
            }
        }
    }
}

fn learning(order: Order) -> Learning {
    Learning {
        order,
        damping: 0.5,
        free: StoppingRule::new(1e-6, 2000).unwrap(),
        adjoint: StoppingRule::new(1e-6, 2000).unwrap(),
        unroll_iterations: 300,
    }
}

/// Images and one-hot targets.
fn batch(pixels: usize, classes: usize, device: &Device) -> (Tensor<2>, Tensor<2>) {
    let images = uniform([6, pixels], 0.0, 1.0, 8, device);
    let values: Vec<f32> = (0..6 * classes)
        .map(|i| f32::from(u8::from(i % classes == (i / classes) % classes)))
        .collect();
    (images, Tensor::from_data(TensorData::new(values, [6, classes]), device))
}

/// Weights' and biases' gradients by automatic differentiation through `steps` updates.
fn unrolled(sizes: &[usize], form: Form, factor: f64, steps: usize) -> Vec<Vec<f64>> {
    let device = Device::flex().autodiff();
    let network = network(sizes, form, factor, &device);
    let (images, targets) = batch(sizes[0], sizes[sizes.len() - 1], &device);
    let settled = equilibrium(&dynamics(&network, images.clone(), Order::Synchronous), 1e-6);
    assert!(settled.all_converged() && settled.iterations < steps, "{}", settled.iterations);
    let dynamics = dynamics(&network, images, Order::Synchronous);
    let state = (0..steps).fold(dynamics.start(), |state, i| dynamics.apply(&state, i));
    let outputs = dynamics.layers(&state).pop().unwrap();
    let gradients = (outputs - targets).square().sum().mul_scalar(0.5 / 6.0).backward();
    let weights = network.weights.iter().map(|w| host(w.val().grad(&gradients).unwrap()));
    let biases = network.biases.iter().map(|b| host(b.val().grad(&gradients).unwrap()));
    weights.chain(biases).collect()
}

fn flat(gradient: Gradient) -> Vec<Vec<f64>> {
    let biases = gradient.biases.into_iter().map(host);
    gradient.weights.into_iter().map(host).chain(biases).collect()
}

fn assert_aligned(name: &str, found: &[Vec<f64>], exact: &[Vec<f64>], norm: f64) {
    assert_eq!(found.len(), exact.len());
    for (i, (found, exact)) in found.iter().zip(exact).enumerate() {
        let (cosine, ratio) = compare(found, exact);
        assert!(cosine >= 0.999, "{name}, parameter {i}: cosine {cosine}");
        assert!((ratio - 1.0).abs() < norm, "{name}, parameter {i}: ratio of norms {ratio}");
    }
}

#[test]
fn recurrent_backpropagation_is_the_gradient_through_the_relaxation() {
    let device = Device::flex();
    for (sizes, form, factor) in [
        (vec![20, 30, 6], Form::Ham, 0.7),
        (vec![20, 24, 18, 12, 6], Form::Ham, 0.7),
        (vec![20, 24, 18, 6], Form::Ham, 0.7),
        (vec![20, 30, 6], Form::Chn, 0.7),
        (vec![20, 24, 12, 6], Form::Chn, 0.7),
    ] {
        let exact = unrolled(&sizes, form, factor, 300);
        let network = network(&sizes, form, factor, &device);
        let (images, targets) = batch(sizes[0], 6, &device);
        let gradient =
            network.backpropagate(images, targets, &learning(Order::Synchronous)).unwrap();
        assert_aligned(&format!("{form:?} {sizes:?}"), &flat(gradient), &exact, 1e-3);
    }
}

/// Far from equilibrium a CHN's gradient is that through its last iterations, in both orders.
#[test]
fn a_gradient_goes_back_through_the_iterations_of_a_chn() {
    const FREE: usize = 3;
    const BACK: usize = 4;
    for (sizes, order) in [
        (&[20, 30, 6][..], Order::Synchronous),
        (&[20, 24, 12, 6], Order::Synchronous),
        (&[20, 30, 6], Order::EvenOdd { inner: 2 }),
        (&[20, 24, 12, 6], Order::EvenOdd { inner: 3 }),
    ] {
        let traced = Device::flex().autodiff();
        let network = self::network(sizes, Form::Chn, 1.5, &traced);
        let (images, targets) = batch(20, 6, &traced);
        let dynamics = dynamics(&network, images, order);
        let iterate =
            |from: State, count: usize| (0..count).fold(from, |s, i| dynamics.apply(&s, i));
        let reached = iterate(dynamics.start(), FREE).into_components();
        let reached = reached.into_iter().map(|s| Tensor::from_data(s.into_data(), &traced));
        let state = iterate(State::new(reached.collect()).unwrap(), BACK);
        let off = largest(&dynamics.apply(&state, 0).components()[0], &state.components()[0]);
        assert!(off > 1e-3, "{sizes:?} {order:?}: already at equilibrium, {off}");
        let outputs = state.into_components().pop().unwrap();
        let gradients = (outputs - targets).square().sum().mul_scalar(0.5 / 6.0).backward();
        let weights = network.weights.iter().map(|w| host(w.val().grad(&gradients).unwrap()));
        let biases = network.biases.iter().map(|b| host(b.val().grad(&gradients).unwrap()));
        let exact: Vec<_> = weights.chain(biases).collect();

        let device = Device::flex();
        let learning = Learning {
            free: StoppingRule::new(0.0, FREE).unwrap(),
            unroll_iterations: BACK,
            ..learning(order)
        };
        let network = self::network(sizes, Form::Chn, 1.5, &device);
        let (images, targets) = batch(20, 6, &device);
        let found = flat(network.backpropagate(images, targets, &learning).unwrap());
        for (i, (found, exact)) in found.iter().zip(&exact).enumerate() {
            let off = distance(found, exact);
            assert!(off < 1e-5, "{sizes:?} {order:?}, parameter {i}: {off:e}");
        }
    }
}

#[test]
fn equilibrium_propagation_agrees_with_both_gradients() {
    let device = Device::flex();
    for (sizes, form, damping) in [
        (&[20, 24, 18, 12, 6][..], Form::Ham, 0.0),
        (&[20, 30, 6], Form::Chn, 0.5),
        (&[20, 24, 12, 6], Form::Chn, 0.5),
    ] {
        let exact = unrolled(sizes, form, 0.7, 300);
        let network = network(sizes, form, 0.7, &device);
        let (images, targets) = batch(20, 6, &device);
        let free = StoppingRule::new(1e-6, 500).unwrap();
        // These networks are close to losing their equilibria: twice the strength has four times
        // the bias, which is too much.
        let nudge = Nudge {
            size: NudgeSize::new(0.01),
            nudging: Nudging::Centred,
            damping,
            rule: free,
            unconverged: Unconverged::Use,
        };
        let found = network.propagate(images.clone(), targets.clone(), &free, &nudge).unwrap();
        let found = flat(found);
        let learning = learning(if form == Form::Ham { EVEN_ODD } else { Order::Synchronous });
        let back = network.backpropagate(images.clone(), targets.clone(), &learning).unwrap();
        let name = |other: &str| format!("{form:?} {sizes:?} against {other}");
        assert_aligned(&name("automatic differentiation"), &found, &exact, 0.02);
        assert_aligned(&name("recurrent backpropagation"), &found, &flat(back), 0.02);
    }
}

/// Images and targets to a gradient.
type Learn<'a> = &'a dyn Fn(Tensor<2>, Tensor<2>) -> Gradient;

/// A batch that is solved in parts has the gradient of its small batches together, and every sample
/// the outputs and outcomes that it has there.
#[test]
fn a_batch_in_parts_learns_what_small_batches_learn() {
    let device = Device::flex();
    let free = StoppingRule::new(1e-6, 500).unwrap();
    let nudge = Nudge {
        // Each batch has a beta of its own, and with it another bias, of order beta^2.
        size: NudgeSize::new(0.003),
        nudging: Nudging::Centred,
        damping: 0.5,
        rule: free,
        unconverged: Unconverged::Use,
    };
    let images = uniform([70, 20], 0.0, 1.0, 8, &device);
    let targets = uniform([70, 6], 0.0, 1.0, 9, &device);
    let ham = network(&[20, 24, 18, 12, 6], Form::Ham, 0.7, &device);
    let chn = network(&[20, 30, 6], Form::Chn, 0.7, &device);
    assert!(dynamics(&chn, images.clone(), EVEN_ODD).part_size() < 70, "it should be cut");
    let cases: [(&str, Learn<'_>); 4] = [
        ("HAM", &|x, y| ham.backpropagate(x, y, &learning(Order::Synchronous)).unwrap()),
        ("HAM, even-odd", &|x, y| ham.backpropagate(x, y, &learning(EVEN_ODD)).unwrap()),
        ("CHN", &|x, y| chn.backpropagate(x, y, &learning(EVEN_ODD)).unwrap()),
        ("CHN by equilibrium propagation", &|x, y| chn.propagate(x, y, &free, &nudge).unwrap()),
    ];
    for (name, learn) in cases {
        let whole = learn(images.clone(), targets.clone());
        let mut sum: Vec<Vec<f64>> = Vec::new();
        for from in (0..70).step_by(10) {
            let rows = |t: &Tensor<2>| t.clone().narrow(0, from, 10);
            let part = learn(rows(&images), rows(&targets));
            let off = largest(&part.outputs, &rows(&whole.outputs));
            assert!(off < 1e-4, "{name}, outputs from {from}: {off}");
            for (a, b) in part.free.iter().zip(&whole.free[from..]) {
                assert!(
                    a.iterations.abs_diff(b.iterations) <= 2,
                    "{name}, from {from}: {a:?} {b:?}"
                );
            }
            let part = flat(part);
            sum.resize_with(part.len(), Vec::new);
            for (sum, part) in sum.iter_mut().zip(part) {
                sum.resize(part.len(), 0.0);
                sum.iter_mut().zip(part).for_each(|(s, p)| *s += p / 7.0);
            }
        }
        assert_aligned(name, &flat(whole), &sum, 1e-3);
    }
}

/// Where the outputs lie far beyond what `rho` resolves the loss is as steep as anywhere.
#[test]
fn equilibrium_propagation_bears_saturated_outputs() {
    let device = Device::flex();
    for form in FORMS {
        let mut network = network(&[20, 24, 6], form, 0.7, &device);
        let outputs = Tensor::<1>::full([6], if form == Form::Ham { 6.0 } else { 1.0 }, &device);
        network.biases[1] = Param::from_tensor(outputs);
        let (images, targets) = batch(20, 6, &device);
        let order = if form == Form::Ham { EVEN_ODD } else { Order::Synchronous };
        let back =
            network.backpropagate(images.clone(), targets.clone(), &learning(order)).unwrap();
        let free = StoppingRule::new(1e-6, 500).unwrap();
        for nudging in [Nudging::Centred, Nudging::Positive, Nudging::Negative] {
            let nudge = Nudge {
                size: NudgeSize::new(0.005),
                nudging,
                damping: if form == Form::Ham { 0.0 } else { 0.5 },
                rule: free,
                unconverged: Unconverged::Use,
            };
            let found = network.propagate(images.clone(), targets.clone(), &free, &nudge).unwrap();
            // A HAM's nudged phase is the deviation from the free equilibrium.
            let phases = if form == Form::Ham && nudging != Nudging::Centred { 1 } else { 2 };
            assert_eq!((found.free.len(), found.second.len()), (6, 6 * phases));
            assert_aligned(
                &format!("{form:?} {nudging:?}"),
                &flat(found),
                &flat(back.clone()),
                0.02,
            );
        }
    }
}

/// Mean steps to 1e-4, as they are: a change here is a change of solver, maps or initialisation.
#[test]
fn step_counts_are_as_they_were() {
    let device = Device::flex();
    let images = uniform([64, 784], 0.0, 1.0, 9, &device);
    let rule = StoppingRule::new(1e-4, 500).unwrap();
    let anderson = Anderson::new(4).unwrap();
    let theirs = anderson.with_safeguard(Safeguard::Distance);
    let table: [(&[usize], Form, f64, Steps); 3] = [
        (&[784, 100, 10], Form::Ham, 1.2, SHALLOW),
        (&[784, 120, 80, 60, 40, 20, 10], Form::Ham, 0.8, DEEP),
        (&[784, 100, 10], Form::Chn, 0.7, CHN),
    ];
    let (mut all, mut off) = (String::new(), false);
    for (sizes, form, factor, expected) in table {
        let network = network(sizes, form, factor, &device);
        for (order, expected) in ORDERS.into_iter().zip(expected) {
            let map = dynamics(&network, images.clone(), order);
            let start = || map.start();
            let found = [
                solve(map.clone(), start(), &Picard, &rule).unwrap(),
                solve(map.clone(), start(), &theirs, &rule).unwrap(),
                solve(map.clone(), start(), &anderson, &rule).unwrap(),
            ];
            let means = found.each_ref().map(Solution::mean_iterations);
            let differs =
                |(mean, expected): (&f64, &f64)| (mean - expected).abs() > 0.2 + 0.05 * expected;
            off |= means.iter().zip(&expected).any(differs);
            let converged = found.each_ref().map(|s| s.count(hvae_solver::Termination::Converged));
            // Of a random deep network a few samples stay near a bifurcation for very long.
            off |= converged.into_iter().any(|count| count < 56);
            let _ = writeln!(
                all,
                "{sizes:?} {form:?} {order:?}: {means:.1?}, expected {expected:.1?}, converged \
                 {converged:?} of 64"
            );
        }
    }
    assert!(!off, "{all}");
}

/// Mean steps by [`Order`] and method.
type Steps = [[f64; 3]; 2];

/// By [`Order`]: Picard, Anderson as in the paper, Anderson.
const SHALLOW: [[f64; 3]; 2] = [[24.7, 22.5, 15.4], [14.4, 11.9, 9.3]];
const DEEP: [[f64; 3]; 2] = [[196.3, 129.2, 65.7], [73.2, 70.0, 53.3]];
const CHN: [[f64; 3]; 2] = [[46.5, 45.7, 20.3], [10.6, 7.4, 6.8]];

#[test]
fn impossible_networks_images_and_settings_are_refused() {
    let device = Device::flex();
    for sizes in [vec![784, 10], vec![784, 0, 10], vec![]] {
        let made = LayeredNetwork::new(&sizes, Form::Ham, &mut rng(1), &device);
        assert!(matches!(made, Err(ModelError::Network(_))), "{sizes:?}");
    }
    let network = LayeredNetwork::new(&[8, 6, 4], Form::Chn, &mut rng(1), &device).unwrap();
    let images = |pixels| Tensor::<2>::zeros([2, pixels], &device);
    let wrong = Dynamics::new(&network, images(7), Order::Synchronous);
    assert!(matches!(wrong, Err(ModelError::Shape { .. })));
    let none = Dynamics::new(&network, images(8), Order::EvenOdd { inner: 0 });
    assert!(none.unwrap_err().to_string().contains("inner"));
    for damping in [1.0, -0.1, f64::NAN] {
        let map = Dynamics::new(&network, images(8), Order::Synchronous).unwrap();
        assert!(map.damped(damping).unwrap_err().to_string().contains("damping"));
    }
    assert!(matches!(network.network(), Err(ModelError::Network(_))));
}
