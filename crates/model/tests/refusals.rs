//! What does not fit is refused, with the reason.
#![allow(clippy::unwrap_used, reason = "a test may stop")]
#![recursion_limit = "256"]

mod common;

use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::tensor::{Device, Tensor, TensorData};
use common::vae::{self, PIXELS, data, model, parameters, settings};
use common::{chain_of, layer, rng, uniform};
use hvae_model::chn_ham::{Form, LayeredNetwork, Learning, Order};
use hvae_model::{
    Activation, Cost, Decoding, EpConfig, Force, HiddenActivation, Kind, LayerId, Likelihood,
    ModelError, Nudge, NudgeSize, Nudging, ReadPolicy, Readout, Relaxation, Role, Shape,
    Unconverged, Vae, VaeConfig, gradient,
};
use hvae_solver::{State, StoppingRule};

fn zeros(rows: usize, columns: usize) -> Tensor<2> {
    Tensor::zeros([rows, columns], &Device::flex())
}

fn assert_shape<T: std::fmt::Debug>(result: Result<T, ModelError>, what: &str) {
    let error = result.unwrap_err();
    assert!(matches!(error, ModelError::Shape { .. }), "{error}");
    assert!(error.to_string().contains(what), "{error}");
}

fn nudge() -> Nudge {
    Nudge {
        size: NudgeSize::new(0.02),
        nudging: Nudging::Centred,
        unconverged: Unconverged::Use,
        damping: 0.0,
        rule: StoppingRule::new(1e-5, 50).unwrap(),
    }
}

#[test]
fn tensors_of_another_shape_are_refused_by_name() {
    let device = Device::flex();
    let config = VaeConfig { hidden: vec![6], latent: 2, ..VaeConfig::default() };
    let phases = settings(&EpConfig::default());
    for kind in [Kind::HVae, Kind::FVae] {
        let config = VaeConfig { kind, ..config.clone() };
        let model = Vae::new(&config, Shape::flat(8), &mut rng(1), &device).unwrap();
        for noise in [zeros(3, 3), zeros(4, 2), zeros(1, 2)] {
            let step = model.training_step(zeros(3, 8), noise.clone(), 1.0, &phases);
            assert_shape(step, "noise");
            if kind == Kind::HVae {
                let exact = model.unrolled_gradient(zeros(3, 8), noise.clone(), 1.0, 2);
                assert_shape(exact, "noise");
            }
            assert_shape(model.reconstruct(zeros(3, 8), Some(noise), &phases), "noise");
        }
        assert_shape(model.training_step(zeros(3, 7), zeros(3, 2), 1.0, &phases), "layer image");
    }

    let tied = VaeConfig { kind: Kind::ThVae, learned_amplitudes: true, ..config.clone() };
    let tied = Vae::new(&tied, Shape::flat(8), &mut rng(1), &device).unwrap();
    for width in [1, 3] {
        assert_shape(tied.decode(zeros(3, width), &phases), "layer mean");
    }

    let model = Vae::new(&config, Shape::flat(8), &mut rng(1), &device).unwrap();
    let latent = |images: [usize; 2], weight: [usize; 2]| {
        let [images, weight] = [images, weight].map(|[rows, columns]| zeros(rows, columns));
        model.latent_gradient(&images, &weight, zeros(3, 2), &phases)
    };
    assert_shape(latent([1, 8], [3, 8]), "images");
    assert_shape(latent([3, 8], [3, 7]), "weights of the pixels");

    let phase = model.encoder_phase(uniform([3, 8], 0.0, 1.0, 1, &device), &phases).unwrap();
    let rule = StoppingRule::new(1e-5, 50).unwrap();
    let free = phase.free_equilibrium(0.0, &rule).unwrap();
    let force = |layer, force| {
        let force = Force { layer: LayerId(layer), force };
        gradient(&phase, &free, Cost::Forces(&[force]), &nudge())
    };
    assert_shape(force(2, zeros(1, 2)), "force on layer mean");
    assert_shape(force(2, zeros(3, 1)), "force on layer mean");
    for layer in [0, 9] {
        assert!(force(layer, zeros(3, 8)).unwrap_err().to_string().contains("does not relax"));
    }
    let readout = |layer, error| {
        let readout = Readout { layer: LayerId(layer), error };
        gradient(&phase, &free, Cost::Readout(&readout), &nudge())
    };
    assert_shape(readout(2, zeros(1, 2)), "error of layer mean");
    assert!(readout(9, zeros(3, 8)).unwrap_err().to_string().contains("no coupling"));
    let other = model.encoder_phase(zeros(4, 8), &phases).unwrap();
    let forces = [Force { layer: LayerId(2), force: zeros(4, 2) }];
    assert_shape(
        gradient(&other, &free, Cost::Forces(&forces), &nudge()),
        "the equilibrium of layer",
    );
}

