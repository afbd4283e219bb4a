//! The seams: substrates and priors behind their traits.
#![allow(clippy::unwrap_used, reason = "a test may stop")]
#![recursion_limit = "256"]

mod common;

use std::collections::HashSet;
use std::f64::consts::TAU;
use std::sync::{Arc, Mutex};

use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};
use common::vae::{config, converged, data, gradient_of, model, parameters, settings};
use common::{compare, distance, host, rng, strengthen, uniform};
use hvae_model::{
    Activation, AllReduce, EpConfig, HopfieldNetwork, Kind, LayerId, Likelihood, ModelError,
    NudgedPhase, Nudging, Phase, PhaseId, PhaseSettings, Posterior, Prior, Programmed, Side, Site,
    Squares, StandardNormal, Substrate, Unconverged, Vae, VaeConfig,
};
use hvae_solver::StoppingRule;
use rand::{Rng, RngExt};
use rand_distr::Distribution;

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

/// What a training step and the loop gains compute.
fn computed(model: &Vae, phases: &PhaseSettings) -> Vec<Vec<f64>> {
    let (images, noise) = data();
    let losses = model.training_step(images.clone(), noise, 0.7, phases).unwrap().losses;
    let losses = [losses.reconstruction, losses.log_likelihood, losses.divergence];
    let gains = model.loop_gains(images, phases, 5).unwrap();
    let gains = [gains.encoder, gains.decoder].map(host);
    let gradients = gradients(model, phases).into_iter().map(|(_, gradient)| gradient);
    gradients.chain(gains).chain([losses.map(|loss| loss.read()).to_vec()]).collect()
}

/// Holds weights that are `up` and `down` times as strong.
#[derive(Debug)]
struct Scaled {
    up: f64,
    down: f64,
}

impl Substrate for Scaled {
    fn program(&self, network: &HopfieldNetwork, _phase: PhaseId) -> Option<Programmed> {
        let [up, down] = [self.up, self.down].map(|factor| {
            let mut scaled = network.clone();
            strengthen(&mut scaled, factor);
            scaled
        });
        Some(Programmed { up, down })
    }

    fn is_noisy(&self) -> bool {
        false
    }
}

/// With the weights that a device holds, all is computed that a model of these weights computes, to
/// the last bit; so a device that holds the weights themselves changes nothing.
#[test]
fn all_signals_pass_through_the_weights_that_are_programmed() {
    for kind in [Kind::HVae, Kind::ThVae, Kind::DhVae, Kind::TdhVae] {
        for likelihood in [Likelihood::Gaussian, Likelihood::Bernoulli] {
            let config = config(Activation::Relu, Activation::Sigmoid);
            let ideal = model(&VaeConfig { kind, likelihood, ..config }, &Device::flex());
            let phases = settings(&EpConfig::default());
            for factor in [1.0, 0.5] {
                let mut scaled = ideal.clone();
                strengthen(&mut scaled.encoder, factor);
                scaled.decoder.iter_mut().for_each(|decoder| strengthen(decoder, factor));
                let device = phases.clone().on(Arc::new(Scaled { up: factor, down: factor }));
                let equal = computed(&ideal, &device) == computed(&scaled, &phases);
                assert!(equal, "{kind:?} {likelihood:?} {factor}");
            }
        }
    }
}

/// Without signals downwards a decoder is feed-forward.
#[test]
fn the_two_directions_of_a_coupling_are_programmed_apart() {
    let mut model = model(&config(Activation::Tanh, Activation::Sigmoid), &Device::flex());
    let latents = uniform([4, 3], -1.0, 1.0, 5, &Device::flex());
    let phases = settings(&converged(0.05, Nudging::Centred));
    let one_way = phases.clone().on(Arc::new(Scaled { up: 1.0, down: 0.0 }));
    let decode =
        |model: &Vae, phases| host(model.decode(latents.clone(), phases).unwrap().0.images);
    let (found, exact) = (decode(&model, &one_way), decode(&model, &phases));
    model.config.kind = Kind::FVae;
    let expected = decode(&model, &phases);
    assert!(distance(&found, &expected) < 1e-6);
    assert!(distance(&exact, &expected) > 1e-3);
}

/// Noise adds to the gained input of a layer, as a bias does times the gain.
#[test]
fn noise_adds_to_the_gained_input() {
    #[derive(Debug)]
    struct Shift;
    impl Substrate for Shift {
        fn noise(&self, state: &Tensor<2>, site: Site) -> Option<Tensor<2>> {
            (site.layer == LayerId(1)).then(|| state.full_like(0.3))
        }
    }
    let mut model = model(&config(Activation::Tanh, Activation::Sigmoid), &Device::flex());
    let latents = uniform([4, 3], -1.0, 1.0, 5, &Device::flex());
    let phases = settings(&converged(0.05, Nudging::Centred));
    let decode =
        |model: &Vae, phases| host(model.decode(latents.clone(), phases).unwrap().0.images);
    let shifted = phases.clone().on(Arc::new(Shift));
    let (exact, found) = (decode(&model, &phases), decode(&model, &shifted));
    let hidden = &mut model.decoder.as_mut().unwrap().layers[1];
    let bias = hidden.bias.as_ref().unwrap().val() + 0.3 / hidden.spec.gain;
    hidden.bias = Some(Param::from_tensor(bias));
    assert!(distance(&found, &decode(&model, &phases)) < 1e-5);
    assert!(distance(&found, &exact) > 1e-3);
}

