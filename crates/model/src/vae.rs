//! The VAE: its networks in their two uses, encoding and decoding.

use burn::module::{Module, Param, ParamId};
use burn::tensor::{Device, Tensor};
use hvae_solver::Outcome;
use rand::Rng;

use crate::eqprop::EpGradient;
use crate::error::{require, require_shape};
use crate::latent::Posterior;
use crate::likelihood::{Decoding, squared_error};
use crate::phases::{PhaseOutcomes, Phases};
use crate::relax::{Equilibrium, Relaxation, Role};
use crate::{HopfieldNetwork, Kind, Layer, Likelihood, ModelError, VaeConfig};

/// Factor on the learning rate of a tied network's amplitudes: they begin at 1 and end between a half
/// and two, and until then the means spread too far, or too little.
const AMPLITUDE_RATE: f64 = 5.0;

/// A variational autoencoder made of Hopfield networks (after Van Der Meersch et al. 2023, arXiv
/// 2311.15047).
///
/// Encoding: the image is clamped, the hidden layers relax together with the means and
/// log-variances of the posterior. Decoding: the latent is clamped, the hidden layers relax
/// together with the image. Separate models have a network for each; a tied one has a single
/// network that is used both ways, without its log-variances when it decodes.
///
/// As an F-VAE ([`Kind::FVae`]) it has the layers and parameters of an H-VAE, but signals pass
/// through them once, without feedback, and its gradients come from backpropagation.
#[derive(Module, Debug)]
pub struct Vae {
    /// Layers `image`, `hidden1..`, `mean` and, unless sigma is fixed, `log_variance`.
    pub encoder: HopfieldNetwork,
    /// Layers `latent`, `hidden1..`, `image`; none when the encoder is used both ways.
    pub decoder: Option<HopfieldNetwork>,
    /// By what the amplitude is multiplied at which a tied network's latents are held, `[latent]`; `None`
    /// unless they are learned.
    ///
    /// A mean and the drive of its latent come through the same weights. How wide the means spread and how
    /// strongly their latent acts on the image are two things, which these numbers tell apart: without
    /// them the latents' spread over all images differs more from the prior.
    pub amplitudes: Option<Param<Tensor<1>>>,
    /// What it is.
    #[module(skip)]
    pub config: VaeConfig,
}

/// A network in one of its uses: what is clamped and what is read.
#[derive(Debug, Clone)]
pub(crate) struct Use<'v> {
    pub(crate) network: &'v HopfieldNetwork,
    input: usize,
    pub(crate) output: usize,
    /// The clamped layer is held at so many times its value.
    amplitude: f64,
    /// Each of its units at so many times that, `[1, n]`.
    scale: Option<Tensor<2>>,
    absent: Option<usize>,
}

impl<'v> Use<'v> {
    pub(crate) fn phase(&self, input: Tensor<2>) -> Result<Relaxation<'v>, ModelError> {
        let spec = &self.network.layers[self.input].spec;
        let [batch, _] = input.dims();
        require_shape(format!("layer {}", spec.name), &input, [batch, spec.size])?;
        let input = self.amplified(self.scaled(input));
        let mut roles = vec![Role::Free; self.network.layers.len()];
        roles[self.input] = Role::Clamped(input);
        if let Some(layer) = self.absent {
            roles[layer] = Role::Absent;
        }
        Relaxation::new(self.network, roles)
    }

    fn scaled(&self, input: Tensor<2>) -> Tensor<2> {
        match &self.scale {
            Some(scale) => input * scale.clone(),
            None => input,
        }
    }

    fn amplified(&self, input: Tensor<2>) -> Tensor<2> {
        let is_one = (self.amplitude - 1.0).abs() < f64::EPSILON;
        if is_one { input } else { input.mul_scalar(self.amplitude) }
    }

    /// `dC/d(scale * input)` of every sample.
    pub(crate) fn scaled_gradient(&self, gradient: &EpGradient) -> Tensor<2> {
        self.amplified(gradient.input(self.network, self.input))
    }

    /// `dC/d(input)` of every sample, from [`Self::scaled_gradient`].
    pub(crate) fn input_gradient(&self, scaled: Tensor<2>) -> Tensor<2> {
        self.scaled(scaled)
    }
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
    /// `ln p(x|z)` per sample in nats, `[batch]`; see [`VaeConfig::log_likelihood`].
    pub log_likelihood: Tensor<1>,
    /// How the free phases ended.
    pub outcomes: PhaseOutcomes,
}

