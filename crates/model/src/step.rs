//! One training step: four phases, two contrasts, no backward pass.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

use crate::eqprop::{self, EpGradient, Force, Readout};
use crate::likelihood::squared_error;
use crate::phases::{PhaseOutcomes, Phases};
use crate::{HopfieldNetwork, Kind, Likelihood, ModelError, Vae};

/// The gradients of one step and what was seen on the way.
#[derive(Debug)]
pub struct TrainingStep {
    /// The gradient of the batch's mean cost, under the parameters' ids.
    pub gradients: GradientsParams,
    /// Sum over pixels of `(x^ - x)^2` at the sampled latent, mean over the batch.
    pub reconstruction_error: f64,
    /// `ln p(x|z)` in nats at the sampled latent, mean over the batch.
    pub log_likelihood: f64,
    /// `KL(q(z|x) || p(z))` in nats, mean over the batch.
    pub divergence: f64,
    /// Nudging strengths used in encoding and decoding; `None` without nudging.
    pub betas: Option<[f64; 2]>,
    /// How the phases ended.
    pub outcomes: PhaseOutcomes,
}

impl Vae {
    /// The gradient of `-ln p(x|z) + kl_weight KL(q || p)`, averaged over the batch: by equilibrium
    /// propagation alone, of an F-VAE by backpropagation. `images` is `[batch, pixels]`, `noise`
    /// `[batch, latent]`.
    ///
    /// The cost of a Gaussian decoder is seen by the image layer, as the force `w (x^ - x)` at the
    /// free equilibrium. That of a Bernoulli decoder is seen by the layers around it, as a
    /// [`Readout`] `x^ = sigmoid(a)`, on which the cost's pull is bounded.
    ///
    /// # Errors
    ///
    /// As [`Self::encoder_phase`], and [`ModelError::NotFinite`] when pixels, weights or states
    /// have produced a reconstruction or divergence that is not a number.
    pub fn training_step(
        &self,
        images: Tensor<2>,
        noise: Tensor<2>,
        kl_weight: f64,
        phases: &Phases,
    ) -> Result<TrainingStep, ModelError> {
        if self.kind() == Kind::FVae {
            return self.backpropagation_step(images, noise, kl_weight, phases);
        }
        let nudge = &phases.nudge;
        let encoder_phase = self.encoder_phase(images.clone())?;
        let encoder_free = phases.free(&encoder_phase)?;
        let posterior = self.posterior(&encoder_free);

        let decoding = self.decoding();
        let (network, layer) = (decoding.network, decoding.output);
        let decoder_phase = self.decoder_phase(posterior.sample(noise.clone()))?;
        let decoder_free = phases.free(&decoder_phase)?;
        let decoded = self.decoded(&decoder_free.states);
        let log_likelihood = self.config.log_likelihood(&decoded, &images);
        let error = decoded.images - images;
        let decoder = match self.config.likelihood {
            Likelihood::Gaussian => {
                let force = error.clone().mul_scalar(self.config.precision);
                let force = Force { layer, force };
                eqprop::gradient(network, &decoder_phase, &decoder_free, &[force], nudge)?
            }
            Likelihood::Bernoulli => {
                let readout = Readout { layer, error: error.clone() };
                eqprop::readout_gradient(network, &decoder_phase, &decoder_free, &readout, nudge)?
            }
        };

        let cost = decoding.input_gradient(&decoder);
        let (mean, log_variance) = posterior.gradient(&cost, noise, kl_weight);
        let layer = self.mean_layer();
        let mut forces = vec![Force { layer, force: mean }];
        if self.config.sigma.is_none() {
            forces.push(Force { layer: layer + 1, force: log_variance });
        }
        let encoder =
            eqprop::gradient(&self.encoder, &encoder_phase, &encoder_free, &forces, nudge)?;

        let [reconstruction_error, log_likelihood, divergence] =
            self.finite_means(squared_error(error), log_likelihood, posterior.divergence())?;
        Ok(TrainingStep {
            betas: Some([encoder.beta, decoder.beta]),
            outcomes: PhaseOutcomes {
                encoder_free: encoder_free.outcomes,
                decoder_free: decoder_free.outcomes,
                decoder_nudged: decoder.outcomes.clone(),
                encoder_nudged: encoder.outcomes.clone(),
            },
            gradients: self.register(encoder, decoder),
            reconstruction_error,
            log_likelihood,
            divergence,
        })
    }

    /// Both gradients under the parameters' ids; added where one network served twice.
    fn register(&self, encoder: EpGradient, decoder: EpGradient) -> GradientsParams {
        let mut gradients = GradientsParams::new();
        let mut add = |network: &HopfieldNetwork, gradient: &EpGradient| {
            gradient.register(network, &mut gradients);
        };
        match &self.decoder {
            Some(network) => {
                add(&self.encoder, &encoder);
                add(network, &decoder);
            }
            None => add(&self.encoder, &encoder.plus(decoder)),
        }
        gradients
    }

    /// The batch means of reconstruction error, log-likelihood and divergence: the one read of a
    /// step besides the convergence checks. The sum of all parameters rides along, because a
    /// rectified unit can hide a weight that is not finite from all of them.
    pub(crate) fn finite_means(
        &self,
        error: Tensor<1>,
        log_likelihood: Tensor<1>,
        divergence: Tensor<1>,
    ) -> Result<[f64; 3], ModelError> {
        let device = error.device();
        let mut sums = Sums(Vec::new());
        self.visit(&mut sums);
        let weights = Tensor::cat(sums.0, 0).sum().to_device(&device);
        let means = vec![error.mean(), log_likelihood.mean(), divergence.mean(), weights];
        let means: Vec<f32> =
            Tensor::cat(means, 0).into_data().try_to_vec().expect("a float tensor here is f32");
        let names =
            ["reconstruction error", "log-likelihood", "KL divergence", "sum of the weights"];
        for (value, what) in means.iter().zip(names) {
            if !value.is_finite() {
                return Err(ModelError::NotFinite {
                    what: what.to_owned(),
                    remedy: "check the images for values outside [0, 1], or lower the learning \
                             rate or the nudge"
                        .to_owned(),
                });
            }
        }
        Ok([means[0], means[1], means[2]].map(f64::from))
    }
}

/// Collects the sum of every parameter.
struct Sums(Vec<Tensor<1>>);

impl ModuleVisitor for Sums {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.push(param.val().sum());
    }
}
