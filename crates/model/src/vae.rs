//! The VAE: two networks, their phases, and one training step.

use std::sync::Arc;

use burn::module::{Module, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use hvae_solver::{Outcome, StoppingRule};
use rand::Rng;

use crate::eqprop::{self, Beta, EpGradient, Force, Nudge, Strength};
use crate::latent::Posterior;
use crate::quiet::{Agreement, StepLosses};
use crate::relax::{Equilibrium, Relaxation, Role};
use crate::{EpConfig, HopfieldNetwork, Kind, Layer, ModelError, VaeConfig};

/// A variational autoencoder whose encoder and decoder are Hopfield networks (H-VAE; after
/// Van Der Meersch et al. 2023, arXiv 2311.15047).
///
/// Encoder: the image is clamped, the hidden layers relax together with the means and
/// log-variances of the posterior. Decoder: the latent is clamped, the hidden layers relax
/// together with the image.
///
/// As an F-VAE ([`Kind::FVae`]) it has the same layers and parameters, but signals pass through
/// them once, without feedback, and its gradients come from backpropagation.
#[derive(Module, Debug)]
pub struct Vae {
    /// Layers `image`, `hidden1..`, `mean`, `log_variance`.
    pub encoder: HopfieldNetwork,
    /// Layers `latent`, `hidden1..`, `image`.
    pub decoder: HopfieldNetwork,
    /// Weight `w` of the reconstruction cost `w/2 |x^ - x|^2`.
    pub precision: f64,
    /// Which member of the family.
    #[module(skip)]
    pub kind: Kind,
}

/// When and how a phase is run, checked.
#[derive(Debug, Clone)]
pub struct Phases {
    free: StoppingRule,
    damping: f64,
    pub(crate) nudge: Nudge,
    pub(crate) quiet: bool,
    pub(crate) agreement: Option<Arc<dyn Agreement>>,
}

impl Phases {
    /// The phases of `config`.
    ///
    /// # Errors
    ///
    /// [`ModelError::Setting`] or [`ModelError::Solver`], naming the setting.
    pub fn new(config: &EpConfig) -> Result<Self, ModelError> {
        let positive = config.nudge.is_finite() && config.nudge > 0.0;
        crate::error::require(positive, "nudge", config.nudge, "must be a positive number")?;
        for (name, sweeps) in [
            ("free_sweeps", config.free_sweeps),
            ("nudged_sweeps", config.nudged_sweeps),
            ("check_every", config.check_every),
        ] {
            crate::error::require(sweeps >= 1, name, sweeps, "must be at least 1")?;
        }
        for (name, tolerance) in
            [("tolerance", config.tolerance), ("nudged_tolerance", config.nudged_tolerance)]
        {
            let valid = tolerance.is_finite() && tolerance >= 0.0;
            crate::error::require(valid, name, tolerance, "must be 0 or more")?;
        }
        hvae_solver::Damped::new(config.damping)?;
        let rule = |tolerance, sweeps| {
            StoppingRule::new(tolerance, sweeps)?.with_check_every(config.check_every)
        };
        let nudge = Nudge {
            strength: Strength::Size(config.nudge),
            nudging: config.nudging,
            damping: config.damping,
            rule: rule(config.nudged_tolerance, config.nudged_sweeps)?,
        };
        Ok(Self {
            free: rule(config.tolerance, config.free_sweeps)?,
            damping: config.damping,
            nudge,
            quiet: false,
            agreement: None,
        })
    }

    /// The same phases for a device that computes while the host goes on: batches stay whole,
    /// nudging strengths and losses stay on the device, and it is read at convergence checks
    /// alone. Numbers are the same up to rounding.
    #[must_use]
    pub fn quiet(mut self) -> Self {
        self.quiet = true;
        self.free = self.free.with_whole_batch();
        self.nudge.rule = self.nudge.rule.with_whole_batch();
        if let Strength::Size(size) = self.nudge.strength {
            self.nudge.strength = Strength::SizeOnDevice(size);
        }
        self
    }

    /// The same phases for one of several workers, who nudge as `agreement` says.
    #[must_use]
    pub fn agreed(mut self, agreement: Arc<dyn Agreement>) -> Self {
        self.agreement = Some(agreement);
        self
    }
}

/// How each sample of each phase of a step ended.
#[derive(Debug, Clone, Default)]
pub struct PhaseOutcomes {
    /// Encoder, image clamped.
    pub encoder_free: Vec<Outcome>,
    /// Decoder, latent clamped.
    pub decoder_free: Vec<Outcome>,
    /// Decoder with the reconstruction cost; with centred nudging both signs.
    pub decoder_nudged: Vec<Outcome>,
    /// Encoder with the cost handed down; with centred nudging both signs.
    pub encoder_nudged: Vec<Outcome>,
}

/// The gradients of one step and what was seen on the way.
#[derive(Debug)]
pub struct TrainingStep {
    /// The gradient of the batch's mean cost, under the parameters' ids.
    pub gradients: GradientsParams,
    /// Sum over pixels of `(x^ - x)^2` at the sampled latent, and `KL(q(z|x) || p(z))` in nats;
    /// means over the batch.
    pub losses: StepLosses,
    /// Nudging strengths used in encoder and decoder; `None` without nudging.
    pub betas: Option<[Beta; 2]>,
    /// How the phases ended.
    pub outcomes: PhaseOutcomes,
}

/// An image batch, its posterior and reconstruction.
#[derive(Debug)]
pub struct Reconstruction {
    /// `q(z|x)`.
    pub posterior: Posterior,
    /// `x^`, `[batch, pixels]`.
    pub images: Tensor<2>,
    /// Sum over pixels of `(x^ - x)^2` per sample, `[batch]`.
    pub error: Tensor<1>,
    /// How the free phases ended.
    pub outcomes: PhaseOutcomes,
}

impl Vae {
    /// A new model for images of `pixels` pixels.
    ///
    /// # Errors
    ///
    /// [`ModelError::Setting`] as [`VaeConfig::check`].
    pub fn new(
        config: &VaeConfig,
        pixels: usize,
        rng: &mut impl Rng,
        device: &Device,
    ) -> Result<Self, ModelError> {
        config.check()?;
        let hidden = config.hidden.len();
        let mut chain: Vec<_> = (0..=hidden).map(|l| (l, l + 1)).collect();
        let decoder = HopfieldNetwork::new(config.decoder_layers(pixels), &chain, rng, device)?;
        chain.push((hidden, hidden + 2));
        let mut encoder = HopfieldNetwork::new(config.encoder_layers(pixels), &chain, rng, device)?;
        let start = config.initial_log_variance / config.outer(config.latent_gain);
        let bias = Tensor::full([config.latent], start, device);
        encoder.layers[hidden + 2].bias = Some(Param::from_tensor(bias));
        Ok(Self { encoder, decoder, precision: config.precision, kind: config.kind })
    }

    /// Pixels of an image.
    pub fn pixels(&self) -> usize {
        self.encoder.layers[0].spec.size
    }

    /// Latent dimensions.
    pub fn latent(&self) -> usize {
        self.decoder.layers[0].spec.size
    }

    fn mean_layer(&self) -> usize {
        self.encoder.layers.len() - 2
    }

    fn image_layer(&self) -> usize {
        self.decoder.layers.len() - 1
    }

    /// The encoder's dynamics with the images `[batch, pixels]` clamped.
    ///
    /// # Errors
    ///
    /// [`ModelError::Shape`] when `images` has another width.
    pub fn encoder_phase(&self, images: Tensor<2>) -> Result<Relaxation<'_>, ModelError> {
        Relaxation::new(&self.encoder, first_clamped(&self.encoder, images))
    }

    /// The decoder's dynamics with the latents `[batch, latent]` clamped.
    ///
    /// # Errors
    ///
    /// [`ModelError::Shape`] when `latents` has another width.
    pub fn decoder_phase(&self, latents: Tensor<2>) -> Result<Relaxation<'_>, ModelError> {
        Relaxation::new(&self.decoder, first_clamped(&self.decoder, latents))
    }

    /// `q(z|x)` of the images `[batch, pixels]`.
    ///
    /// # Errors
    ///
    /// As [`Self::encoder_phase`].
    pub fn encode(
        &self,
        images: Tensor<2>,
        phases: &Phases,
    ) -> Result<(Posterior, Vec<Outcome>), ModelError> {
        if self.kind == Kind::FVae {
            let mut states = self.encoder.feed_forward(images)?;
            let log_variance = states.swap_remove(self.mean_layer() + 1);
            let mean = states.swap_remove(self.mean_layer());
            return Ok((Posterior { mean, log_variance }, Vec::new()));
        }
        let free = free_phase(&self.encoder_phase(images)?, phases)?;
        Ok((self.posterior(&free), free.outcomes))
    }

    /// The images `x^` at the latents `[batch, latent]`, `[batch, pixels]`.
    ///
    /// # Errors
    ///
    /// As [`Self::decoder_phase`].
    pub fn decode(
        &self,
        latents: Tensor<2>,
        phases: &Phases,
    ) -> Result<(Tensor<2>, Vec<Outcome>), ModelError> {
        if self.kind == Kind::FVae {
            let image = self.decoder.feed_forward(latents)?.swap_remove(self.image_layer());
            return Ok((image, Vec::new()));
        }
        let free = free_phase(&self.decoder_phase(latents)?, phases)?;
        Ok((free.state(self.image_layer()), free.outcomes))
    }

    /// Encodes and decodes the images `[batch, pixels]`, at the posterior mean, or with `noise`
    /// (`[batch, latent]`) at a sample of the posterior.
    ///
    /// # Errors
    ///
    /// As [`Self::encoder_phase`].
    pub fn reconstruct(
        &self,
        images: Tensor<2>,
        noise: Option<Tensor<2>>,
        phases: &Phases,
    ) -> Result<Reconstruction, ModelError> {
        let (posterior, encoder_free) = self.encode(images.clone(), phases)?;
        let latents = match noise {
            Some(noise) => posterior.sample(noise),
            None => posterior.mean.clone(),
        };
        let (reconstructed, decoder_free) = self.decode(latents, phases)?;
        let error = squared_error(reconstructed.clone() - images);
        let outcomes = PhaseOutcomes { encoder_free, decoder_free, ..PhaseOutcomes::default() };
        Ok(Reconstruction { posterior, images: reconstructed, error, outcomes })
    }

    /// The gradient of `w/2 |x^ - x|^2 + kl_weight KL(q || p)`, averaged over the batch: of an
    /// H-VAE by equilibrium propagation alone, of an F-VAE by backpropagation. `images` is `[batch, pixels]`, `noise` `[batch, latent]`.
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
        if self.kind == Kind::FVae {
            return self.backpropagation_step(images, noise, kl_weight, phases);
        }
        let encoder_phase = self.encoder_phase(images.clone())?;
        let encoder_free = free_phase(&encoder_phase, phases)?;
        let posterior = self.posterior(&encoder_free);

        let decoder_phase = self.decoder_phase(posterior.sample(noise.clone()))?;
        let decoder_free = free_phase(&decoder_phase, phases)?;
        let image = self.image_layer();
        let error = decoder_free.state(image) - images;
        let force = Force { layer: image, force: error.clone().mul_scalar(self.precision) };
        let nudge = phases.nudge_for(&self.decoder, std::slice::from_ref(&force))?;
        let decoder =
            eqprop::gradient(&self.decoder, &decoder_phase, &decoder_free, &[force], &nudge)?;

        let cost = decoder.input(&self.decoder, 0);
        let (mean, log_variance) = posterior.gradient(&cost, noise, kl_weight);
        let layer = self.mean_layer();
        let forces =
            [Force { layer, force: mean }, Force { layer: layer + 1, force: log_variance }];
        let nudge = phases.nudge_for(&self.encoder, &forces)?;
        let encoder =
            eqprop::gradient(&self.encoder, &encoder_phase, &encoder_free, &forces, &nudge)?;

        Ok(TrainingStep {
            gradients: self.register(&encoder, &decoder),
            losses: self.losses(squared_error(error), posterior.divergence(), phases)?,
            betas: Some([encoder.beta, decoder.beta]),
            outcomes: PhaseOutcomes {
                encoder_free: encoder_free.outcomes,
                decoder_free: decoder_free.outcomes,
                decoder_nudged: decoder.outcomes,
                encoder_nudged: encoder.outcomes,
            },
        })
    }

    /// The gain of one sweep of encoder and decoder at their free equilibria, each `[batch]`; see
    /// [`Relaxation::loop_gain`].
    ///
    /// # Errors
    ///
    /// As [`Self::encoder_phase`].
    pub fn loop_gains(
        &self,
        images: Tensor<2>,
        phases: &Phases,
        iterations: usize,
    ) -> Result<(Tensor<1>, Tensor<1>), ModelError> {
        let encoder = self.encoder_phase(images)?;
        let free = free_phase(&encoder, phases)?;
        let decoder = self.decoder_phase(self.posterior(&free).mean)?;
        let image = free_phase(&decoder, phases)?;
        let gain = |r: &Relaxation<'_>, e: &Equilibrium| r.loop_gain(&e.free, iterations);
        Ok((gain(&encoder, &free), gain(&decoder, &image)))
    }

    /// Learning-rate factor of every parameter: those of
    /// [`HopfieldNetwork::learning_rate_scales`], times `visible_rate` for the decoder's image
    /// layer, whose output saturates.
    pub fn learning_rate_scales(&self, visible_rate: f64) -> Vec<(ParamId, f64)> {
        let image = self.image_layer();
        let coupling = self.decoder.couplings.iter().find(|c| c.upper == image);
        let bias = self.decoder.layers[image].bias.as_ref();
        let visible = [coupling.map(|c| c.weight.id), bias.map(|b| b.id)];
        let mut scales = self.encoder.learning_rate_scales();
        scales.extend(self.decoder.learning_rate_scales());
        for (id, scale) in &mut scales {
            if visible.contains(&Some(*id)) {
                *scale *= visible_rate;
            }
        }
        scales
    }

    /// What a parameter is called, such as `decoder hidden1-image` or `encoder mean bias`; empty
    /// for an id that is not of this model.
    pub fn parameter_name(&self, id: ParamId) -> String {
        for (side, network) in [("encoder", &self.encoder), ("decoder", &self.decoder)] {
            let name = |k: usize| network.layers[k].spec.name.as_str();
            if let Some(c) = network.couplings.iter().find(|c| c.weight.id == id) {
                return format!("{side} {}-{}", name(c.lower), name(c.upper));
            }
            let is_its_bias = |l: &&Layer| l.bias.as_ref().is_some_and(|b| b.id == id);
            if let Some(layer) = network.layers.iter().find(is_its_bias) {
                return format!("{side} {} bias", layer.spec.name);
            }
        }
        String::new()
    }

    fn posterior(&self, free: &Equilibrium) -> Posterior {
        let layer = self.mean_layer();
        Posterior { mean: free.state(layer), log_variance: free.state(layer + 1) }
    }

    fn register(&self, encoder: &EpGradient, decoder: &EpGradient) -> GradientsParams {
        let mut gradients = GradientsParams::new();
        encoder.register(&self.encoder, &mut gradients);
        decoder.register(&self.decoder, &mut gradients);
        gradients
    }
}

/// The first layer clamped, the others free.
fn first_clamped(network: &HopfieldNetwork, state: Tensor<2>) -> Vec<Role> {
    let mut roles = vec![Role::Clamped(state)];
    roles.resize(network.layers.len(), Role::Free);
    roles
}

fn free_phase(relaxation: &Relaxation<'_>, phases: &Phases) -> Result<Equilibrium, ModelError> {
    relaxation.free_equilibrium(phases.damping, &phases.free)
}

/// `sum (difference)^2` of every row, `[batch]`.
fn squared_error(difference: Tensor<2>) -> Tensor<1> {
    difference.square().sum_dim(1).squeeze_dim(1)
}
