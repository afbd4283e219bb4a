//! The prior that is a modern Hopfield network: density, derivatives, samples, training step.
#![allow(clippy::unwrap_used, reason = "a test may stop")]
#![recursion_limit = "256"]

mod common;

use std::f64::consts::TAU;

use burn::module::Param;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use common::vae::{config, converged, data, model, settings};
use common::{compare, distance, host, rng, uniform};
use hvae_model::{
    Activation, HopfieldPrior, Kind, Likelihood, Nudging, Posterior, Prior, StandardNormal, Vae,
    VaeConfig,
};

/// Five patterns of three dimensions with unequal weights.
fn prior(device: &Device) -> HopfieldPrior {
    let patterns = uniform([5, 3], -1.5, 1.5, 11, device);
    let mut prior = HopfieldPrior::new(patterns, 1.7).unwrap();
    let shift: Tensor<1> = uniform([1, 5], -1.0, 1.0, 12, device).squeeze_dim(0);
    prior.biases = Param::from_tensor(prior.biases.val() + shift);
    prior
}

/// `ln sum_i pi_i N(z; x_i, I/b)` by its definition, in double precision.
fn log_density(prior: &HopfieldPrior, z: &[f64]) -> f64 {
    let (patterns, biases) = (host(prior.patterns.val()), host(prior.biases.val()));
    let beta = host(prior.log_beta.val())[0].exp();
    let square = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>();
    let weights: Vec<f64> =
        patterns.chunks(3).zip(&biases).map(|(x, c)| (c + 0.5 * beta * square(x)).exp()).collect();
    let total: f64 = weights.iter().sum();
    let terms = patterns.chunks(3).zip(&weights).map(|(x, w)| {
        let apart: Vec<f64> = x.iter().zip(z).map(|(x, z)| x - z).collect();
        w / total * (-0.5 * beta * square(&apart)).exp()
    });
    terms.sum::<f64>().ln() + 1.5 * (beta / TAU).ln()
}

