//! The parameters of a VAE: their nonlinearities, limits and learning rates.
#![allow(clippy::unwrap_used, clippy::float_cmp, reason = "a test may stop, and compare exactly")]
#![recursion_limit = "256"]

mod common;

use std::collections::BTreeMap;

use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};
use common::vae::{converged, fill_empty, settings};
use common::{compare, host, layer, matrix, matrix_mut, rng, spectral_norm, strengthen, uniform};
use hvae_model::{
    Activation, CouplingSpec, HiddenActivation, HopfieldNetwork, Kind, LayerId, LayerSpec, Nudging,
    Shape, Vae, VaeConfig,
};

fn vae(config: &VaeConfig) -> Vae {
    Vae::new(config, Shape::flat(12), &mut rng(7), &Device::flex()).unwrap()
}

fn config(kind: Kind) -> VaeConfig {
    VaeConfig {
        kind,
        hidden: vec![10],
        latent: 3,
        visible_gain: 4.0,
        latent_gain: 2.0,
        image_amplitude: 5.0,
        latent_amplitude: 6.0,
        learned_amplitudes: kind.is_tied(),
        ..VaeConfig::default()
    }
}

fn assert_close(found: &BTreeMap<String, f64>, expected: &BTreeMap<String, f64>) {
    assert!(found.keys().eq(expected.keys()), "{found:?}");
    for (name, scale) in found {
        assert!((scale / expected[name] - 1.0).abs() < 1e-12, "{name}: {scale}");
    }
}

/// By name: the inverse of how far a parameter moves an input, times 3 next to the decoder's image.
#[test]
fn learning_rates_are_divided_by_gains_and_amplitudes() {
    let scales = |kind| -> BTreeMap<String, f64> {
        let model = vae(&config(kind));
        let scales = model.learning_rate_scales(3.0);
        scales.into_iter().map(|(id, scale)| (model.parameter_name(id), scale)).collect()
    };
    let expected = |pairs: &[(&str, f64)]| -> BTreeMap<String, f64> {
        pairs.iter().map(|&(name, scale)| (name.to_owned(), scale)).collect()
    };
    let found = scales(Kind::HVae);
    let layered = expected(&[
        ("encoder image-hidden1", 1.0),
        ("encoder hidden1-mean", 1.0 / 2.0),
        ("encoder hidden1-log_variance", 1.0 / 2.0),
        ("encoder hidden1 bias", 1.0),
        ("encoder mean bias", 1.0 / 2.0),
        ("encoder log_variance bias", 1.0 / 2.0),
        ("decoder latent-hidden1", 1.0),
        ("decoder hidden1-image", 3.0 / 4.0),
        ("decoder hidden1 bias", 1.0),
        ("decoder image bias", 3.0 / 4.0),
    ]);
    assert_close(&found, &layered);
    let found = scales(Kind::ThVae);
    let tied = expected(&[
        // Held at 5 times its value it moves the hidden layer by as much, more than its gain of 4.
        ("network image-hidden1", 3.0 / 5.0),
        ("network hidden1-mean", 1.0 / 6.0),
        ("network hidden1-log_variance", 1.0 / 2.0),
        ("network image bias", 3.0 / 4.0),
        ("network hidden1 bias", 1.0),
        ("network mean bias", 1.0 / 2.0),
        ("network log_variance bias", 1.0 / 2.0),
        ("latent amplitudes", 5.0),
    ]);
    assert_close(&found, &tied);
    let fixed = VaeConfig { learned_amplitudes: false, ..config(Kind::ThVae) };
    assert_eq!(vae(&config(Kind::ThVae)).parameters(), vae(&fixed).parameters() + 3);
    // Models without amplitudes have none to learn.
    let separate = VaeConfig { learned_amplitudes: true, ..config(Kind::HVae) };
    assert_eq!(vae(&separate).parameters(), vae(&config(Kind::HVae)).parameters());
}

