//! All kinds of models: exact gradients, and steps with deferred reads.
#![allow(clippy::unwrap_used, clippy::panic, clippy::float_cmp, reason = "a test may stop")]
#![recursion_limit = "256"]

mod common;

use burn::tensor::Device;
use common::vae::{config, converged, data, fill_empty, gradient_of, model, parameters, settings};
use common::{compare, distance};
use hvae_model::{
    Activation, EpConfig, Kind, Likelihood, Nudging, PhaseSettings, ReadPolicy, Unconverged,
    VaeConfig,
};

/// The whole family, both likelihoods, learned and fixed sigma: every parameter's gradient against
/// automatic differentiation through the relaxation.
#[test]
fn every_member_of_the_family_has_exact_gradients() {
    let (images, noise) = data();
    let phases = settings(&converged(0.005, Nudging::Centred));
    for kind in [Kind::HVae, Kind::ThVae, Kind::DhVae, Kind::TdhVae] {
        for likelihood in [Likelihood::Gaussian, Likelihood::Bernoulli] {
            for (hidden, sigma) in [(vec![10], None), (vec![9, 7], Some(0.31))] {
                let config = VaeConfig {
                    kind,
                    likelihood,
                    hidden,
                    sigma,
                    learned_amplitudes: likelihood == Likelihood::Gaussian,
                    ..config(Activation::Tanh, Activation::Sigmoid)
                };
                let mut model = model(&config, &Device::flex());
                // Couplings that start at zero must matter.
                let mut seed = 40;
                for network in std::iter::once(&mut model.encoder).chain(&mut model.decoder) {
                    fill_empty(network, 0.05, &mut seed);
                }
                let case = format!("{kind:?} {likelihood:?} {:?}", config.hidden);
                let exact =
                    model.unrolled_gradient(images.clone(), noise.clone(), 0.7, 150).unwrap();
                let step =
                    model.training_step(images.clone(), noise.clone(), 0.7, &phases).unwrap();
                for (name, id, w, _) in parameters(&model) {
                    let [found, exact] = [&step.gradients, &exact]
                        .map(|gradients| gradient_of(gradients, id, w.is_some()));
                    let (cosine, ratio) = compare(&found, &exact);
                    assert!(
                        cosine >= 0.999 && (ratio - 1.0).abs() < 0.01,
                        "{case} {name}: cosine {cosine} ratio {ratio}"
                    );
                }
            }
        }
    }
}

/// A step with deferred reads gives the same numbers.
#[test]
fn a_step_with_deferred_reads_is_the_same_step() {
    for kind in Kind::ALL {
        for likelihood in [Likelihood::Gaussian, Likelihood::Bernoulli] {
            for (sigma, unconverged) in [
                (None, Unconverged::Use),
                (None, Unconverged::Drop),
                (Some(0.31), Unconverged::Use),
            ] {
                let config = VaeConfig {
                    kind,
                    likelihood,
                    sigma,
                    learned_amplitudes: kind.is_tied() && sigma.is_none(),
                    ..config(Activation::Tanh, Activation::Sigmoid)
                };
                compare_deferred(&config, unconverged);
            }
        }
    }
}

fn compare_deferred(config: &VaeConfig, unconverged: Unconverged) {
    let (images, noise) = data();
    let mut model = model(config, &Device::flex());
    let mut seed = 40;
    for network in std::iter::once(&mut model.encoder).chain(&mut model.decoder) {
        fill_empty(network, 0.05, &mut seed);
    }
    // The order of sums differs, 6e-8, and where samples may leave, a sweep's worth of their last
    // residual. A contrast divides both by the nudge.
    let mut ep = EpConfig { unconverged, ..converged(0.02, Nudging::Centred) };
    if unconverged == Unconverged::Drop {
        (ep.tolerance, ep.nudged_tolerance) = (1e-6, 1e-6);
    }
    let run = |read| {
        let phases = PhaseSettings::new(&ep, read).unwrap();
        model.training_step(images.clone(), noise.clone(), 1.0, &phases).unwrap()
    };
    let (plain, deferred) = (run(ReadPolicy::EveryStep), run(ReadPolicy::Deferred));
    assert!(plain.losses.are_known() && !deferred.losses.are_known());
    let expected = plain.losses.clone().map(|loss| loss.read());
    let found = model.read_losses(&[&deferred.losses, &deferred.losses]).unwrap();
    assert_eq!(found[0], found[1]);
    let case = format!("{:?} {:?} {:?}", config.kind, config.likelihood, config.sigma);
    expected.zip(found[0], |a, b| assert!((a - b).abs() < 1e-5 * a.abs(), "{case}: {a} {b}"));
    for (name, id, w, _) in parameters(&model) {
        let [a, b] = [&plain, &deferred].map(|step| gradient_of(&step.gradients, id, w.is_some()));
        let zero = a.iter().chain(&b).all(|g| *g == 0.0);
        assert!(zero || distance(&b, &a) < 1e-4, "{case} {name}: {:e}", distance(&b, &a));
    }
    let betas = [&plain, &deferred].map(|step| step.betas.clone());
    if let [Some(a), Some(b)] = betas {
        for (a, b) in [(a.encoder, b.encoder), (a.decoder, b.decoder)] {
            let ratio = a.read() / b.read();
            assert!((ratio - 1.0).abs() < 1e-5, "{case}: {ratio}");
        }
    }
}
