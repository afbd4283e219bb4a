//! Equilibrium propagation against differentiation through a long relaxation.
//!
//! The references below are written out by hand for their small networks and differentiated by
//! Burn's autodiff; they share no code with what they check but the parameters.
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
use common::vae::{
    BATCH, PIXELS, config, converged, data, gradient_of, model, parameters, settings,
};
use common::{chain_of, compare, distance, host, layer, matrix, pairs, rng, strengthen, uniform};
use hvae_model::{
    Activation, Cost, EpConfig, Force, HiddenActivation, HopfieldNetwork, LayerId, Nudge,
    NudgeSize, Nudging, ReadPolicy, Readout, Relaxation, Role, Shape, Unconverged, Vae, VaeConfig,
    gradient,
};
use hvae_solver::StoppingRule;

/// Mean cost of the batch through 150 written-out sweeps, and its gradients by autodiff.
fn reference(
    config: &VaeConfig,
    images: &Tensor<2>,
    noise: &Tensor<2>,
    kl_weight: f64,
) -> Vec<(String, Vec<f64>)> {
    let device = Device::flex().autodiff();
    let model = model(config, &device);
    let lift = |t: &Tensor<2>| Tensor::<2>::from_data(t.clone().into_data(), &device);
    let (x, noise) = (lift(images), lift(noise));
    let HiddenActivation::All(g) = config.hidden_activation else { panic!("one for all") };
    let bias =
        |n: &HopfieldNetwork, k: usize| n.layers[k].bias.as_ref().unwrap().val().unsqueeze::<2>();
    let weight = |n: &HopfieldNetwork, k: usize| matrix(&n.couplings[k]).val();

    let e = &model.encoder;
    let mut mean = Tensor::<2>::zeros([BATCH, config.latent], &device);
    let mut log_variance = mean.clone();
    for _ in 0..150 {
        let a = x.clone().matmul(weight(e, 0))
            + bias(e, 1)
            + mean.clone().matmul(weight(e, 1).transpose())
            + log_variance.clone().matmul(weight(e, 2).transpose());
        let h = g.apply(a);
        mean = (h.clone().matmul(weight(e, 1)) + bias(e, 2)).mul_scalar(config.latent_gain);
        log_variance = (h.matmul(weight(e, 2)) + bias(e, 3)).mul_scalar(config.latent_gain);
    }
    let z = mean.clone() + log_variance.clone().mul_scalar(0.5).exp() * noise;
    let d = model.decoder.as_ref().unwrap();
    let mut v = Tensor::<2>::full([BATCH, PIXELS], 0.5, &device);
    for _ in 0..150 {
        let a = z.clone().matmul(weight(d, 0))
            + bias(d, 1)
            + v.clone().matmul(weight(d, 1).transpose());
        let h = g.apply(a);
        let a = (h.matmul(weight(d, 1)) + bias(d, 2)).mul_scalar(config.visible_gain);
        v = config.visible_activation.apply(a);
    }
    let error = (v - x).square().sum().mul_scalar(0.5 * config.precision);
    let kl = (mean.square() + log_variance.clone().exp() - log_variance)
        .sum()
        .mul_scalar(0.5 * kl_weight);
    let gradients = (error + kl).div_scalar(BATCH as f64).backward();
    parameters(&model)
        .into_iter()
        .map(|(name, _, w, b)| {
            let gradient = match (w, b) {
                (Some(w), _) => host(w.grad(&gradients).unwrap()),
                (None, Some(b)) => host(b.grad(&gradients).unwrap()),
                (None, None) => unreachable!(),
            };
            (name, gradient)
        })
        .collect()
}

