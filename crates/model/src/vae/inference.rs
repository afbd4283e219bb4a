//! Encoding, decoding and reconstruction.

use burn::tensor::Tensor;
use hvae_solver::Outcome;

use crate::dynamics::feed_forward::feed_forward;
use crate::dynamics::relaxation::{Equilibrium, Relaxation};
use crate::dynamics::substrate::Exact;
use crate::energy::per_layer::PerLayer;
use crate::eqprop::phases::PhaseSettings;
use crate::error::ModelError;
use crate::vae::coding::Coding;
use crate::vae::kind::Kind;
use crate::vae::likelihood::{Decoding, Likelihood, squared_error};
use crate::vae::model::Vae;
use crate::vae::outcomes::PhaseOutcomes;
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
    /// The dynamics with the images `[batch, pixels]` clamped, in exact arithmetic.
    ///
    /// # Errors
    ///
    /// [`ModelError::Network`] for an F-VAE, which has no equilibria; [`ModelError::Shape`] when
    /// `images` has another width.
    pub fn encoder_phase(&self, images: Tensor<2>) -> Result<Relaxation<'_>, ModelError> {
        self.require_equilibria()?;
        self.encoding().forward(images, &Exact)
    }

    /// The dynamics with the latents `[batch, latent]` clamped, in exact arithmetic.
    ///
    /// # Errors
    ///
    /// [`ModelError::Network`] for an F-VAE, which has no equilibria; [`ModelError::Shape`] when
    /// `latents` has another width.
    pub fn decoder_phase(&self, latents: Tensor<2>) -> Result<Relaxation<'_>, ModelError> {
        self.require_equilibria()?;
        self.decoding().forward(latents, &Exact)
    }

    /// `q(z|x)` of the images `[batch, pixels]`, and how its phase ended.
    ///
    /// # Errors
    ///
    /// [`ModelError::Shape`] when `images` has another width.
    pub fn encode(
        &self,
        images: Tensor<2>,
        phases: &PhaseSettings,
    ) -> Result<(Posterior, Vec<Outcome>), ModelError> {
        let encoding = self.encoding();
        if self.kind() == Kind::FVae {
            let states = feed_forward(encoding.network, images)?;
            return Ok((self.posterior(&states), Vec::new()));
        }
        let free = phases.free(&encoding.forward(images, phases.substrate())?)?;
        Ok((self.posterior(&free.states), free.outcomes))
    }

    /// What the latents `[batch, latent]` decode to, and how its phase ended.
    ///
    /// # Errors
    ///
    /// [`ModelError::Shape`] when `latents` has another width.
    pub fn decode(
        &self,
        latents: Tensor<2>,
        phases: &PhaseSettings,
    ) -> Result<(Decoding, Vec<Outcome>), ModelError> {
        let decoding = self.decoding();
        if self.kind() == Kind::FVae {
            let states = feed_forward(decoding.network, latents)?;
            return Ok((self.decoded(&states), Vec::new()));
        }
        let free = phases.free(&decoding.forward(latents, phases.substrate())?)?;
        Ok((self.decoded(&free.states), free.outcomes))
    }

    /// Encodes and decodes the images `[batch, pixels]`, at the posterior mean, or with `noise`
    /// (`[batch, latent]`) at a sample of the posterior.
    ///
    /// # Errors
    ///
    /// As [`Self::encode`]; [`ModelError::Shape`] also when `noise` is not `[batch, latent]`.
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

    /// The gain of one sweep of encoding and decoding at their free equilibria, each `[batch]`; see
    /// [`Relaxation::loop_gain`].
    ///
    /// # Errors
    ///
    /// As [`Self::encoder_phase`].
    pub fn loop_gains(
        &self,
        images: Tensor<2>,
        phases: &PhaseSettings,
        iterations: usize,
    ) -> Result<(Tensor<1>, Tensor<1>), ModelError> {
        let encoder = self.encoder_phase(images)?;
        let free = phases.free(&encoder)?;
        let decoder = self.decoder_phase(self.posterior(&free.states).mean)?;
        let image = phases.free(&decoder)?;
        let gain = |r: &Relaxation<'_>, e: &Equilibrium| r.loop_gain(&r.free_state(e), iterations);
        Ok((gain(&encoder, &free)?, gain(&decoder, &image)?))
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

    /// The image in the states of the decoder's layers.
    pub(crate) fn decoded(&self, states: &PerLayer<Tensor<2>>) -> Decoding {
        let Coding { network, output, .. } = self.decoding();
        let images = states[output].clone();
        let logits = (self.config.likelihood == Likelihood::Bernoulli)
            .then(|| network.input(output, |k| states.get(k)));
        Decoding { images, logits }
    }
}