#[test]
fn it_is_a_mixture_of_gaussians() {
    let prior = prior(&Device::flex());
    let z = uniform([6, 3], -2.0, 2.0, 13, &Device::flex());
    let rows = host(z.clone());
    let narrow: Vec<f32> = rows.iter().map(|&z| z as f32).collect();
    let found = host(prior.log_density(z));
    let per_gaussian = prior.log_densities_per_gaussian(&narrow, 3);
    for ((z, found), per_gaussian) in rows.chunks(3).zip(found).zip(per_gaussian) {
        let exact = log_density(&prior, z);
        assert!((found - exact).abs() < 1e-5, "{found} {exact}");
        assert!((per_gaussian - 1.5 * TAU.ln() - exact).abs() < 1e-5, "{per_gaussian} {exact}");
    }
    let mixture = prior.on_host();
    assert!((mixture.weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    for z in narrow.chunks(3) {
        assert!((mixture.responsibilities(z).iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }
}

/// One pattern at the origin at `b = 1` is `N(0, I)`.
#[test]
fn one_pattern_at_the_origin_is_the_standard_normal() {
    let device = Device::flex();
    let prior = HopfieldPrior::new(Tensor::zeros([1, 3], &device), 1.0).unwrap();
    let z = uniform([6, 3], -2.0, 2.0, 13, &device);
    let of = |prior: &dyn Prior| [host(prior.log_density(z.clone())), host(prior.score(z.clone()))];
    for (found, exact) in of(&prior).iter().zip(&of(&StandardNormal)) {
        assert!(distance(found, exact) < 1e-6);
    }
    assert!((prior.on_host().in_use() - 1.0).abs() < 1e-12);
    assert!(prior.on_host().distance_squared().abs() < 1e-12);
}

/// Score, gradient of the divergence and gradient of the parameters are those of the density.
#[test]
fn its_derivatives_are_those_of_its_density() {
    let device = Device::flex().autodiff();
    let exact = prior(&Device::flex());
    let traced = |p: &Param<Tensor<1>>| Param::initialized(p.id, p.val().autodiff().require_grad());
    let patterns = exact.patterns.val().autodiff().require_grad();
    let leaf = HopfieldPrior {
        patterns: Param::initialized(exact.patterns.id, patterns),
        biases: traced(&exact.biases),
        log_beta: traced(&exact.log_beta),
    };
    let z = uniform([4, 3], -1.5, 1.5, 14, &device).require_grad();
    let counted = [true, true, false, true];
    let mask = Tensor::<1>::from_floats([1.0, 1.0, 0.0, 1.0], &device);
    let cost = (leaf.log_density(z.clone()) * mask).sum().mul_scalar(-0.7 / 4.0);
    let backward = cost.backward();
    let mut found = GradientsParams::new();
    let inner = z.clone().inner();
    // Numbers of a sample that does not count do not matter, even if they are not finite.
    let damaged = Tensor::cat(
        vec![
            inner.clone().narrow(0, 0, 2),
            inner.clone().narrow(0, 2, 1).mul_scalar(f32::NAN),
            inner.clone().narrow(0, 3, 1),
        ],
        0,
    );
    exact.accumulate_gradient(&damaged, &counted, 0.7, &mut found);
    let of_patterns = host(found.get::<2>(exact.patterns.id).unwrap());
    let known = host(leaf.patterns.val().grad(&backward).unwrap());
    assert!(distance(&of_patterns, &known) < 1e-6, "{of_patterns:?} {known:?}");
    for (p, leaf) in [(&exact.biases, &leaf.biases), (&exact.log_beta, &leaf.log_beta)] {
        let found = host(found.get::<1>(p.id).unwrap());
        let known = host(leaf.val().grad(&backward).unwrap());
        assert!(distance(&found, &known) < 1e-6, "{found:?} {known:?}");
    }

    let density = leaf.log_density(z.clone()).sum();
    let score = host(z.grad(&density.backward()).unwrap());
    assert!(distance(&host(exact.score(inner)), &score) < 1e-5);
}

#[test]
fn samples_come_from_the_patterns_by_their_weights() {
    let patterns = Tensor::from_floats([[-4.0_f32, 0.0], [4.0, 0.0]], &Device::flex());
    let mut prior = HopfieldPrior::new(patterns, 4.0).unwrap();
    let shift = Tensor::from_floats([3.0_f32.ln(), 0.0], &Device::flex());
    prior.biases = Param::from_tensor(prior.biases.val() + shift);
    let samples = prior.sample(20_000, 2, &mut rng(3));
    let share = samples.chunks(2).filter(|z| z[0] < 0.0).count() as f64 / 20_000.0;
    assert!((share - 0.75).abs() < 0.02, "{share}");
    let squares: f64 = samples.chunks(2).map(|z| f64::from(z[1]).powi(2)).sum();
    assert!((squares / 20_000.0 - 0.25).abs() < 0.02, "{squares}");
    let one = prior.on_host().sample(&[0.0, 1.0], 100, &mut rng(4));
    assert!(one.chunks(2).all(|z| z[0] > 0.0));
}

fn with_prior(config: &VaeConfig) -> Vae {
    let mut model = model(config, &Device::flex());
    model.prior = Some(prior(&Device::flex()));
    model
}

/// The gradient of a whole step, the parameters of the prior included, is the unrolled one; that of
/// an F-VAE is by backpropagation.
#[test]
fn a_step_learns_the_prior_with_the_weights() {
    let (images, noise) = data();
    for kind in [Kind::HVae, Kind::ThVae, Kind::FVae] {
        for likelihood in [Likelihood::Gaussian, Likelihood::Bernoulli] {
            let base = config(Activation::Tanh, Activation::Sigmoid);
            let model = with_prior(&VaeConfig { kind, likelihood, ..base });
            let phases = settings(&converged(0.02, Nudging::Centred));
            let found = model.training_step(images.clone(), noise.clone(), 0.7, &phases).unwrap();
            let prior = model.prior.as_ref().unwrap();
            let of = |gradients: &GradientsParams| {
                let vector = |p: &Param<Tensor<1>>| host(gradients.get::<1>(p.id).unwrap());
                let patterns = host(gradients.get::<2>(prior.patterns.id).unwrap());
                [patterns, vector(&prior.biases), vector(&prior.log_beta)]
            };
            if kind == Kind::FVae {
                let z = model.encode(images.clone(), &phases).unwrap().0.sample(noise.clone());
                let mut known = GradientsParams::new();
                prior.accumulate_gradient(&z, &[true; 8], 0.7, &mut known);
                for (found, known) in of(&found.gradients).iter().zip(&of(&known)) {
                    assert!(distance(found, known) < 1e-5, "{found:?} {known:?}");
                }
                continue;
            }
            let exact = model.unrolled_gradient(images.clone(), noise.clone(), 0.7, 150).unwrap();
            for (found, exact) in of(&found.gradients).iter().zip(&of(&exact)) {
                let (cosine, ratio) = compare(found, exact);
                assert!(cosine > 0.9999 && (ratio - 1.0).abs() < 1e-3, "{kind:?} {cosine} {ratio}");
            }
            // The encoder's weights receive the score of the prior.
            let id = model.encoder.couplings[0].id();
            let [found, exact] = [&found.gradients, &exact].map(|g| host(g.get::<2>(id).unwrap()));
            let (cosine, ratio) = compare(&found, &exact);
            assert!(cosine > 0.999 && (ratio - 1.0).abs() < 0.01, "{kind:?} {cosine} {ratio}");
        }
    }
}

#[test]
fn what_is_no_prior_is_refused() {
    let device = Device::flex();
    let patterns = |value: f32| Tensor::full([2, 3], value, &device);
    assert!(HopfieldPrior::new(Tensor::empty([0, 3], &device), 1.0).is_err());
    assert!(HopfieldPrior::new(patterns(f32::NAN), 1.0).is_err());
    for beta in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(HopfieldPrior::new(patterns(1.0), beta).is_err(), "{beta}");
    }
    let posterior = Posterior { mean: patterns(0.0), log_variance: patterns(0.0) };
    let prior = HopfieldPrior::new(patterns(1.0), 1.0).unwrap();
    assert!(prior.closed_divergence(&posterior).is_none());
}