fn estimate(
    config: &VaeConfig,
    ep: &EpConfig,
    images: &Tensor<2>,
    noise: &Tensor<2>,
    kl_weight: f64,
) -> Vec<(String, Vec<f64>)> {
    let model = model(config, &Device::flex());
    let phases = settings(ep);
    let step = model.training_step(images.clone(), noise.clone(), kl_weight, &phases).unwrap();
    assert_eq!(step.gradients.len(), parameters(&model).len());
    parameters(&model)
        .into_iter()
        .map(|(name, id, w, _)| (name, gradient_of(&step.gradients, id, w.is_some())))
        .collect()
}

/// Every parameter gradient of the whole VAE, and so also the latent gradient on which the
/// encoder's depend, for each pair of nonlinearities.
#[test]
fn ep_gradients_equal_those_through_the_relaxation() {
    let (images, noise) = data();
    // Where a nonlinearity has a kink, a unit that crosses it between the phases adds an error of
    // first order, so beta must be small enough for that to be rare.
    for (hidden, visible, beta) in [
        (Activation::Relu, Activation::Sigmoid, 0.002),
        (Activation::Tanh, Activation::Identity, 0.05),
        (Activation::Tanh, Activation::Sigmoid, 0.05),
        (Activation::Sigmoid, Activation::HardSigmoid, 0.002),
    ] {
        let config = config(hidden, visible);
        let exact = reference(&config, &images, &noise, 0.7);
        let ep = estimate(&config, &converged(beta, Nudging::Centred), &images, &noise, 0.7);
        for ((name, exact), (_, ep)) in exact.iter().zip(&ep) {
            let (cosine, ratio) = compare(ep, exact);
            assert!(cosine >= 0.999, "{hidden:?} {visible:?} {name}: cosine {cosine}");
            assert!(
                (ratio - 1.0).abs() < 0.01,
                "{hidden:?} {visible:?} {name}: norm ratio {ratio}"
            );
        }
    }
}

fn all(gradients: &[(String, Vec<f64>)]) -> Vec<f64> {
    gradients.iter().flat_map(|(_, g)| g.iter().copied()).collect()
}

/// Halving beta divides the error of the centred estimate by four, of a one-sided one by two.
#[test]
fn the_bias_is_of_second_order_when_centred_and_of_first_order_one_sided() {
    let (images, noise) = data();
    let config = config(Activation::Tanh, Activation::Sigmoid);
    let exact = all(&reference(&config, &images, &noise, 0.7));
    let error = |beta, nudging| {
        distance(&all(&estimate(&config, &converged(beta, nudging), &images, &noise, 0.7)), &exact)
    };
    for (nudging, order) in
        [(Nudging::Centred, 4.0), (Nudging::Positive, 2.0), (Nudging::Negative, 2.0)]
    {
        let (coarse, fine) = (error(0.4, nudging), error(0.2, nudging));
        let ratio = coarse / fine;
        assert!((ratio / order - 1.0).abs() < 0.25, "{nudging:?}: {coarse} / {fine} = {ratio}");
    }
    assert!(error(0.05, Nudging::Centred) < error(0.05, Nudging::Positive) / 10.0);
}

/// Neither does a nudge below the last bit of the states: what changes is relaxed, not the states.
#[test]
fn a_tiny_nudge_costs_no_digits() {
    let (images, noise) = data();
    for hidden in [Activation::Relu, Activation::Tanh, Activation::Sigmoid] {
        let config = config(hidden, Activation::Sigmoid);
        let exact = all(&reference(&config, &images, &noise, 0.7));
        for nudging in [Nudging::Centred, Nudging::Positive, Nudging::Negative] {
            let found = all(&estimate(&config, &converged(1e-9, nudging), &images, &noise, 0.7));
            let error = distance(&found, &exact);
            assert!(error < 1e-4, "{hidden:?} {nudging:?}: {error:e}");
        }
    }
}

