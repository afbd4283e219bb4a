//! Gradients in the latents.
#![allow(clippy::unwrap_used, reason = "a failing test should panic")]
#![recursion_limit = "256"]

mod common;

use burn::tensor::{Device, Tensor};
use common::vae::settings;
use common::{compare, host, rng, uniform};
use hvae_model::{Activation, EpConfig, Kind, Likelihood, Shape, Vae, VaeConfig};

/// Central differences of `C(z)` at decodings that have converged, compared with the estimate.
#[test]
fn the_latent_gradient_is_that_of_the_cost_on_known_pixels() {
    let device = Device::flex();
    let ep = EpConfig {
        nudge: 0.02,
        tolerance: 1e-6,
        nudged_tolerance: 1e-6,
        free_sweeps: 300,
        nudged_sweeps: 300,
        ..EpConfig::default()
    };
    let phases = settings(&ep);
    for (kind, likelihood) in [
        (Kind::HVae, Likelihood::Gaussian),
        (Kind::HVae, Likelihood::Bernoulli),
        (Kind::ThVae, Likelihood::Gaussian),
    ] {
        let config = VaeConfig {
            kind,
            likelihood,
            hidden: vec![12],
            latent: 3,
            hidden_activation: Activation::Tanh.into(),
            ..VaeConfig::default()
        };
        let model = Vae::new(&config, Shape::flat(20), &mut rng(3), &device).unwrap();
        let images = uniform([2, 20], 0.0, 1.0, 5, &device);
        let latents = uniform([2, 3], -1.0, 1.0, 6, &device);
        // The second half is hidden.
        let known: Vec<f32> = (0..40).map(|at| if at % 20 < 10 { 1.0 } else { 0.0 }).collect();
        let weight = Tensor::<1>::from_floats(known.as_slice(), &device).reshape([2, 20]);
        let found = model.latent_gradient(&images, &weight, latents.clone(), &phases).unwrap();
        let unknown = images.clone().mask_fill(weight.clone().equal_elem(0.0), f32::NAN);
        let same = model.latent_gradient(&unknown, &weight, latents.clone(), &phases).unwrap();
        assert_eq!(host(found.gradient.clone()), host(same.gradient), "hidden pixels matter");

        let cost = |latents: &Tensor<2>| -> f64 {
            let (decoding, _) = model.decode(latents.clone(), &phases).unwrap();
            let (x, given) = (host(decoding.images), host(images.clone()));
            let mut sum: f64 = host(latents.clone()).iter().map(|z| 0.5 * z * z).sum();
            for at in (0..40).filter(|at| at % 20 < 10) {
                sum += match likelihood {
                    Likelihood::Gaussian => 0.5 * config.precision * (x[at] - given[at]).powi(2),
                    Likelihood::Bernoulli => {
                        -given[at] * x[at].ln() - (1.0 - given[at]) * (1.0 - x[at]).ln()
                    }
                };
            }
            sum
        };
        let step = 0.02;
        let exact: Vec<f64> = (0..6)
            .map(|at| {
                let moved = |by: f32| {
                    let mut values: Vec<f32> =
                        host(latents.clone()).into_iter().map(|z| z as f32).collect();
                    values[at] += by;
                    cost(&Tensor::<1>::from_floats(values.as_slice(), &device).reshape([2, 3]))
                };
                (moved(step) - moved(-step)) / (2.0 * f64::from(step))
            })
            .collect();
        let (cosine, ratio) = compare(&host(found.gradient), &exact);
        assert!(
            cosine > 0.999 && (ratio - 1.0).abs() < 0.03,
            "{kind:?} {likelihood:?} {cosine} {ratio}"
        );
    }
}
