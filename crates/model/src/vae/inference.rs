//! Encoding, decoding and reconstruction.

use burn::tensor::Tensor;
use hvae_solver::Outcome;

use crate::dynamics::{Equilibrium, Relaxation, Wiring};
use crate::energy::PerLayer;
use crate::eqprop::PhaseSettings;
use crate::error::ModelError;
use crate::vae::baseline::feed_forward;
use crate::vae::coding::Coding;
use crate::vae::config::Kind;
use crate::vae::likelihood::{Decoding, Likelihood, squared_error};
use crate::vae::model::Vae;
use crate::vae::outcomes::{PerSide, PhaseOutcomes};
use crate::vae::posterior::Posterior;

/// An image batch, its posterior and reconstruction.
#[derive(Debug)]
pub struct Reconstruction {
    /// `q(z|x)`.
    pub posterior: Posterior,
    /// The latents that were decoded, `[batch, latent]`.
    pub latents: Tensor<2>,
    /// `x^`, `[batch, pixels]`.
    pub images: Tensor<2>,
    /// Sum over pixels of `(x^ - x)^2` per sample, `[batch]`.
    pub error: Tensor<1>,
    /// `ln p(x|z)` per sample in nats, `[batch]`.
    pub log_likelihood: Tensor<1>,
    /// How the free phases ended.
    pub outcomes: PhaseOutcomes,
}

impl Vae {
    /// The dynamics with the images `[batch, pixels]` clamped, as the substrate of `phases` carries
    /// them out.
    ///
    /// # Errors
    ///
    /// For an F-VAE, which has no equilibria, and for images of another width.
    pub fn encoder_phase<'n>(
        &'n self,
        images: Tensor<2>,
        phases: &'n PhaseSettings,
    ) -> Result<Relaxation<'n>, ModelError> {
        self.require_equilibria()?;
        self.encoding().forward(images, phases)
    }

    /// The dynamics with the latents `[batch, latent]` clamped, likewise.
    ///
    /// # Errors
    ///
    /// As [`Self::encoder_phase`].
    pub fn decoder_phase<'n>(
        &'n self,
        latents: Tensor<2>,
        phases: &'n PhaseSettings,
    ) -> Result<Relaxation<'n>, ModelError> {
        self.require_equilibria()?;
        self.decoding().forward(latents, phases)
    }

    /// `q(z|x)` of the images `[batch, pixels]`, and how its phase ended.
    ///
    /// # Errors
    ///
    /// For images of another width.
    pub fn encode(
        &self,
        images: Tensor<2>,
        phases: &PhaseSettings,
    ) -> Result<(Posterior, Vec<Outcome>), ModelError> {
        let (free, _) = self.pass(&self.encoding(), images, phases)?;
        Ok((self.posterior(&free.states), free.outcomes))
    }

    /// What the latents `[batch, latent]` decode to, and how its phase ended.
    ///
    /// # Errors
    ///
    /// For latents of another width.
    pub fn decode(
        &self,
        latents: Tensor<2>,
        phases: &PhaseSettings,
    ) -> Result<(Decoding, Vec<Outcome>), ModelError> {
        let (free, wiring) = self.pass(&self.decoding(), latents, phases)?;
        Ok((self.decoded(&free.states, &wiring), free.outcomes))
    }

    /// The free equilibrium with `input` clamped; the states of an F-VAE, which has no outcomes.
    fn pass<'n>(
        &self,
        coding: &Coding<'n>,
        input: Tensor<2>,
        phases: &'n PhaseSettings,
    ) -> Result<(Equilibrium, Wiring<'n>), ModelError> {
        if self.kind() == Kind::FVae {
            let states = feed_forward(coding.network, input)?;
            let wiring = Wiring::exact(coding.network);
            return Ok((Equilibrium { states, outcomes: Vec::new(), inputs: None }, wiring));
        }
        let phase = coding.forward(input, phases)?;
        Ok((phases.free(&phase)?, phase.wiring))
    }

    /// Encodes and decodes the images `[batch, pixels]`, at the posterior mean, or with `noise`
    /// (`[batch, latent]`) at a sample of the posterior.
    ///
    /// # Errors
    ///
    /// As [`Self::encode`], and for noise of another shape.
    pub fn reconstruct(
        &self,
        images: Tensor<2>,
        noise: Option<Tensor<2>>,
        phases: &PhaseSettings,
    ) -> Result<Reconstruction, ModelError> {
        if let Some(noise) = &noise {
            self.require_noise(&images, noise)?;
        }
        let (posterior, encoder_free) = self.encode(images.clone(), phases)?;
        let latents = match noise {
            Some(noise) => posterior.sample(noise),
            None => posterior.mean.clone(),
        };
        let (decoding, decoder_free) = self.decode(latents.clone(), phases)?;
        let log_likelihood = self.config.log_likelihood(&decoding, &images)?;
        let images = decoding.images.clone() - images;
        Ok(Reconstruction {
            posterior,
            latents,
            images: decoding.images,
            error: squared_error(images),
            log_likelihood,
            outcomes: PhaseOutcomes { encoder_free, decoder_free, ..PhaseOutcomes::default() },
        })
    }

    /// The gain of one sweep at the free equilibrium of each side, `[batch]`, the decoder's at the
    /// posterior mean; see [`Relaxation::loop_gain`].
    ///
    /// # Errors
    ///
    /// As [`Self::encoder_phase`].
    pub fn loop_gains(
        &self,
        images: Tensor<2>,
        phases: &PhaseSettings,
        iterations: usize,
    ) -> Result<PerSide<Tensor<1>>, ModelError> {
        let encoder = self.encoder_phase(images, phases)?;
        let free = phases.free(&encoder)?;
        let decoder = self.decoder_phase(self.posterior(&free.states).mean, phases)?;
        let image = phases.free(&decoder)?;
        let gain = |r: &Relaxation<'_>, e: &Equilibrium| r.loop_gain(&r.free_state(e), iterations);
        Ok(PerSide { encoder: gain(&encoder, &free)?, decoder: gain(&decoder, &image)? })
    }

    /// The posterior in the states of the encoder's layers.
    pub(crate) fn posterior(&self, states: &PerLayer<Tensor<2>>) -> Posterior {
        let mean = states[self.mean_layer()].clone();
        let log_variance = match (self.log_variance_layer(), self.config.sigma) {
            (Some(layer), _) => states[layer].clone(),
            (None, sigma) => {
                let sigma = sigma.expect("without log-variances sigma is fixed");
                mean.full_like(2.0 * sigma.ln())
            }
        };
        Posterior { mean, log_variance }
    }

    /// The image in the states of the decoder's layers, which act on it through `wiring`.
    pub(crate) fn decoded(&self, states: &PerLayer<Tensor<2>>, wiring: &Wiring<'_>) -> Decoding {
        let layer = self.image_layer();
        let images = states[layer].clone();
        let gain = wiring.network.spec(layer).gain;
        let input = || wiring.input(layer, |k| states.get(k), images.dims()[0]);
        let logits =
            (self.config.likelihood == Likelihood::Bernoulli).then(|| input().mul_scalar(gain));
        Decoding { images, logits }
    }
}