/// Where every layer takes a part of the nudge, its slope at most a quarter, each still has its
/// gradient at the default settings.
#[test]
fn no_layer_is_left_without_a_gradient() {
    let (images, noise) = data();
    let config = VaeConfig {
        hidden: vec![10; 5],
        hidden_gain: 20.0,
        visible_gain: 20.0,
        latent_gain: 20.0,
        ..config(Activation::Sigmoid, Activation::Sigmoid)
    };
    let model = Vae::new(&config, Shape::flat(PIXELS), &mut rng(7), &Device::flex()).unwrap();
    let exact = model.unrolled_gradient(images.clone(), noise.clone(), 0.7, 60).unwrap();
    let phases = settings(&EpConfig::default());
    let step = model.training_step(images, noise, 0.7, &phases).unwrap();
    for (name, id, w, _) in parameters(&model) {
        let [ep, exact] =
            [&step.gradients, &exact].map(|gradients| gradient_of(gradients, id, w.is_some()));
        let (cosine, ratio) = compare(&ep, &exact);
        assert!(cosine > 0.999 && (ratio - 1.0).abs() < 0.03, "{name}: {cosine} {ratio}");
    }
}

/// Nine layers whose gains weaken a nudge by a factor of 20 each: by the last one it is 11 powers
/// of ten smaller.
#[test]
fn a_deep_network_has_exact_gradients() {
    let (images, noise) = data();
    let config = VaeConfig {
        hidden: vec![10; 9],
        hidden_gain: 20.0,
        visible_gain: 20.0,
        latent_gain: 20.0,
        ..config(Activation::Tanh, Activation::Sigmoid)
    };
    let model = Vae::new(&config, Shape::flat(PIXELS), &mut rng(7), &Device::flex()).unwrap();
    let exact = model.unrolled_gradient(images.clone(), noise.clone(), 0.7, 60).unwrap();
    // Slopes shrink it, too, and all layers count in one residual, the last one with little.
    let ep = EpConfig { tolerance: 1e-7, nudged_tolerance: 1e-5, ..EpConfig::default() };
    let phases = settings(&ep);
    let step = model.training_step(images, noise, 0.7, &phases).unwrap();
    for (name, id, w, _) in parameters(&model) {
        let [ep, exact] =
            [&step.gradients, &exact].map(|gradients| gradient_of(gradients, id, w.is_some()));
        let (cosine, ratio) = compare(&ep, &exact);
        assert!(cosine > 0.9999 && (ratio - 1.0).abs() < 0.01, "{name}: {cosine} {ratio}");
    }
}

/// What a free phase leaves to go is not divided by beta: a one-sided nudge is as good as its bias
/// lets it be at tolerances that are no smaller than that, and within 2 % at the default ones.
#[test]
fn a_free_phase_leaves_no_error_that_is_divided_by_beta() {
    let (images, noise) = data();
    let config = config(Activation::Tanh, Activation::Sigmoid);
    let exact = all(&reference(&config, &images, &noise, 0.7));
    for nudging in [Nudging::Positive, Nudging::Negative] {
        let error =
            |ep: &EpConfig| distance(&all(&estimate(&config, ep, &images, &noise, 0.7)), &exact);
        let bias = error(&converged(0.02, nudging));
        let ep = EpConfig { nudging, nudge: 0.02, ..EpConfig::default() };
        let [usual, tight] =
            [ep.clone(), EpConfig { tolerance: 3e-4, nudged_tolerance: 3e-3, ..ep }]
                .map(|ep| error(&ep));
        assert!(bias < 0.02 && tight < 1.2 * bias, "{nudging:?}: {tight:e}, {bias:e} of it bias");
        assert!(usual < 0.02, "{nudging:?}: {usual:e}");
    }
}