/// Couplings among layers without bounds, and within layers, that relax together are cut down to
/// the limit in dense and tied models; all others, and layered models, stay.
#[test]
fn the_couplings_of_dense_and_tied_models_are_limited() {
    for kind in Kind::ALL {
        let mut model = vae(&config(kind));
        for network in std::iter::once(&mut model.encoder).chain(&mut model.decoder) {
            for c in &mut network.couplings {
                let [rows, columns] = matrix(c).dims();
                let w = uniform([rows, columns], -1.0, 1.0, 5, &Device::flex());
                *matrix_mut(c) = burn::module::Param::from_tensor(w);
            }
            strengthen(network, 3.0);
        }
        let held = |network: &HopfieldNetwork, k: LayerId| !kind.is_tied() && !network.spec(k).bias;
        let limited = model.clone().limited();
        let mut changed = 0;
        for ((_, before), (side, after)) in model.networks().zip(limited.networks()) {
            for (old, new) in before.couplings.iter().zip(&after.couplings) {
                let (from, to) = (after.spec(old.lower), after.spec(old.upper));
                let name = format!("{kind:?} {side} {}-{}", from.name, to.name);
                let factor = if old.is_within() {
                    from.gain * from.activation.max_slope()
                } else {
                    (from.gain * to.gain).sqrt()
                };
                let bounded = from.activation.is_bounded() || to.activation.is_bounded();
                let free = (kind.is_tied() || kind.is_dense())
                    && (old.is_within() || !bounded)
                    && !held(after, old.lower);
                if free {
                    changed += 1;
                    let strength = factor * spectral_norm(&matrix(new).val());
                    assert!((0.49..0.53).contains(&strength), "{name}: {strength}");
                } else {
                    assert_eq!(host(matrix(old).val()), host(matrix(new).val()), "{name}");
                }
            }
        }
        assert_eq!(changed > 0, kind.is_tied() || kind.is_dense(), "{kind:?}");
    }
}

/// With a reach of 1 on a grid of 4 by 4, pixels are coupled with their up to eight neighbours: the
/// others have neither weight nor gradient, and count as no parameters.
#[test]
fn pixels_are_coupled_with_their_neighbours_alone() {
    let device = Device::flex();
    let images = uniform([6, 16], 0.0, 1.0, 1, &device);
    let noise = uniform([6, 3], -1.5, 1.5, 2, &device);
    let phases = settings(&converged(0.005, Nudging::Centred));
    let image_couplings = |model: &Vae| {
        let (_, network) = model.networks().last().unwrap();
        let is_image = |k: LayerId| network.spec(k).name == "image";
        network.couplings.iter().find(|c| c.is_within() && is_image(c.lower)).cloned()
    };
    for kind in [Kind::DhVae, Kind::TdhVae] {
        let with = |visible_reach| {
            let config = VaeConfig { visible_reach, ..config(kind) };
            Vae::new(&config, Shape::grey(4, 4), &mut rng(7), &device).unwrap()
        };
        let mut model = with(Some(1));
        // Those of pixels must matter.
        fill_empty(model.decoder.as_mut().unwrap_or(&mut model.encoder), 0.02, &mut 40);
        let step = model.training_step(images.clone(), noise.clone(), 1.0, &phases).unwrap();
        let exact = model.unrolled_gradient(images.clone(), noise.clone(), 1.0, 150).unwrap();
        let id = image_couplings(&model).unwrap().id();
        let gradient = host(step.gradients.get::<2>(id).unwrap());
        let (cosine, ratio) = compare(&gradient, &host(exact.get::<2>(id).unwrap()));
        assert!(cosine >= 0.999 && (ratio - 1.0).abs() < 0.01, "{kind:?}: {cosine} {ratio}");
        let mut pairs = 0;
        for (at, g) in gradient.iter().enumerate() {
            let (i, j) = (at / 16, at % 16);
            let [rows, columns] = [(i / 4).abs_diff(j / 4), (i % 4).abs_diff(j % 4)];
            let joined = i != j && rows <= 1 && columns <= 1;
            pairs += usize::from(joined);
            assert_eq!(*g != 0.0, joined, "{kind:?} {i} {j}: {g}");
        }
        // 4 corners have 3 neighbours, 8 pixels at the edges 5, 4 have 8.
        assert_eq!(pairs, 4 * 3 + 8 * 5 + 4 * 8);
        assert_eq!(with(None).parameters() - model.parameters(), 16 * 15 / 2 - pairs / 2);
        assert_eq!(with(Some(3)).parameters(), with(None).parameters());
    }
}

/// A layer's own grid says which units are near, and random weights of near pairs stay symmetric.
#[test]
fn couplings_within_a_layer_can_join_near_units_only() {
    let grid = || vec![LayerSpec::new("grid", 0, Activation::Tanh).with_shape(Shape::grey(3, 5))];
    let device = Device::flex();
    let with = |coupling| {
        let network = HopfieldNetwork::new(grid(), &[coupling], &mut rng(3), &device).unwrap();
        (host(network.couplings[0].weights()), network.parameters())
    };
    let (all, parameters) = with(CouplingSpec::within(LayerId(0)));
    assert_eq!(parameters, 15 * 14 / 2 + 15);
    let (near, parameters) = with(CouplingSpec::banded(LayerId(0), 1));
    for (at, (old, new)) in all.iter().zip(&near).enumerate() {
        let (i, j) = (at / 15, at % 15);
        let joined = (i / 5).abs_diff(j / 5) <= 1 && (i % 5).abs_diff(j % 5) <= 1;
        assert_eq!(*new, if joined { *old } else { 0.0 }, "{i} {j}");
        assert_eq!(*new, near[j * 15 + i]);
    }
    // 12 pairs along rows, 10 along columns, 16 along diagonals.
    assert_eq!(parameters, 12 + 10 + 16 + 15);
}