/// On the CPU the update takes the drive as it comes, chunk by chunk.
#[test]
fn a_start_that_is_not_one_of_the_free_layers_is_refused() {
    let config = VaeConfig { hidden: vec![6], latent: 2, ..VaeConfig::default() };
    let model = Vae::new(&config, Shape::flat(8), &mut rng(1), &Device::flex()).unwrap();
    let phases = settings(&EpConfig::default());
    let phase = model.encoder_phase(zeros(3, 8), &phases).unwrap();
    let rule = StoppingRule::new(1e-5, 50).unwrap();
    let state = |rows, sizes: &[usize]| {
        State::new(sizes.iter().map(|&n| zeros(rows, n)).collect()).unwrap()
    };
    for rows in [1, 2, 4] {
        assert_shape(
            phase.relax(state(rows, &[6, 2, 2]), 0.0, &rule),
            "the state of layer hidden1",
        );
        assert_shape(phase.loop_gain(&state(rows, &[6, 2, 2]), 3), "the state of layer hidden1");
    }
    assert_shape(phase.relax(state(3, &[6, 3, 2]), 0.0, &rule), "the state of layer mean");
    for sizes in [&[6, 2][..], &[6, 2, 2, 2]] {
        let error = phase.relax(state(3, sizes), 0.0, &rule).unwrap_err().to_string();
        assert!(error.contains("3 free layers"), "{error}");
        let error = phase.loop_gain(&state(3, sizes), 3).unwrap_err().to_string();
        assert!(error.contains("3 free layers"), "{error}");
    }
    phase.relax(state(3, &[6, 2, 2]), 0.0, &rule).unwrap();
}

#[test]
fn an_f_vae_has_no_equilibria() {
    fn assert_refused<T: std::fmt::Debug>(result: Result<T, ModelError>) {
        let error = result.unwrap_err();
        assert!(matches!(error, ModelError::Network(_)), "{error}");
        assert!(error.to_string().contains("f-vae"), "{error}");
    }
    let config = VaeConfig { kind: Kind::FVae, hidden: vec![4], latent: 2, ..VaeConfig::default() };
    let model = Vae::new(&config, Shape::flat(6), &mut rng(1), &Device::flex()).unwrap();
    let phases = settings(&EpConfig::default());
    assert_refused(model.encoder_phase(zeros(1, 6), &phases));
    assert_refused(model.decoder_phase(zeros(1, 2), &phases));
    assert_refused(model.loop_gains(zeros(1, 6), &phases, 3));
    assert_refused(model.latent_gradient(&zeros(1, 6), &zeros(1, 6), zeros(1, 2), &phases));
    assert_refused(model.unrolled_gradient(zeros(1, 6), zeros(1, 2), 1.0, 2));
    model.reconstruct(zeros(1, 6), None, &phases).unwrap();
}

#[test]
fn a_size_of_the_nudge_that_is_not_positive_is_refused() {
    let config = VaeConfig { hidden: vec![6], latent: 2, ..VaeConfig::default() };
    let model = Vae::new(&config, Shape::flat(8), &mut rng(1), &Device::flex()).unwrap();
    let phases = settings(&EpConfig::default());
    let phase = model.encoder_phase(zeros(3, 8), &phases).unwrap();
    let free = phase.free_equilibrium(0.0, &StoppingRule::new(1e-5, 50).unwrap()).unwrap();
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        for (name, size) in [
            ("nudge", NudgeSize::new(bad)),
            ("nudge", NudgeSize { rms: bad, read: ReadPolicy::Deferred }),
        ] {
            let error =
                gradient(&phase, &free, Cost::Forces(&[]), &Nudge { size, ..nudge() }).unwrap_err();
            assert!(error.to_string().starts_with(name), "{name}: {error}");
        }
    }
}