impl Vae {
    /// A new model for images of `pixels` pixels.
    ///
    /// Couplings from layer to layer start as [`HopfieldNetwork::new`] says; those of a tied
    /// network at the geometric mean of what its two directions ask for. All others, which make a
    /// network dense, start at zero: it begins as the layered one.
    ///
    /// # Errors
    ///
    /// [`ModelError::Setting`] as [`VaeConfig::check`], or without pixels; [`ModelError::Network`] for a
    /// `visible_reach` where the pixels make no square.
    pub fn new(
        config: &VaeConfig,
        pixels: usize,
        rng: &mut impl Rng,
        device: &Device,
    ) -> Result<Self, ModelError> {
        config.check()?;
        require(pixels > 0, "pixels", pixels, "an image needs at least one")?;
        let dense = config.kind.is_dense();
        let decoder = if config.kind.is_tied() {
            None
        } else {
            let (layers, couplings) = config.decoder(pixels);
            let mut decoder = HopfieldNetwork::new(layers, &couplings, rng, device)?;
            if dense {
                decoder.add_couplings(&config.extra_decoder_couplings(), device)?;
                config.keep_near(&mut decoder, config.hidden.len() + 1)?;
            }
            Some(decoder)
        };
        let (layers, couplings) = config.encoder(pixels);
        let mut encoder = HopfieldNetwork::new(layers, &couplings, rng, device)?;
        if config.kind.is_tied() {
            encoder.balance(|k| config.amplitude(k));
        }
        if dense {
            encoder.add_couplings(&config.extra_encoder_couplings(), device)?;
            if config.kind.is_tied() {
                config.keep_near(&mut encoder, 0)?;
            }
        }
        if config.sigma.is_none() {
            let layer = encoder.layers.last_mut().expect("an encoder has layers");
            let start = config.initial_log_variance / layer.spec.gain;
            layer.bias = Some(Param::from_tensor(Tensor::full([config.latent], start, device)));
        }
        let ones = || Param::from_tensor(Tensor::ones([config.latent], device));
        let learned = config.learned_amplitudes && config.kind.is_tied();
        let amplitudes = learned.then(ones);
        Ok(Self { encoder, decoder, amplitudes, config: config.clone() }.limited())
    }

    /// Which member of the family it is.
    pub fn kind(&self) -> Kind {
        self.config.kind
    }

    /// Pixels of an image.
    pub fn pixels(&self) -> usize {
        self.encoder.layers[0].spec.size
    }

    /// Latent dimensions.
    pub fn latent(&self) -> usize {
        self.config.latent
    }

    /// Number of independent parameters; see [`HopfieldNetwork::parameters`].
    pub fn parameters(&self) -> usize {
        let amplitudes = self.amplitudes.as_ref().map_or(0, |a| a.dims()[0]);
        self.networks().map(|(_, network)| network.parameters()).sum::<usize>() + amplitudes
    }

    /// The networks and what they are called.
    pub fn networks(&self) -> impl Iterator<Item = (&'static str, &HopfieldNetwork)> {
        let name = if self.decoder.is_some() { "encoder" } else { "network" };
        std::iter::once((name, &self.encoder)).chain(self.decoder.iter().map(|d| ("decoder", d)))
    }

    /// Layer of the means in the encoder; the log-variances, if there are any, come next.
    pub(crate) fn mean_layer(&self) -> usize {
        self.config.hidden.len() + 1
    }

    /// Refuses noise that is not `[batch, latent]`.
    pub(crate) fn require_noise(
        &self,
        images: &Tensor<2>,
        noise: &Tensor<2>,
    ) -> Result<(), ModelError> {
        require_shape("the noise", noise, [images.dims()[0], self.latent()])
    }