/// The strength follows from the push on the gained input.
#[test]
fn beta_is_the_size_over_the_root_mean_square_of_the_gained_force() {
    let device = Device::flex();
    let gain = 3.0;
    let layers = vec![
        layer("input", 5, Activation::Identity, 1.0),
        layer("output", 6, Activation::Sigmoid, gain),
    ];
    let network = chain_of(layers, &mut rng(5), &device).unwrap();
    let roles = vec![Role::Clamped(uniform([BATCH, 5], -1.0, 1.0, 6, &device)), Role::Free];
    let relaxation = Relaxation::new(&network, roles).unwrap();
    let rule = StoppingRule::new(1e-6, 50).unwrap();
    let free = relaxation.free_equilibrium(0.0, &rule).unwrap();
    let force = uniform([BATCH, 6], -1.0, 1.0, 7, &device);
    let mean_square = host(force.clone()).iter().map(|f| f * f).sum::<f64>() / (6 * BATCH) as f64;
    let expected = 0.02 / (gain * mean_square.sqrt());
    for size in [NudgeSize::new(0.02), NudgeSize { rms: 0.02, read: ReadPolicy::Deferred }] {
        let nudge = Nudge {
            size,
            nudging: Nudging::Centred,
            unconverged: Unconverged::Use,
            damping: 0.0,
            rule,
        };
        let forces = [Force { layer: LayerId(1), force: force.clone() }];
        let beta =
            gradient(&relaxation, &free, Cost::Forces(&forces), &nudge).unwrap().beta().read();
        assert!((beta / expected - 1.0).abs() < 1e-5, "{size:?}: {beta} is not {expected}");
    }
}

/// A dense network: couplings between all layers and within them. The input gradient and every
/// parameter gradient against damped simultaneous updates, differentiated.
#[test]
fn a_dense_network_has_exact_parameter_and_input_gradients() {
    let layers = || {
        vec![
            layer("input", 5, Activation::Identity, 1.0),
            layer("hidden", 9, Activation::Tanh, 1.0),
            layer("output", 6, Activation::Sigmoid, 2.0),
        ]
    };
    let couplings = [(0, 1), (1, 2), (0, 2), (1, 1), (2, 2)];
    let build = |device: &Device| {
        let mut n =
            HopfieldNetwork::new(layers(), &pairs(&couplings), &mut rng(5), device).unwrap();
        strengthen(&mut n, 0.9);
        n
    };
    let plain = Device::flex();
    let (input, target) =
        (uniform([BATCH, 5], -1.0, 1.0, 6, &plain), uniform([BATCH, 6], 0.0, 1.0, 8, &plain));

    let device = Device::flex().autodiff();
    let traced = build(&device);
    let lift = |t: &Tensor<2>| Tensor::<2>::from_data(t.clone().into_data(), &device);
    let x = lift(&input).require_grad();
    let mut s = [x.clone(), Tensor::zeros([BATCH, 9], &device), Tensor::zeros([BATCH, 6], &device)];
    for _ in 0..300 {
        let image = |k: usize| {
            let layer = &traced.layers[k];
            let mut a = layer.bias.as_ref().unwrap().val().unsqueeze::<2>().expand(s[k].dims());
            for c in &traced.couplings {
                if c.lower == LayerId(k) {
                    a = a + s[c.upper.0].clone().matmul(matrix(c).val().transpose());
                } else if c.upper == LayerId(k) {
                    a = a + s[c.lower.0].clone().matmul(matrix(c).val());
                }
            }
            layer.spec.activation.apply(a.mul_scalar(layer.spec.gain))
        };
        let (h, o) = (image(1), image(2));
        s[1] = (s[1].clone() + h).mul_scalar(0.5);
        s[2] = (s[2].clone() + o).mul_scalar(0.5);
    }
    let cost = (s[2].clone() - lift(&target)).square().sum().mul_scalar(0.5);
    let exact = cost.backward();

    let network = build(&plain);
    let roles = vec![Role::Clamped(input), Role::Free, Role::Free];
    let relaxation = Relaxation::new(&network, roles).unwrap();
    let rule = StoppingRule::new(0.0, 300).unwrap();
    let free = relaxation.free_equilibrium(0.3, &rule).unwrap();
    let force = Force { layer: LayerId(2), force: free.state(LayerId(2)) - target };
    let nudge = Nudge {
        size: NudgeSize::new(0.005),
        nudging: Nudging::Centred,
        unconverged: Unconverged::Use,
        damping: 0.3,
        rule,
    };
    let ep = gradient(&relaxation, &free, Cost::Forces(&[force]), &nudge).unwrap();

    let check = |name: &str, estimate: Vec<f64>, exact: Vec<f64>| {
        let (cosine, ratio) = compare(&estimate, &exact);
        assert!(cosine >= 0.999 && (ratio - 1.0).abs() < 0.01, "{name}: {cosine} {ratio}");
    };
    // The reference is a sum over the batch, the estimate a mean.
    let sum = BATCH as f64;
    check("input", host(ep.input(&relaxation, LayerId(0))), host(x.grad(&exact).unwrap()));
    for ((coupling, traced), estimate) in
        network.couplings.iter().zip(&traced.couplings).zip(&ep.weights)
    {
        let mut exact = matrix(traced).val().grad(&exact).unwrap();
        if coupling.is_within() {
            // Of a symmetric matrix with zero diagonal only that part can change.
            let [n, _] = exact.dims();
            let diagonal = Tensor::<2>::eye(n, &exact.device());
            exact = (exact.clone() + exact.transpose()).mul_scalar(0.5) * (diagonal.neg() + 1.0);
        }
        let name = format!("coupling {}-{}", coupling.lower, coupling.upper);
        check(&name, host(estimate.clone().mul_scalar(sum)), host(exact));
    }
    for k in [1, 2] {
        let bias = traced.layers[k].bias.as_ref().unwrap().val();
        let estimate = ep.biases[LayerId(k)].clone().mul_scalar(sum);
        check(&format!("bias {k}"), host(estimate), host(bias.grad(&exact).unwrap()));
    }
}

