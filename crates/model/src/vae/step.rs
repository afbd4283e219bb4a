//! One training step: four phases, two differences of states, no backward pass.

use burn::module::ParamId;
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

use crate::dynamics::{Equilibrium, Relaxation};
use crate::energy::HopfieldNetwork;
use crate::eqprop::{Cost, EpGradient, Force, PhaseSettings, Readout, SampleMask, valid_samples};
use crate::error::ModelError;
use crate::vae::config::Kind;
use crate::vae::likelihood::{Likelihood, squared_error};
use crate::vae::losses::Losses;
use crate::vae::model::Vae;
use crate::vae::outcomes::{PerSide, PhaseOutcomes, TrainingStep};
use crate::vae::posterior::PosteriorGradient;

impl Vae {
    /// The gradient of `-ln p(x|z) + kl_weight KL(q || p)`, averaged over the batch, by equilibrium
    /// propagation; of an F-VAE by backpropagation. `images` is `[batch, pixels]`, `noise`
    /// `[batch, latent]`.
    ///
    /// The cost of a Gaussian decoder acts on the image layer, as the force `w (x^ - x)` at the
    /// free equilibrium. That of a Bernoulli decoder acts on the layers coupled with it, as a
    /// [`Readout`] `x^ = sigmoid(a)`, whose force is bounded.
    ///
    /// # Errors
    ///
    /// When images or noise have another shape, a force, a reconstruction or a divergence of a
    /// sample that is not dropped is not finite (with
    /// [`ReadPolicy::Deferred`](crate::ReadPolicy::Deferred) by [`Self::read_losses`]), or another
    /// worker of the step has failed.
    pub fn training_step(
        &self,
        images: Tensor<2>,
        noise: Tensor<2>,
        kl_weight: f64,
        phases: &PhaseSettings,
    ) -> Result<TrainingStep, ModelError> {
        self.require_noise(&images, &noise)?;
        if self.kind() == Kind::FVae {
            return self.backpropagation_step(images, noise, kl_weight, phases);
        }
        let encoder_phase = self.encoder_phase(images.clone(), phases)?;
        let encoder_free = phases.free(&encoder_phase)?;
        let posterior = self.posterior(&encoder_free.states);

        let latents = posterior.sample(noise.clone());
        let decoder_phase = self.decoder_phase(latents.clone(), phases)?;
        let decoder_free = phases.free(&decoder_phase)?;
        let decoded = self.decoded(&decoder_free.states, &decoder_phase.wiring);
        let log_likelihood = self.config.log_likelihood(&decoded, &images)?;
        let error = decoded.images - images;
        let decoder =
            self.reconstruction_gradient(error.clone(), &decoder_phase, &decoder_free, phases)?;

        let unconverged = phases.nudge.unconverged;
        let divergence = self.prior().divergence(&posterior, &latents);
        let of_divergence = self.prior().divergence_gradient(&posterior, &latents);
        let valid_latents = || {
            let valid = valid_samples(unconverged, &[&decoder_free.outcomes, &decoder.outcomes]);
            SampleMask::new(&valid, &latents.device()).apply(latents.clone())
        };
        let backward = self.decoding().backward(&decoder_phase, &decoder, valid_latents);
        let gradient = posterior.gradient(&backward.input, noise, of_divergence, kl_weight);
        let forces = self.posterior_forces(gradient);
        let encoder = phases.gradient(&encoder_phase, &encoder_free, Cost::Forces(&forces))?;

        let free = [&encoder_free.outcomes[..], &decoder_free.outcomes];
        let all = [free[0], free[1], &decoder.outcomes, &encoder.outcomes];
        let valid = valid_samples(unconverged, &all);
        let mut counted = valid_samples(unconverged, &free);
        if !counted.contains(&true) {
            counted.fill(true);
        }
        let mask = SampleMask::new(&counted, &error.device());
        let losses = Losses { reconstruction: squared_error(error), log_likelihood, divergence };
        let amplitudes = self.amplitudes.as_ref().zip(backward.scale);
        let amplitudes = amplitudes.map(|(a, of_each)| (a.id, of_each.mean_dim(0).squeeze_dim(0)));
        let betas = PerSide { encoder: encoder.beta().clone(), decoder: decoder.beta().clone() };
        let outcomes = PhaseOutcomes {
            encoder_free: encoder_free.outcomes,
            decoder_free: decoder_free.outcomes,
            decoder_nudged: decoder.outcomes.clone(),
            encoder_nudged: encoder.outcomes.clone(),
        };
        let mut gradients = self.register(encoder, decoder, amplitudes);
        self.prior().accumulate_gradient(&latents, &valid, kl_weight, &mut gradients);
        Ok(TrainingStep {
            gradients,
            losses: self.losses(losses, &mask, phases.read_policy())?,
            counted: mask.count(),
            dropped: valid.iter().filter(|valid| !**valid).count(),
            betas: Some(betas),
            outcomes,
        })
    }

    /// The gradient of the reconstruction cost of a decoder, from the `error` `x^ - x` (`[batch,
    /// pixels]`) at its free equilibrium.
    pub(crate) fn reconstruction_gradient(
        &self,
        error: Tensor<2>,
        decoder: &Relaxation<'_>,
        free: &Equilibrium,
        phases: &PhaseSettings,
    ) -> Result<EpGradient, ModelError> {
        let layer = self.decoding().output;
        match self.config.likelihood {
            Likelihood::Gaussian => {
                let force = Force { layer, force: error.mul_scalar(self.config.precision) };
                phases.gradient(decoder, free, Cost::Forces(&[force]))
            }
            Likelihood::Bernoulli => {
                phases.gradient(decoder, free, Cost::Readout(&Readout { layer, error }))
            }
        }
    }

    /// The forces of a cost with this gradient in the posterior on the encoder's outputs.
    fn posterior_forces(&self, gradient: PosteriorGradient) -> Vec<Force> {
        let mut forces = vec![Force { layer: self.mean_layer(), force: gradient.mean }];
        let layer = self.log_variance_layer();
        forces.extend(layer.map(|layer| Force { layer, force: gradient.log_variance }));
        forces
    }

    /// Both gradients under the parameters' ids; summed for a weight-tied network.
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