/// Weights that differ in the two directions by more than rounding have no energy; those between
/// pixels that are not coupled would be used by no product in strips.
#[test]
fn weights_without_an_energy_are_refused() {
    let grid = vec![layer("grid", 9, Activation::Tanh, 1.0).with_shape(Shape::grey(3, 3))];
    let device = Device::flex();
    let couplings = [CouplingSpec::banded(LayerId(0), 1)];
    let mut network = HopfieldNetwork::new(grid, &couplings, &mut rng(3), &device).unwrap();
    let whole = host(matrix(&network.couplings[0]).val());
    let largest = whole.iter().fold(0.0_f64, |m, w| m.max(w.abs()));
    // Units 0 and 1 are neighbours, 0 and 8 opposite corners.
    for (at, change, sound) in [
        (1, 1e-6, true),
        (1, 1e-3, false),
        (8, 1e-3, false),
        (0, 1e-3, false),
        (1, f64::NAN, false),
    ] {
        let mut weight = whole.clone();
        weight[at] += change * largest;
        let weight = weight.iter().map(|w| *w as f32).collect();
        let weight = TensorData::new::<f32, _>(weight, [9, 9]);
        let weight = Tensor::from_data(weight, &device);
        *matrix_mut(&mut network.couplings[0]) = Param::from_tensor(weight);
        let checked = network.check_couplings();
        assert_eq!(checked.is_ok(), sound, "{at} {change}");
        assert!(sound || checked.unwrap_err().to_string().contains("within layer grid"));
    }
}

/// Otherwise the first batch of a tied model meets couplings under which nothing settles.
#[test]
fn a_new_tied_model_begins_within_its_limit() {
    for kind in Kind::ALL.into_iter().filter(|kind| kind.is_tied()) {
        let with = |coupling_limit| vae(&VaeConfig { coupling_limit, ..config(kind) });
        let values = |model: &Vae| -> Vec<f64> {
            model.encoder.couplings.iter().flat_map(|c| host(matrix(c).val())).collect()
        };
        let (tight, loose) = (with(0.01), with(100.0));
        assert!(values(&tight) != values(&loose), "{kind:?}: the limit is without effect");
        let again = values(&tight.clone().limited());
        let off = values(&tight).iter().zip(&again).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(off < 1e-6, "{kind:?}: off its limit by {off:e}");
    }
}

/// One nonlinearity for each hidden layer, mirrored in the decoder, and with exact gradients.
#[test]
fn hidden_layers_can_have_a_nonlinearity_each() {
    let list = vec![Activation::Tanh, Activation::Sigmoid];
    let config = VaeConfig {
        hidden: vec![9, 7],
        hidden_activation: HiddenActivation::Each(list),
        hidden_gain: 1.5,
        precision: 2.0,
        ..config(Kind::HVae)
    };
    let model = vae(&config);
    let hidden = |network: &HopfieldNetwork| -> Vec<(usize, Activation)> {
        let layers = network.layers.iter().filter(|l| l.spec.name.starts_with("hidden"));
        layers.map(|l| (l.spec.size(), l.spec.activation)).collect()
    };
    let mut expected = vec![(9, Activation::Tanh), (7, Activation::Sigmoid)];
    assert_eq!(hidden(&model.encoder), expected);
    expected.reverse();
    assert_eq!(hidden(model.decoder.as_ref().unwrap()), expected);

    let device = Device::flex();
    let images = uniform([6, 12], 0.0, 1.0, 1, &device);
    let noise = uniform([6, 3], -1.5, 1.5, 2, &device);
    let phases = settings(&converged(0.005, Nudging::Centred));
    let exact = model.unrolled_gradient(images.clone(), noise.clone(), 0.7, 150).unwrap();
    let step = model.training_step(images, noise, 0.7, &phases).unwrap();
    for (side, network) in model.networks() {
        for c in &network.couplings {
            let flat = |g: &burn::optim::GradientsParams| host(g.get::<2>(c.id()).unwrap());
            let (cosine, ratio) = compare(&flat(&step.gradients), &flat(&exact));
            let name = format!("{side} {}-{}", c.lower, c.upper);
            assert!(cosine >= 0.999 && (ratio - 1.0).abs() < 0.01, "{name}: {cosine} {ratio}");
        }
    }
}