/// Every update of a step has a site of its own, so that noise is fresh in each: sides, free and
/// nudged phases, sweeps and layers differ; and steps, and parts of a batch. Means of the last
/// sweeps need as many more.
#[test]
fn every_update_of_a_step_has_a_site_of_its_own() {
    #[derive(Debug, Default)]
    struct Recorder {
        updates: Mutex<Vec<Site>>,
        reads: Mutex<Vec<Site>>,
    }
    impl Substrate for Recorder {
        fn noise(&self, _state: &Tensor<2>, site: Site) -> Option<Tensor<2>> {
            self.updates.lock().unwrap().push(site);
            None
        }
        fn read_out(&self, state: Tensor<2>, site: Site) -> Tensor<2> {
            self.reads.lock().unwrap().push(site);
            state
        }
        fn stopping(&self, _rule: StoppingRule) -> StoppingRule {
            let rule = StoppingRule::new(0.0, 5).unwrap().with_check_every(5).unwrap();
            rule.with_atol(f64::MAX).unwrap()
        }
        fn nudged_phase(&self) -> NudgedPhase {
            NudgedPhase::States { average_last: 3 }
        }
    }
    #[derive(Debug)]
    struct Alone;
    impl AllReduce for Alone {
        fn sum(&self, part: Squares) -> Result<Squares, ModelError> {
            Ok(part)
        }
    }
    for kind in [Kind::HVae, Kind::ThVae] {
        let config = VaeConfig { kind, ..config(Activation::Tanh, Activation::Sigmoid) };
        let model = model(&config, &Device::flex());
        let recorder = Arc::new(Recorder::default());
        let ep = EpConfig { unconverged: Unconverged::Drop, ..EpConfig::default() };
        let phases = settings(&ep).on(recorder.clone()).numbered(7);
        let phases = phases.with_workers(Arc::new(Alone), 2);
        let (images, noise) = data();
        let step = model.training_step(images, noise, 1.0, &phases).unwrap();
        assert_eq!(step.dropped, 0, "samples count after a fixed number of sweeps");

        let updates = recorder.updates.lock().unwrap();
        assert_eq!(updates.iter().collect::<HashSet<_>>().len(), updates.len(), "{kind:?}");
        assert!(updates.iter().all(|site| (site.phase.index, site.phase.part) == (7, 2)));
        let decoder = if kind.is_tied() { Side::Encoder } else { Side::Decoder };
        for (weights, side) in [(Side::Encoder, Side::Encoder), (decoder, Side::Decoder)] {
            for phase in [Phase::Free, Phase::Nudged] {
                let phase = PhaseId { weights, side, phase, index: 7, part: 2 };
                let of_phase = |site: &&Site| site.phase == phase && site.layer == LayerId(1);
                let sweeps = updates.iter().filter(of_phase).map(|site| site.sweep);
                assert!(sweeps.eq(1..=7), "{kind:?} {phase:?}");
            }
        }
        let reads = recorder.reads.lock().unwrap();
        assert_eq!(updates.len(), 7 * reads.len(), "{kind:?}");
        assert!(reads.iter().all(|site| site.sweep == 7), "{kind:?}");
    }
}

