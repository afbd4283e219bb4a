//! The model: its networks, sizes, limits, and the names of its parameters.

use burn::module::{Module, Param, ParamId};
use burn::tensor::Tensor;

use crate::dynamics::Side;
use crate::energy::{Coupling, HopfieldNetwork, Layer, LayerId, Shape};
use crate::error::{ModelError, require_shape};
use crate::vae::coding::Coding;
use crate::vae::config::{Kind, VaeConfig};
use crate::vae::hopfield_prior::HopfieldPrior;
use crate::vae::prior::{Prior, StandardNormal};

/// Factor on the learning rate of a weight-tied network's amplitudes: they start at 1 and end
/// between a half and two, and until then the means spread too far, or not far enough.
const AMPLITUDE_RATE: f64 = 5.0;

/// A variational autoencoder made of Hopfield networks (after Van Der Meersch et al. 2023, arXiv
/// 2311.15047).
///
/// Encoding: the image is clamped, the hidden layers relax together with the means and
/// log-variances of the posterior. Decoding: the latent is clamped, the hidden layers relax
/// together with the image. Encoder and decoder are separate networks, or one weight-tied network,
/// whose log-variances take no part in decoding.
///
/// An F-VAE ([`Kind::FVae`]) has the layers and parameters of an H-VAE, but signals pass through
/// them once, without feedback, and its gradients come from backpropagation.
#[derive(Module, Debug)]
pub struct Vae {
    /// Layers `image`, `hidden1..`, `mean` and, unless sigma is fixed, `log_variance`.
    pub encoder: HopfieldNetwork,
    /// Layers `latent`, `hidden1..`, `image`; `None` if the encoder decodes, too.
    pub decoder: Option<HopfieldNetwork>,
    /// Factors on the amplitude at which a weight-tied network's latents are clamped, `[latent]`;
    /// `None` unless they are learned.
    ///
    /// A mean and the drive of its latent come through the same weights, although how wide the
    /// means spread and how strongly their latent acts on the image are two things. These numbers
    /// separate them: without, the spread of the latents over all images is farther from the
    /// prior's.
    pub amplitudes: Option<Param<Tensor<1>>>,
    /// The learned prior; without it the prior is `N(0, I)`.
    pub prior: Option<HopfieldPrior>,
    /// The settings that it was built from.
    #[module(skip)]
    pub config: VaeConfig,
}

impl Vae {
    /// Which member of the family it is.
    pub fn kind(&self) -> Kind {
        self.config.kind
    }

    /// The shape of an image.
    pub fn image_shape(&self) -> Shape {
        self.encoder.layers[0].spec.shape
    }

    /// Pixels of an image, in all channels.
    pub fn pixels(&self) -> usize {
        self.image_shape().size()
    }

    /// The layer of the image in the network that decodes.
    pub fn image_layer(&self) -> LayerId {
        self.decoding().output
    }

    /// Latent dimensions.
    pub fn latent(&self) -> usize {
        self.config.latent
    }

    /// The prior of the latents.
    pub fn prior(&self) -> &dyn Prior {
        match &self.prior {
            Some(prior) => prior,
            None => &StandardNormal,
        }
    }

    /// Number of independent parameters; see [`HopfieldNetwork::parameters`].
    pub fn parameters(&self) -> usize {
        let amplitudes = self.amplitudes.as_ref().map_or(0, |a| a.dims()[0]);
        let prior = self.prior.as_ref().map_or(0, HopfieldPrior::parameters);
        self.networks().map(|(_, network)| network.parameters()).sum::<usize>() + amplitudes + prior
    }

    /// The networks and what they are called.
    pub fn networks(&self) -> impl Iterator<Item = (&'static str, &HopfieldNetwork)> {
        let name = if self.decoder.is_some() { "encoder" } else { "network" };
        std::iter::once((name, &self.encoder)).chain(self.decoder.iter().map(|d| ("decoder", d)))
    }

    pub(crate) fn mean_layer(&self) -> LayerId {
        LayerId(self.config.hidden.len() + 1)
    }

    /// The layer of the log-variances in the encoder; `None` with a fixed sigma.
    pub(crate) fn log_variance_layer(&self) -> Option<LayerId> {
        self.config.sigma.is_none().then(|| LayerId(self.config.hidden.len() + 2))
    }

