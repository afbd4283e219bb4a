//! The seams: substrates and priors behind their traits.
#![allow(clippy::unwrap_used, reason = "a test may stop")]
#![recursion_limit = "256"]

mod common;

use std::sync::{Arc, Mutex};

use burn::tensor::{Device, Tensor};
use common::vae::{config, converged, data, gradient_of, model, parameters, settings};
use common::{compare, distance, host, strengthen, uniform};
use hvae_model::{
    Activation, EpConfig, HopfieldNetwork, Kind, Likelihood, NudgedPhase, Nudging, Phase,
    PhaseSettings, Posterior, Prior, Programmed, Relaxation, Role, Site, Substrate, Vae, VaeConfig,
};
use hvae_solver::StoppingRule;

/// Every gradient of a step, by name.
fn gradients(model: &Vae, phases: &PhaseSettings) -> Vec<(String, Vec<f64>)> {
    let (images, noise) = data();
    let step = model.training_step(images, noise, 0.7, phases).unwrap();
    let each = parameters(model).into_iter();
    each.map(|(name, id, w, _)| (name, gradient_of(&step.gradients, id, w.is_some()))).collect()
}

/// Exact arithmetic whose nudged phases relax the states themselves.
#[derive(Debug)]
struct States {
    average_last: usize,
}

impl Substrate for States {
    fn nudged_phase(&self) -> NudgedPhase {
        NudgedPhase::States { average_last: self.average_last }
    }
}

/// At a moderate centred nudge two states have the gradient of the deviation, whatever the kind of
/// model and cost, and at an equilibrium so have the means of their last sweeps.
#[test]
fn two_states_have_the_gradient_of_the_deviation() {
    for kind in [Kind::HVae, Kind::ThVae, Kind::DhVae] {
        for likelihood in [Likelihood::Gaussian, Likelihood::Bernoulli] {
            let config =
                VaeConfig { kind, likelihood, ..config(Activation::Tanh, Activation::Sigmoid) };
            let model = model(&config, &Device::flex());
            let phases = settings(&converged(0.05, Nudging::Centred));
            let exact = gradients(&model, &phases);
            for average_last in [1, 4] {
                let states = phases.clone().on(Arc::new(States { average_last }));
                for ((name, found), (_, exact)) in gradients(&model, &states).iter().zip(&exact) {
                    let case = format!("{kind:?} {likelihood:?} {average_last} {name}");
                    let (cosine, ratio) = compare(found, exact);
                    assert!(cosine >= 0.999, "{case}: cosine {cosine}");
                    assert!((ratio - 1.0).abs() < 0.01, "{case}: norm ratio {ratio}");
                }
            }
        }
    }
}

/// A substrate without a departure changes no bit.
#[test]
fn exact_arithmetic_changes_no_bit() {
    #[derive(Debug)]
    struct Identity;
    impl Substrate for Identity {
        fn program(&self, network: &HopfieldNetwork) -> Option<Programmed> {
            Some(Programmed { up: network.clone(), down: network.clone() })
        }
    }
    for kind in [Kind::HVae, Kind::ThVae, Kind::DhVae, Kind::TdhVae] {
        let config = VaeConfig { kind, ..config(Activation::Relu, Activation::Sigmoid) };
        let model = model(&config, &Device::flex());
        let phases = settings(&EpConfig::default());
        let exact = gradients(&model, &phases);
        assert!(gradients(&model, &phases.clone().on(Arc::new(Identity))) == exact, "{kind:?}");
    }
}

/// A free phase of a decoder and how far its states are from `other`'s.
fn phase<'n>(network: &'n HopfieldNetwork, substrate: &'n dyn Substrate) -> Relaxation<'n> {
    let input = uniform([4, 3], -1.0, 1.0, 5, &Device::flex());
    let roles = vec![Role::Clamped(input), Role::Free, Role::Free];
    Relaxation::on(network, roles, substrate).unwrap()
}