#[test]
fn targets_of_another_shape_are_refused() {
    let device = Device::flex();
    let rule = StoppingRule::new(1e-3, 20).unwrap();
    let learning = Learning {
        order: Order::Synchronous,
        damping: 0.5,
        free: rule,
        adjoint: rule,
        unroll_iterations: 4,
    };
    for form in [Form::Chn, Form::Ham] {
        let network = LayeredNetwork::new(&[8, 6, 4], form, &mut rng(1), &device).unwrap();
        for targets in [zeros(3, 5), zeros(1, 4), zeros(4, 4)] {
            let back = network.backpropagate(zeros(3, 8), targets.clone(), &learning);
            assert_shape(back, "targets");
            assert_shape(network.propagate(zeros(3, 8), targets, &rule, &nudge()), "targets");
        }
        let nowhere = Learning { unroll_iterations: 0, ..learning };
        let found = network.backpropagate(zeros(3, 8), zeros(3, 4), &nowhere);
        assert_eq!(found.is_err(), form == Form::Chn);
        let (images, targets) = (zeros(3, 7), zeros(3, 4));
        let found = network.backpropagate(images.clone(), targets.clone(), &learning);
        assert_shape(found, "images");
        let found = network.propagate(images, targets, &rule, &nudge());
        assert!(matches!(found, Err(ModelError::Shape { .. })));
    }
}

#[test]
fn an_energy_needs_the_states_of_all_layers() {
    let layers =
        vec![layer("a", 3, Activation::Identity, 1.0), layer("b", 2, Activation::Sigmoid, 1.0)];
    let network = chain_of(layers, &mut rng(1), &Device::flex()).unwrap();
    for states in [vec![], vec![zeros(4, 3)], vec![zeros(4, 3), zeros(4, 2), zeros(4, 2)]] {
        let error = network.energy(&states).unwrap_err().to_string();
        assert!(error.contains("2 layers"), "{error}");
    }
    assert_shape(network.energy(&[zeros(4, 3), zeros(4, 3)]), "layer b");
    assert_shape(network.energy(&[zeros(4, 3), zeros(1, 2)]), "layer b");

    for form in [Form::Chn, Form::Ham] {
        let network = LayeredNetwork::new(&[8, 6, 4], form, &mut rng(1), &Device::flex()).unwrap();
        let energy = |images, states: &[_]| network.energy(images, states);
        for states in [vec![], vec![zeros(3, 6)], vec![zeros(3, 6), zeros(3, 4), zeros(3, 4)]] {
            let error = energy(zeros(3, 8), &states).unwrap_err().to_string();
            assert!(error.contains("2 layers"), "{error}");
        }
        assert_shape(energy(zeros(3, 7), &[zeros(3, 6), zeros(3, 4)]), "images");
        assert_shape(energy(zeros(3, 8), &[zeros(1, 6), zeros(3, 4)]), "layer 1");
        assert_shape(energy(zeros(3, 8), &[zeros(3, 6), zeros(1, 4)]), "layer 2");
        energy(zeros(3, 8), &[zeros(3, 6), zeros(3, 4)]).unwrap();
    }
}

/// The branch follows from the likelihood, not from what a decoding happens to hold.
#[test]
fn the_likelihood_is_that_of_the_configuration() {
    let images = zeros(2, 3);
    let (without, with) = (None, Some(zeros(2, 3)));
    let decoding = |logits| Decoding { images: zeros(2, 3).add_scalar(0.5), logits };
    let of = |likelihood, logits| {
        let config = VaeConfig { likelihood, precision: 4.0, ..VaeConfig::default() };
        config.log_likelihood(&decoding(logits), &images)
    };
    let gaussian: f32 =
        of(Likelihood::Gaussian, with.clone()).unwrap().narrow(0, 0, 1).into_scalar();
    let expected = 1.5 * (4.0 / std::f64::consts::TAU).ln() - 2.0 * 3.0 * 0.25;
    assert!((f64::from(gaussian) - expected).abs() < 1e-5, "{gaussian} is not {expected}");
    let coin: f32 = of(Likelihood::Bernoulli, with).unwrap().narrow(0, 0, 1).into_scalar();
    assert!((f64::from(coin) + 3.0 * 2.0_f64.ln()).abs() < 1e-5, "{coin}");
    let error = of(Likelihood::Bernoulli, without).unwrap_err().to_string();
    assert!(error.contains("logits"), "{error}");
    let config = VaeConfig::default();
    assert_shape(config.log_likelihood(&decoding(None), &zeros(1, 3)), "images");
}

