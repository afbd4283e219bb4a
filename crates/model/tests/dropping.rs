//! Samples that do not reach equilibrium, and are dropped.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::float_cmp,
    reason = "a test may stop, and compare with zero"
)]
#![recursion_limit = "256"]

mod common;

use burn::tensor::{Device, Int, Tensor};
use common::vae::settings;
use common::{distance, host, rng, uniform};
use hvae_model::chn_ham::{Form, LayeredNetwork};
use hvae_model::{
    Activation, Cost, EpConfig, EpGradient, Force, Kind, LayerId, Likelihood, Nudge, NudgeSize,
    Nudging, PhaseSettings, ReadPolicy, Readout, Shape, TrainingStep, Unconverged, Vae, VaeConfig,
    gradient,
};
use hvae_solver::StoppingRule;

const BATCH: usize = 8;
const PIXELS: usize = 12;
/// The sample that goes.
const BAD: usize = 3;
/// Not a number, and finite but beyond what squares in f32.
const VALUES: [f32; 2] = [f32::NAN, 1e25];

fn model(kind: Kind, likelihood: Likelihood, hidden: Activation) -> Vae {
    let config = VaeConfig {
        kind,
        likelihood,
        hidden: vec![10],
        latent: 3,
        hidden_activation: hidden.into(),
        hidden_gain: 1.5,
        visible_gain: 2.0,
        latent_gain: 1.5,
        precision: 2.0,
        image_amplitude: 2.0,
        latent_amplitude: 1.5,
        learned_amplitudes: kind.is_tied(),
        ..VaeConfig::default()
    };
    Vae::new(&config, Shape::flat(PIXELS), &mut rng(7), &Device::flex()).unwrap()
}

/// `tensor` with `value` all over the bad row.
fn broken(tensor: &Tensor<2>, value: f32) -> Tensor<2> {
    let [_, width] = tensor.dims();
    let row = Tensor::<2>::full([1, width], value, &tensor.device());
    tensor.clone().slice_assign([BAD..BAD + 1, 0..width], row)
}

/// The rows of the others.
fn others(tensor: &Tensor<2>) -> Tensor<2> {
    let rows: Vec<i64> = (0..BATCH as i64).filter(|i| *i != BAD as i64).collect();
    let rows = Tensor::<1, Int>::from_data(&rows[..], &tensor.device());
    tensor.clone().select(0, rows)
}

/// The gradient of the other samples, seven of eight, up to a rounding that is divided by the nudge.
fn assert_is_that_of_the_others(name: &str, whole: &[f64], others: &[f64]) {
    let expected: Vec<f64> = others.iter().map(|g| g * (BATCH - 1) as f64 / BATCH as f64).collect();
    if expected.iter().all(|g| *g == 0.0) {
        return assert!(whole.iter().all(|g| *g == 0.0), "{name}: not zero");
    }
    let off = distance(whole, &expected);
    assert!(off < 1e-3, "{name}: {off:e}");
}

fn nudge() -> Nudge {
    Nudge {
        size: NudgeSize::new(0.02),
        nudging: Nudging::Centred,
        unconverged: Unconverged::Drop,
        damping: 0.0,
        rule: StoppingRule::new(1e-6, 250).unwrap(),
    }
}

/// A dropped sample leaves no trace in the gradient of a force or a readout, and hands nothing
/// down.
#[test]
fn dropped_samples_contribute_nothing() {
    let device = Device::flex();
    for kind in [Kind::ThVae, Kind::HVae] {
        // Unbounded, so that what is huge stays so.
        let model = model(kind, Likelihood::Bernoulli, Activation::Relu);
        let latents = uniform([BATCH, 3], -1.0, 1.0, 2, &device);
        let error = uniform([BATCH, PIXELS], -1.0, 1.0, 3, &device);
        let [image, latent] = if model.decoder.is_some() { [2, 0] } else { [0, 2] }.map(LayerId);
        let phases = settings(&EpConfig::default());
        let run = |latents: Tensor<2>, error: Tensor<2>, readout| -> (EpGradient, Tensor<2>) {
            let relaxation = model.decoder_phase(latents, &phases).unwrap();
            let rule = StoppingRule::new(1e-6, 250).unwrap();
            let free = relaxation.free_equilibrium(0.0, &rule).unwrap();
            let found = if readout {
                let readout = Readout { layer: image, error };
                gradient(&relaxation, &free, Cost::Readout(&readout), &nudge()).unwrap()
            } else {
                let force = Force { layer: image, force: error };
                gradient(&relaxation, &free, Cost::Forces(&[force]), &nudge()).unwrap()
            };
            let down = found.input(&relaxation, latent);
            (found, down)
        };
        for value in VALUES {
            for readout in [false, true] {
                let case = format!("{kind:?} {value} readout {readout}");
                let (whole, down) = run(broken(&latents, value), broken(&error, value), readout);
                let (seven, down_of_seven) = run(others(&latents), others(&error), readout);
                for (i, (a, b)) in whole.weights.iter().zip(&seven.weights).enumerate() {
                    let name = format!("{case}: weight {i}");
                    assert_is_that_of_the_others(&name, &host(a.clone()), &host(b.clone()));
                }
                for ((_, a), (_, b)) in whole.biases.iter().zip(seven.biases.iter()) {
                    let (a, b) = (a.clone(), b.clone());
                    assert_is_that_of_the_others(&format!("{case}: bias"), &host(a), &host(b));
                }
                let of_bad = host(down.clone().slice([BAD..BAD + 1, 0..3]));
                assert!(of_bad.iter().all(|g| *g == 0.0), "{case}: {of_bad:?}");
                let (a, b) = (host(others(&down)), host(down_of_seven));
                assert!(distance(&a, &b) < 1e-3, "{case}: {:e}", distance(&a, &b));
            }
        }
    }
}