/// The score and the gradient of the divergence are those of density and divergence.
#[test]
fn a_prior_agrees_with_its_derivatives() {
    let device = Device::flex().autodiff();
    let leaf = |seed| uniform([4, 3], -1.5, 1.5, seed, &device).require_grad();
    let prior = StandardNormal;
    let z = leaf(1);
    let density = prior.log_density(z.clone());
    let expected = |z: &[f64]| -> f64 { z.iter().map(|z| -0.5 * (z * z + TAU.ln())).sum() };
    let values = host(z.clone().detach());
    for (found, z) in host(density.clone()).iter().zip(values.chunks(3)) {
        assert!((found - expected(z)).abs() < 1e-5);
        let z: Vec<f32> = z.iter().map(|&z| z as f32).collect();
        let per_gaussian = prior.log_densities_per_gaussian(&z, 3)[0] - 1.5 * TAU.ln();
        assert!((found - per_gaussian).abs() < 1e-5);
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

/// `0.3 N(-1.5, 0.5^2) + 0.7 N(1, 0.5^2)` in one dimension.
#[derive(Debug)]
struct Mixture;

const COMPONENTS: [(f64, f64); 2] = [(0.3, -1.5), (0.7, 1.0)];
const SPREAD: f64 = 0.5;

impl Mixture {
    /// `ln sum_i w_i exp(-1/2 ((z - m_i)/s)^2) / s`, without the constant of a Gaussian.
    fn logarithm(z: f64) -> f64 {
        let term = |(w, m): (f64, f64)| w / SPREAD * (-0.5 * ((z - m) / SPREAD).powi(2)).exp();
        COMPONENTS.map(term).iter().sum::<f64>().ln()
    }
}

impl Prior for Mixture {
    fn log_density(&self, z: Tensor<2>) -> Tensor<1> {
        let [a, b] = COMPONENTS.map(|(w, m)| {
            let exponent = z.clone().sub_scalar(m).div_scalar(SPREAD).square().mul_scalar(-0.5);
            exponent.exp().mul_scalar(w / SPREAD / TAU.sqrt())
        });
        (a + b).log().squeeze_dim(1)
    }

    fn log_densities_per_gaussian(&self, z: &[f32], _latent: usize) -> Vec<f64> {
        z.iter().map(|&z| Self::logarithm(z.into())).collect()
    }

    fn score(&self, z: Tensor<2>) -> Tensor<2> {
        let z = z.autodiff().require_grad();
        z.grad(&self.log_density(z.clone()).sum().backward()).unwrap()
    }

    fn sample(&self, samples: usize, _latent: usize, rng: &mut dyn Rng) -> Vec<f32> {
        let each = (0..samples).map(|_| {
            let (_, mean) = COMPONENTS[usize::from(rng.random::<f64>() > COMPONENTS[0].0)];
            (mean + SPREAD * Distribution::<f64>::sample(&rand_distr::StandardNormal, rng)) as f32
        });
        each.collect()
    }
}

/// A prior needs no closed form: density, samples and the defaults of the trait are enough.
#[test]
fn a_mixture_is_a_prior() {
    let device = Device::flex();
    // Quadrature on a grid that both densities vanish beyond.
    let step = 0.01;
    let grid: Vec<f64> = (-800..800).map(|i| f64::from(i) * step).collect();
    let column = |values: Vec<f32>| {
        let rows = values.len();
        Tensor::<2>::from_data(TensorData::new(values, [rows, 1]), &device)
    };
    let near = grid.iter().filter(|z| z.abs() < 5.0);
    let z: Vec<f32> = near.map(|&z| z as f32).collect();
    let density = host(Mixture.log_density(column(z.clone())));
    let mass: f64 = density.iter().map(|ln_p| ln_p.exp() * step).sum();
    assert!((mass - 1.0).abs() < 1e-4, "{mass}");
    for (z, ln_p) in z.iter().zip(&density) {
        let per_gaussian = Mixture.log_densities_per_gaussian(&[*z], 1)[0];
        assert!((per_gaussian - 0.5 * TAU.ln() - ln_p).abs() < 1e-3, "{z}");
    }

    let samples = Mixture.sample(20_000, 1, &mut rng(3));
    let low = samples.iter().filter(|z| **z < -0.25).count() as f64 / 20_000.0;
    assert!((low - 0.3).abs() < 0.02, "{low}");

    // KL(q || p) = integral of q ln(q/p), against the mean over samples of the posterior.
    let (mean, sigma) = (0.4, 0.7_f64);
    let ln_q = |z: f64| -0.5 * ((z - mean) / sigma).powi(2) - sigma.ln() - 0.5 * TAU.ln();
    let terms =
        grid.iter().map(|&z| ln_q(z).exp() * (ln_q(z) + 0.5 * TAU.ln() - Mixture::logarithm(z)));
    let exact: f64 = terms.map(|term| term * step).sum();
    let noise = column(StandardNormal.sample(20_000, 1, &mut rng(4)));
    let wide = noise.clone().autodiff();
    let posterior = Posterior {
        mean: wide.full_like(mean).require_grad(),
        log_variance: wide.full_like(2.0 * sigma.ln()).require_grad(),
    };
    assert!(Mixture.closed_divergence(&posterior).is_none());
    let z = posterior.sample(wide);
    let divergence = Mixture.divergence(&posterior, &z);
    let found = host(divergence.clone().mean())[0];
    assert!((found - exact).abs() < 0.03, "{found} for {exact}");

    // The gradient is that of the estimate, sample by sample.
    let backward = divergence.sum().backward();
    let detached = Posterior {
        mean: posterior.mean.clone().inner(),
        log_variance: posterior.log_variance.clone().inner(),
    };
    let found = Mixture.divergence_gradient(&detached, &z.inner());
    for (found, parameter) in
        [(found.mean, &posterior.mean), (found.log_variance, &posterior.log_variance)]
    {
        assert!(distance(&host(found), &host(parameter.grad(&backward).unwrap())) < 1e-4);
    }
}