    pub(crate) fn require_noise(
        &self,
        images: &Tensor<2>,
        noise: &Tensor<2>,
    ) -> Result<(), ModelError> {
        require_shape("the noise", noise, [images.dims()[0], self.latent()])
    }

    pub(crate) fn require_equilibria(&self) -> Result<(), ModelError> {
        if self.kind() == Kind::FVae {
            let text = "an f-vae is feed-forward and has no equilibria";
            return Err(ModelError::Network(text.to_owned()));
        }
        Ok(())
    }

    pub(crate) fn encoding(&self) -> Coding<'_> {
        let input = LayerId(0);
        Coding {
            network: &self.encoder,
            weights: Side::Encoder,
            side: Side::Encoder,
            input,
            output: self.mean_layer(),
            amplitude: self.config.amplitude(input),
            scale: None,
            absent: None,
        }
    }

    pub(crate) fn decoding(&self) -> Coding<'_> {
        match &self.decoder {
            Some(network) => Coding {
                network,
                weights: Side::Decoder,
                side: Side::Decoder,
                input: LayerId(0),
                output: LayerId(network.layers.len() - 1),
                amplitude: 1.0,
                scale: None,
                absent: None,
            },
            None => Coding {
                side: Side::Decoder,
                input: self.mean_layer(),
                output: LayerId(0),
                amplitude: self.config.amplitude(self.mean_layer()),
                scale: self.amplitudes.as_ref().map(|a| a.val().unsqueeze()),
                absent: self.log_variance_layer(),
                ..self.encoding()
            },
        }
    }

    /// Factor on the learning rate of every parameter: those of
    /// [`HopfieldNetwork::learning_rate_scales`], times `visible_rate` for weights and bias of the
    /// decoder's image layer, whose output saturates; 5 for [`Self::amplitudes`].
    pub fn learning_rate_scales(&self, visible_rate: f64) -> Vec<(ParamId, f64)> {
        let amplitude = |k| self.config.amplitude(k);
        let decoding = self.decoding();
        let (image, network) = (decoding.output, decoding.network);
        let couplings = network.couplings.iter().filter(|c| c.touches(image));
        let mut visible: Vec<ParamId> = couplings.map(Coupling::id).collect();
        visible.extend(network.layers[image.0].bias.as_ref().map(|b| b.id));
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

    /// Keeps the weights of dense and weight-tied models where equilibria exist: couplings between
    /// layers that relax together are scaled down to the strength `config.coupling_limit`; see
    /// [`HopfieldNetwork::limit_couplings`].
    #[must_use]
    pub fn limited(mut self) -> Self {
        let (limit, tied) = (self.config.coupling_limit, self.kind().is_tied());
        if tied {
            self.encoder = self.encoder.limit_couplings(limit, |_| true);
        } else if self.kind().is_dense() {
            self.encoder = self.encoder.limit_couplings(limit, |k| k > LayerId(0));
            self.decoder = self.decoder.map(|d| d.limit_couplings(limit, |k| k > LayerId(0)));
        }
        self
    }

    /// What a parameter is called, such as `decoder hidden1-image` or `encoder mean bias`; empty
    /// for an id that is not of this model.
    pub fn parameter_name(&self, id: ParamId) -> String {
        for (side, network) in self.networks() {
            if let Some(c) = network.couplings.iter().find(|c| c.id() == id) {
                return format!("{side} {}-{}", network.name(c.lower), network.name(c.upper));
            }
            let is_its_bias = |l: &&Layer| l.bias.as_ref().is_some_and(|b| b.id == id);
            if let Some(layer) = network.layers.iter().find(is_its_bias) {
                return format!("{side} {} bias", layer.spec.name);
            }
        }
        let of_prior = self.prior.iter().flat_map(HopfieldPrior::ids);
        if let Some((_, name)) = of_prior.into_iter().find(|(of_prior, _)| *of_prior == id) {
            return format!("prior {name}");
        }
        let is_amplitude = self.amplitudes.as_ref().is_some_and(|a| a.id == id);
        if is_amplitude { "latent amplitudes".to_owned() } else { String::new() }
    }
}