/// A device's own weights are those that its phases relax with.
#[test]
fn phases_relax_with_the_weights_that_are_programmed() {
    #[derive(Debug)]
    struct Weaker;
    impl Substrate for Weaker {
        fn program(&self, network: &HopfieldNetwork) -> Option<Programmed> {
            let mut weaker = network.clone();
            strengthen(&mut weaker, 0.5);
            Some(Programmed { up: weaker.clone(), down: weaker })
        }
    }
    let model = model(&config(Activation::Tanh, Activation::Sigmoid), &Device::flex());
    let network = model.decoder.unwrap();
    let mut weaker = network.clone();
    strengthen(&mut weaker, 0.5);
    let rule = StoppingRule::new(1e-7, 200).unwrap();
    let state = |relaxation: Relaxation<'_>| {
        let found = relaxation.relax(relaxation.guess(), 0.0, &rule).unwrap().state;
        host(found.component(1).clone())
    };
    let programmed = state(phase(&network, &Weaker));
    assert!(programmed == state(phase(&weaker, &hvae_model::Exact)));
    assert!(distance(&programmed, &state(phase(&network, &hvae_model::Exact))) > 0.01);
}

/// Every update and read-out of a layer comes with its place in the phase; means of the last sweeps
/// need as many more.
#[test]
fn every_update_says_where_and_when_it_is() {
    #[derive(Debug, Default)]
    struct Recorder {
        updates: Mutex<Vec<Site>>,
        reads: Mutex<Vec<Site>>,
    }
    impl Substrate for Recorder {
        fn update(&self, state: Tensor<2>, site: Site) -> Tensor<2> {
            self.updates.lock().unwrap().push(site);
            state
        }
        fn read_out(&self, state: Tensor<2>, site: Site) -> Tensor<2> {
            self.reads.lock().unwrap().push(site);
            state
        }
        fn stopping(&self, _rule: StoppingRule) -> StoppingRule {
            StoppingRule::new(0.0, 5).unwrap()
        }
        fn nudged_phase(&self) -> NudgedPhase {
            NudgedPhase::States { average_last: 3 }
        }
    }
    let model = model(&config(Activation::Tanh, Activation::Sigmoid), &Device::flex());
    let recorder = Arc::new(Recorder::default());
    let phases = settings(&EpConfig::default()).on(recorder.clone());
    let latents = uniform([4, 3], -1.0, 1.0, 5, &Device::flex());
    model.decode(latents, &phases).unwrap();
    let updates = recorder.updates.lock().unwrap();
    for layer in [1, 2] {
        let sweeps = updates.iter().filter(|site| site.layer.0 == layer).map(|site| site.sweep);
        assert!(sweeps.eq(1..=7), "layer {layer}");
    }
    let reads = recorder.reads.lock().unwrap();
    assert_eq!(reads.len(), 2);
    assert!(reads.iter().all(|site| site.sweep == 7 && site.phase == Phase::Free));
}

/// The score and the gradient of the divergence are those of density and divergence.
#[test]
fn a_prior_agrees_with_its_derivatives() {
    let device = Device::flex().autodiff();
    let leaf = |seed| uniform([4, 3], -1.5, 1.5, seed, &device).require_grad();
    let prior = Prior::StandardNormal;
    let z = leaf(1);
    let density = prior.log_density(z.clone());
    let expected =
        |z: &[f64]| -> f64 { z.iter().map(|z| -0.5 * (z * z + std::f64::consts::TAU.ln())).sum() };
    let values = host(z.clone().detach());
    for (found, z) in host(density.clone()).iter().zip(values.chunks(3)) {
        assert!((found - expected(z)).abs() < 1e-5);
    }
    let exact = host(z.grad(&density.sum().backward()).unwrap());
    assert!(distance(&host(prior.score(z.clone().detach())), &exact) < 1e-6);

    let posterior = Posterior { mean: leaf(2), log_variance: leaf(3) };
    let exact = prior.divergence(&posterior, &z).sum().backward();
    let found = prior.divergence_gradient(&posterior, &z);
    for (found, parameter) in
        [(found.mean, &posterior.mean), (found.log_variance, &posterior.log_variance)]
    {
        let exact = host(parameter.grad(&exact).unwrap());
        assert!(distance(&host(found.detach()), &exact) < 1e-6);
    }
}