/// The bias of a readout's layer has the direct gradient `c e`, whether the layer relaxes or not.
#[test]
fn a_layer_that_is_read_out_and_does_not_relax_has_the_gradient_of_its_bias() {
    let device = Device::flex();
    let layers = vec![
        layer("a", 3, Activation::Identity, 1.0),
        layer("b", 4, Activation::Tanh, 1.0),
        layer("c", 2, Activation::Sigmoid, 1.7),
    ];
    let network = chain_of(layers, &mut rng(3), &device).unwrap();
    let rule = StoppingRule::new(1e-6, 200).unwrap();
    let nudge = Nudge {
        size: NudgeSize::new(0.02),
        nudging: Nudging::Centred,
        unconverged: Unconverged::Use,
        damping: 0.0,
        rule,
    };
    let error = Tensor::<2>::from_floats([[0.5, -1.0], [1.5, 3.0]], &device);
    let held = uniform([2, 3], -1.0, 1.0, 1, &device);
    for role in [Role::Absent, Role::Clamped(Tensor::full([2, 2], 0.3, &device))] {
        let roles = vec![Role::Clamped(held.clone()), Role::Free, role];
        let phase = Relaxation::new(&network, roles).unwrap();
        let free = phase.free_equilibrium(0.0, &rule).unwrap();
        let readout = Readout { layer: LayerId(2), error: error.clone() };
        let found = gradient(&phase, &free, Cost::Readout(&readout), &nudge).unwrap();
        assert!(found.biases.get(LayerId(0)).is_none(), "it is clamped and not read out");
        let bias = host(found.biases[LayerId(2)].clone());
        assert!(distance(&bias, &[1.7, 1.7]) < 1e-6, "{bias:?}");
        if free.states.get(LayerId(2)).is_none() {
            // Nothing of equilibrium propagation's own enters the weight either.
            let direct =
                free.state(LayerId(1)).transpose().matmul(error.clone()).mul_scalar(1.7 / 2.0);
            assert!(distance(&host(found.weights[1].clone()), &host(direct)) < 1e-6);
        }
    }
}