    pub(crate) fn encoding(&self) -> Use<'_> {
        let amplitude = if self.decoder.is_some() { 1.0 } else { self.config.amplitude(0) };
        let output = self.mean_layer();
        Use { network: &self.encoder, input: 0, output, amplitude, scale: None, absent: None }
    }

    pub(crate) fn decoding(&self) -> Use<'_> {
        match &self.decoder {
            Some(network) => {
                let output = network.layers.len() - 1;
                Use { network, input: 0, output, amplitude: 1.0, scale: None, absent: None }
            }
            None => {
                let input = self.mean_layer();
                let absent = self.config.sigma.is_none().then_some(input + 1);
                let amplitude = self.config.amplitude(input);
                let scale = self.amplitudes.as_ref().map(|a| a.val().unsqueeze());
                Use { network: &self.encoder, input, output: 0, amplitude, scale, absent }
            }
        }
    }

    /// Refuses a model that relaxes nowhere.
    pub(crate) fn require_equilibria(&self) -> Result<(), ModelError> {
        if self.kind() == Kind::FVae {
            let text = "an f-vae passes signals through once: it has no equilibria";
            return Err(ModelError::Network(text.to_owned()));
        }
        Ok(())
    }

    /// The dynamics with the images `[batch, pixels]` clamped.
    ///
    /// # Errors
    ///
    /// [`ModelError::Network`] for an F-VAE, which has no equilibria; [`ModelError::Shape`] when
    /// `images` has another width.
    pub fn encoder_phase(&self, images: Tensor<2>) -> Result<Relaxation<'_>, ModelError> {
        self.require_equilibria()?;
        self.encoding().phase(images)
    }

    /// The dynamics with the latents `[batch, latent]` clamped.
    ///
    /// # Errors
    ///
    /// [`ModelError::Network`] for an F-VAE, which has no equilibria; [`ModelError::Shape`] when
    /// `latents` has another width.
    pub fn decoder_phase(&self, latents: Tensor<2>) -> Result<Relaxation<'_>, ModelError> {
        self.require_equilibria()?;
        self.decoding().phase(latents)
    }

    /// `q(z|x)` of the images `[batch, pixels]`.
    ///
    /// # Errors
    ///
    /// [`ModelError::Shape`] when `images` has another width.
    pub fn encode(
        &self,
        images: Tensor<2>,
        phases: &Phases,
    ) -> Result<(Posterior, Vec<Outcome>), ModelError> {
        if self.kind() == Kind::FVae {
            let states = self.encoder.feed_forward(images)?;
            return Ok((self.posterior_of(&states), Vec::new()));
        }
        let free = phases.free(&self.encoder_phase(images)?)?;
        Ok((self.posterior(&free), free.outcomes))
    }

    /// What the latents `[batch, latent]` decode to.
    ///
    /// # Errors
    ///
    /// [`ModelError::Shape`] when `latents` has another width.
    pub fn decode(
        &self,
        latents: Tensor<2>,
        phases: &Phases,
    ) -> Result<(Decoding, Vec<Outcome>), ModelError> {
        let decoding = self.decoding();
        if self.kind() == Kind::FVae {
            let states = decoding.network.feed_forward(latents)?;
            let states: Vec<_> = states.into_iter().map(Some).collect();
            return Ok((self.decoded(&states), Vec::new()));
        }
        let free = phases.free(&decoding.phase(latents)?)?;
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
        phases: &Phases,
    ) -> Result<Reconstruction, ModelError> {
        if let Some(noise) = &noise {
            self.require_noise(&images, noise)?;
        }
        let (posterior, encoder_free) = self.encode(images.clone(), phases)?;
        let latents = match noise {
            Some(noise) => posterior.sample(noise),
            None => posterior.mean.clone(),
        };
        let (decoding, decoder_free) = self.decode(latents, phases)?;
        let log_likelihood = self.config.log_likelihood(&decoding, &images)?;
        let error = squared_error(decoding.images.clone() - images);
        let outcomes = PhaseOutcomes { encoder_free, decoder_free, ..PhaseOutcomes::default() };
        Ok(Reconstruction { posterior, images: decoding.images, error, log_likelihood, outcomes })
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
        phases: &Phases,
        iterations: usize,
    ) -> Result<(Tensor<1>, Tensor<1>), ModelError> {
        let encoder = self.encoder_phase(images)?;
        let free = phases.free(&encoder)?;
        let decoder = self.decoder_phase(self.posterior(&free).mean)?;
        let image = phases.free(&decoder)?;
        let gain = |r: &Relaxation<'_>, e: &Equilibrium| r.loop_gain(&e.free, iterations);
        Ok((gain(&encoder, &free)?, gain(&decoder, &image)?))
    }

    /// Learning-rate factor of every parameter: those of
    /// [`HopfieldNetwork::learning_rate_scales`], times `visible_rate` for what leads to the
    /// decoder's image layer, whose output saturates; 5 for [`Self::amplitudes`].
    pub fn learning_rate_scales(&self, visible_rate: f64) -> Vec<(ParamId, f64)> {
        let tied = self.decoder.is_none();
        let amplitude = |k: usize| if tied { self.config.amplitude(k) } else { 1.0 };
        let decoding = self.decoding();
        let (image, network) = (decoding.output, decoding.network);
        let couplings = network.couplings.iter().filter(|c| c.lower == image || c.upper == image);
        let mut visible: Vec<ParamId> = couplings.map(|c| c.weight.id).collect();
        visible.extend(network.layers[image].bias.as_ref().map(|b| b.id));
        let mut scales: Vec<_> =
            self.networks().flat_map(|(_, n)| n.learning_rate_scales(amplitude)).collect();
        scales.extend(self.amplitudes.as_ref().map(|a| (a.id, AMPLITUDE_RATE)));
        for (id, scale) in &mut scales {
            if visible.contains(id) {
                *scale *= visible_rate;
            }
        }
        scales
    }

    /// Keeps the weights where equilibria exist: of dense and tied models, couplings among layers
    /// that relax together are scaled down to `config.coupling_limit` where they exceed it; see
    /// [`HopfieldNetwork::limit_couplings`]. Others are left alone.
    #[must_use]
    pub fn limited(mut self) -> Self {
        let (limit, tied) = (self.config.coupling_limit, self.kind().is_tied());
        if tied {
            self.encoder = self.encoder.limit_couplings(limit, |_| true);
        } else if self.kind().is_dense() {
            self.encoder = self.encoder.limit_couplings(limit, |k| k > 0);
            self.decoder = self.decoder.map(|d| d.limit_couplings(limit, |k| k > 0));
        }
        self
    }

    /// What a parameter is called, such as `decoder hidden1-image` or `encoder mean bias`; empty
    /// for an id that is not of this model.
    pub fn parameter_name(&self, id: ParamId) -> String {
        for (side, network) in self.networks() {
            let name = |k: usize| network.layers[k].spec.name.as_str();
            if let Some(c) = network.couplings.iter().find(|c| c.weight.id == id) {
                return format!("{side} {}-{}", name(c.lower), name(c.upper));
            }
            let is_its_bias = |l: &&Layer| l.bias.as_ref().is_some_and(|b| b.id == id);
            if let Some(layer) = network.layers.iter().find(is_its_bias) {
                return format!("{side} {} bias", layer.spec.name);
            }
        }
        let is_amplitude = self.amplitudes.as_ref().is_some_and(|a| a.id == id);
        if is_amplitude { "latent amplitudes".to_owned() } else { String::new() }
    }

    pub(crate) fn posterior(&self, free: &Equilibrium) -> Posterior {
        let layer = self.mean_layer();
        let log_variance = self.config.sigma.is_none().then(|| free.state(layer + 1));
        self.posterior_from(free.state(layer), log_variance)
    }

    /// The posterior in the states of all the encoder's layers.
    pub(crate) fn posterior_of(&self, states: &[Tensor<2>]) -> Posterior {
        let layer = self.mean_layer();
        self.posterior_from(states[layer].clone(), states.get(layer + 1).cloned())
    }

    fn posterior_from(&self, mean: Tensor<2>, log_variance: Option<Tensor<2>>) -> Posterior {
        let log_variance = log_variance.unwrap_or_else(|| {
            let sigma = self.config.sigma.expect("without log-variances sigma is fixed");
            mean.full_like(2.0 * sigma.ln())
        });
        Posterior { mean, log_variance }
    }

    /// What the states of all layers, when decoding, say of the image.
    pub(crate) fn decoded(&self, states: &[Option<Tensor<2>>]) -> Decoding {
        let Use { network, output, .. } = self.decoding();
        let images = states[output].clone().expect("the image takes part in decoding");
        let logits = (self.config.likelihood == Likelihood::Bernoulli)
            .then(|| network.input(output, states));
        Decoding { images, logits }
    }
}
