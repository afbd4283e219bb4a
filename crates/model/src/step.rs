//! One training step: four phases, two contrasts, no backward pass.

use burn::module::ParamId;
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

use crate::contrast::{Kept, counts};
use crate::eqprop::{Cost, EpGradient, Force, Readout};
use crate::likelihood::squared_error;
use crate::phases::{PhaseOutcomes, Phases};
use crate::quiet::StepLosses;
use crate::strength::Beta;
use crate::{HopfieldNetwork, Kind, Likelihood, ModelError, Vae};

/// The gradients of one step and what was seen on the way.
#[derive(Debug)]
pub struct TrainingStep {
    /// The gradient of the batch's mean cost, under the parameters' ids.
    pub gradients: GradientsParams,
    /// Reconstruction error, log-likelihood and divergence; means over the samples that count.
    pub losses: StepLosses,
    /// How many samples count in the losses: all, or under
    /// [`Unconverged::Drop`](crate::Unconverged::Drop) those whose free phases converged. Where none
    /// did, all: so a part of a larger batch in which none converged counts wholly, though among the
    /// samples of the other parts it would not. Gradients know no such exception.
    pub counted: usize,
    /// How many samples were dropped from the gradient of a network.
    pub dropped: usize,
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
    /// [`ModelError::Shape`] when `images` have another width or `noise` has another shape,
    /// [`ModelError::NotFinite`] when pixels, weights or states of a sample that is not dropped have
    /// produced a force, a reconstruction or a divergence that is not a number (of
    /// [quiet](Phases::quiet) phases where [the losses are read](Self::read_losses)), and
    /// [`ModelError::Worker`] when another worker of the step has failed.
    pub fn training_step(
        &self,
        images: Tensor<2>,
        noise: Tensor<2>,
        kl_weight: f64,
        phases: &Phases,
    ) -> Result<TrainingStep, ModelError> {
        self.require_noise(&images, &noise)?;
        if self.kind() == Kind::FVae {
            return self.backpropagation_step(images, noise, kl_weight, phases);
        }
        let encoder_phase = self.encoder_phase(images.clone())?;
        let encoder_free = phases.free(&encoder_phase)?;
        let posterior = self.posterior(&encoder_free);

        let decoding = self.decoding();
        let layer = decoding.output;
        let latents = posterior.sample(noise.clone());
        let decoder_phase = decoding.phase(latents.clone())?;
        let decoder_free = phases.free(&decoder_phase)?;
        let decoded = self.decoded(&decoder_free.states);
        let log_likelihood = self.config.log_likelihood(&decoded, &images)?;
        let error = decoded.images - images;
        let decoder = match self.config.likelihood {
            Likelihood::Gaussian => {
                let force = error.clone().mul_scalar(self.config.precision);
                let force = Force { layer, force };
                phases.gradient(&decoder_phase, &decoder_free, Cost::Forces(&[force]))?
            }
            Likelihood::Bernoulli => {
                let readout = Readout { layer, error: error.clone() };
                phases.gradient(&decoder_phase, &decoder_free, Cost::Readout(&readout))?
            }
        };

        let scaled = decoding.scaled_gradient(&decoder);
        let unconverged = phases.nudge.unconverged;
        let amplitudes = self.amplitudes.as_ref().map(|amplitudes| {
            let kept = counts(unconverged, &[&decoder_free.outcomes, &decoder.outcomes]);
            let latents = Kept::new(&kept, &latents.device()).only(latents);
            (amplitudes.id, (scaled.clone() * latents).mean_dim(0).squeeze_dim(0))
        });
        let cost = decoding.input_gradient(scaled);
        let (mean, log_variance) = posterior.gradient(&cost, noise, kl_weight);
        let layer = self.mean_layer();
        let mut forces = vec![Force { layer, force: mean }];
        if self.config.sigma.is_none() {
            forces.push(Force { layer: layer + 1, force: log_variance });
        }
        let encoder = phases.gradient(&encoder_phase, &encoder_free, Cost::Forces(&forces))?;

        let free = [&encoder_free.outcomes[..], &decoder_free.outcomes];
        let all = [free[0], free[1], &decoder.outcomes, &encoder.outcomes];
        let dropped = counts(unconverged, &all).into_iter().filter(|counts| !counts).count();
        let mut counted = counts(unconverged, &free);
        if !counted.contains(&true) {
            counted.fill(true);
        }
        let kept = Kept::new(&counted, &error.device());
        let losses = [squared_error(error), log_likelihood, posterior.divergence()];
        Ok(TrainingStep {
            losses: self.losses(losses, &kept, phases)?,
            counted: kept.count(),
            dropped,
            betas: Some([encoder.beta.clone(), decoder.beta.clone()]),
            outcomes: PhaseOutcomes {
                encoder_free: encoder_free.outcomes,
                decoder_free: decoder_free.outcomes,
                decoder_nudged: decoder.outcomes.clone(),
                encoder_nudged: encoder.outcomes.clone(),
            },
            gradients: self.register(encoder, decoder, amplitudes),
        })
    }

    /// Both gradients under the parameters' ids; added where one network served twice.
    fn register(
        &self,
        encoder: EpGradient,
        decoder: EpGradient,
        amplitudes: Option<(ParamId, Tensor<1>)>,
    ) -> GradientsParams {
        let mut gradients = GradientsParams::new();
        if let Some((id, gradient)) = amplitudes {
            gradients.register(id, gradient);
        }
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