/// With a pixel that is not a number in one image, a step is that on the others.
#[test]
fn a_broken_image_leaves_no_trace_in_a_step() {
    let device = Device::flex();
    let images = uniform([BATCH, PIXELS], 0.0, 1.0, 1, &device);
    let noise = uniform([BATCH, 3], -1.5, 1.5, 2, &device);
    let pixel = Tensor::<2>::full([1, 1], f32::NAN, &device);
    let one_broken = images.clone().slice_assign([BAD..BAD + 1, 4..5], pixel);
    let ep = EpConfig {
        tolerance: 1e-6,
        nudged_tolerance: 1e-6,
        free_sweeps: 250,
        nudged_sweeps: 250,
        unconverged: Unconverged::Drop,
        ..EpConfig::default()
    };
    let phases = settings(&ep);
    for kind in [Kind::HVae, Kind::ThVae, Kind::DhVae] {
        for likelihood in [Likelihood::Gaussian, Likelihood::Bernoulli] {
            let model = model(kind, likelihood, Activation::Tanh);
            let step =
                |images: Tensor<2>, noise: Tensor<2>, phases: &PhaseSettings| -> TrainingStep {
                    model.training_step(images, noise, 0.7, phases).unwrap()
                };
            let seven = step(others(&images), others(&noise), &phases);
            for read in [ReadPolicy::EveryStep, ReadPolicy::Deferred] {
                let phases = PhaseSettings::new(&ep, read).unwrap();
                let case = format!("{kind:?} {likelihood:?} {phases:?}");
                let whole = step(one_broken.clone(), noise.clone(), &phases);
                assert_eq!((whole.counted, whole.dropped), (7, 1), "{case}");
                let losses = model.read_losses(&[&whole.losses, &seven.losses]).unwrap();
                losses[0].zip(losses[1], |a, b| {
                    assert!((a - b).abs() < 1e-5 * b.abs(), "{case}: loss {a}, of the others {b}");
                });
                if let Some(amplitudes) = &model.amplitudes {
                    let get = |s: &TrainingStep| host(s.gradients.get::<1>(amplitudes.id).unwrap());
                    assert_is_that_of_the_others(&case, &get(&whole), &get(&seven));
                }
                for (_, network) in model.networks() {
                    for c in &network.couplings {
                        let get = |s: &TrainingStep| host(s.gradients.get::<2>(c.id()).unwrap());
                        assert_is_that_of_the_others(&case, &get(&whole), &get(&seven));
                    }
                }
            }
        }
    }
}

/// If all samples are dropped there is no gradient, and the losses are those of all.
#[test]
fn a_batch_of_which_all_are_dropped_has_no_gradient() {
    let device = Device::flex();
    let images = uniform([BATCH, PIXELS], 0.0, 1.0, 1, &device);
    let noise = uniform([BATCH, 3], -1.5, 1.5, 2, &device);
    let step = |unconverged| {
        let ep = EpConfig { tolerance: 0.0, free_sweeps: 1, unconverged, ..EpConfig::default() };
        let model = model(Kind::HVae, Likelihood::Gaussian, Activation::Tanh);
        let phases = settings(&ep);
        let step = model.training_step(images.clone(), noise.clone(), 1.0, &phases).unwrap();
        let id = model.encoder.couplings[0].id();
        (host(step.gradients.get::<2>(id).unwrap()), step)
    };
    let (gradient, dropped) = step(Unconverged::Drop);
    assert!(gradient.iter().all(|g| *g == 0.0));
    assert_eq!((dropped.counted, dropped.dropped), (BATCH, BATCH));
    let (gradient, used) = step(Unconverged::Use);
    assert!(gradient.iter().any(|g| *g != 0.0));
    assert_eq!((used.counted, used.dropped), (BATCH, 0));
    let known = |step: &TrainingStep| step.losses.clone().map(|loss| loss.read());
    assert_eq!(known(&dropped), known(&used));
}

#[test]
fn layered_networks_drop_samples_too() {
    let device = Device::flex();
    for form in [Form::Chn, Form::Ham] {
        let network = LayeredNetwork::new(&[20, 15, 6], form, &mut rng(7), &device).unwrap();
        let images = uniform([BATCH, 20], 0.0, 1.0, 8, &device);
        let targets = uniform([BATCH, 6], 0.0, 1.0, 9, &device);
        let free = StoppingRule::new(1e-6, 500).unwrap();
        let nudge = Nudge { damping: 0.3, ..nudge() };
        let run = |images, targets| network.propagate(images, targets, &free, &nudge).unwrap();
        let whole = run(broken(&images, f32::NAN), targets.clone());
        let seven = run(others(&images), others(&targets));
        for (a, b) in whole.weights.into_iter().zip(seven.weights) {
            assert_is_that_of_the_others(&format!("{form:?}"), &host(a), &host(b));
        }
    }
}
