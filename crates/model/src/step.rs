//! One training step: four phases, two contrasts, no backward pass.

use burn::optim::GradientsParams;
use burn::tensor::Tensor;

use crate::eqprop::{Beta, EpGradient, Force, Readout};
use crate::likelihood::squared_error;
use crate::phases::{PhaseOutcomes, Phases};
use crate::quiet::StepLosses;
use crate::{HopfieldNetwork, Kind, Likelihood, ModelError, Vae};

/// The gradients of one step and what was seen on the way.
#[derive(Debug)]
pub struct TrainingStep {
    /// The gradient of the batch's mean cost, under the parameters' ids.
    pub gradients: GradientsParams,
    /// Reconstruction error, log-likelihood and divergence; means over the batch.
    pub losses: StepLosses,
    /// Nudging strengths used in encoding and decoding; `None` without nudging.
    pub betas: Option<[Beta; 2]>,
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
                phases.gradient(network, &decoder_phase, &decoder_free, &[force])?
            }
            Likelihood::Bernoulli => {
                let readout = Readout { layer, error: error.clone() };
                phases.readout_gradient(network, &decoder_phase, &decoder_free, &readout)?
            }
        };

        let cost = decoding.input_gradient(&decoder);
        let (mean, log_variance) = posterior.gradient(&cost, noise, kl_weight);
        let layer = self.mean_layer();
        let mut forces = vec![Force { layer, force: mean }];
        if self.config.sigma.is_none() {
            forces.push(Force { layer: layer + 1, force: log_variance });
        }
        let encoder = phases.gradient(&self.encoder, &encoder_phase, &encoder_free, &forces)?;

        let losses = [squared_error(error), log_likelihood, posterior.divergence()];
        Ok(TrainingStep {
            losses: self.losses(losses, phases)?,
            betas: Some([encoder.beta.clone(), decoder.beta.clone()]),
            outcomes: PhaseOutcomes {
                encoder_free: encoder_free.outcomes,
                decoder_free: decoder_free.outcomes,
                decoder_nudged: decoder.outcomes.clone(),
                encoder_nudged: encoder.outcomes.clone(),
            },
            gradients: self.register(encoder, decoder),
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
}