#[test]
fn configurations_that_would_overflow_are_refused_by_name() {
    let base = VaeConfig::default;
    let deep = |layers, hidden_gain| VaeConfig { hidden: vec![4; layers], hidden_gain, ..base() };
    for (name, config) in [
        ("hidden", VaeConfig { hidden: vec![], ..base() }),
        ("latent_gain", VaeConfig { latent_gain: 1e-200, ..base() }),
        ("latent_gain", VaeConfig { latent_gain: f64::NAN, ..base() }),
        ("visible_gain", VaeConfig { visible_gain: 1e40, ..base() }),
        ("image_amplitude", VaeConfig { image_amplitude: 1e-40, ..base() }),
        ("precision", VaeConfig { precision: 1e300, ..base() }),
        ("hidden_gain", deep(28, 30.0)),
        ("hidden_gain", deep(28, 0.01)),
        ("sigma", VaeConfig { sigma: Some(0.0067), ..base() }),
        ("sigma", VaeConfig { sigma: Some(7.1), ..base() }),
        ("sigma", VaeConfig { sigma: Some(f64::NAN), ..base() }),
        (
            "hidden_activation",
            VaeConfig { hidden_activation: HiddenActivation::Each(vec![]), ..base() },
        ),
    ] {
        let error = config.check().unwrap_err();
        assert!(error.to_string().starts_with(name), "{name}: {error}");
        assert!(Vae::new(&config, Shape::flat(9), &mut rng(1), &Device::flex()).is_err());
    }
    for config in [deep(10, 30.0), VaeConfig { sigma: Some(0.0068), ..base() }] {
        Vae::new(&config, Shape::flat(9), &mut rng(1), &Device::flex()).unwrap();
    }
    for kind in Kind::ALL {
        let config = VaeConfig { kind, ..base() };
        let error = Vae::new(&config, Shape::flat(0), &mut rng(1), &Device::flex()).unwrap_err();
        assert!(error.to_string().contains("pixels"), "{error}");
    }
}

#[test]
fn impossible_networks_are_refused() {
    let device = Device::flex();
    let made = |layers| chain_of(layers, &mut rng(1), &device);
    let of_gain = |gain| {
        vec![layer("a", 3, Activation::Identity, 1.0), layer("b", 2, Activation::Relu, gain)]
    };
    for (layers, reason) in [
        (vec![], "no layers"),
        (vec![layer("a", 0, Activation::Identity, 1.0)], "no units"),
        (of_gain(1e-200), "gain"),
        (of_gain(1e39), "gain"),
        (of_gain(f64::INFINITY), "gain"),
        (of_gain(-1.0), "gain"),
    ] {
        let error = made(layers).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
    let network = made(of_gain(2.0)).unwrap();
    let roles = vec![Role::Clamped(zeros(2, 3)), Role::Clamped(zeros(2, 2))];
    assert!(Relaxation::new(&network, roles).is_err());
}

#[test]
fn infinite_and_missing_numbers_are_errors() {
    let device = Device::flex();
    let (images, noise) = data();
    let config = vae::config(Activation::Relu, Activation::Sigmoid);
    let phases = settings(&EpConfig::default());
    for bad in [f32::NAN, f32::INFINITY] {
        let pixel = Tensor::<2>::full([1, 1], bad, &device);
        let images = images.clone().slice_assign([2..3, 4..5], pixel);
        let result = model(&config, &device).training_step(images, noise.clone(), 1.0, &phases);
        assert!(matches!(result, Err(ModelError::NotFinite { .. })), "pixel {bad}: {result:?}");
    }
    let sound = model(&config, &device);
    for (name, broken_id, ..) in parameters(&sound) {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let broken = sound.clone().map(&mut Break { id: broken_id, bad });
            let result = broken.training_step(images.clone(), noise.clone(), 1.0, &phases);
            assert!(
                matches!(result, Err(ModelError::NotFinite { .. })),
                "{name} {bad}: {result:?}"
            );
        }
    }
}

/// Sets the first value of one parameter.
struct Break {
    id: ParamId,
    bad: f32,
}

impl ModuleMapper for Break {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        let dims = tensor.dims();
        let mut values: Vec<f32> = tensor.into_data().try_into_vec().unwrap();
        if id == self.id {
            values[0] = self.bad;
        }
        let data = TensorData::new(values, dims);
        Param::from_mapped_value(id, Tensor::from_data(data, &Device::flex()), mapper)
    }
}

#[test]
fn an_image_of_another_size_is_refused() {
    let device = Device::flex();
    let model = model(&vae::config(Activation::Relu, Activation::Sigmoid), &device);
    let phases = settings(&EpConfig::default());
    let wrong = Tensor::<2>::zeros([2, PIXELS + 1], &device);
    assert!(matches!(model.encode(wrong, &phases), Err(ModelError::Shape { .. })));
}
