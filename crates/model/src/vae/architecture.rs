//! The layers and couplings that a configuration describes, and a new model of them.

use burn::module::Param;
use burn::tensor::{Device, Tensor};
use rand::Rng;

use crate::energy::{Activation, CouplingSpec, HopfieldNetwork, LayerId, LayerSpec, Shape};
use crate::error::{ModelError, require};
use crate::vae::config::VaeConfig;
use crate::vae::model::Vae;

#[derive(Debug)]
pub(crate) struct Architecture {
    pub(crate) layers: Vec<LayerSpec>,
    /// The couplings that pass signals on.
    pub(crate) chain: Vec<CouplingSpec>,
    /// The other couplings of a dense network, between layers and within them, which start at zero.
    pub(crate) extra: Vec<CouplingSpec>,
}

const IMAGE: &str = "image";

impl VaeConfig {
    /// By what the state of the encoder's layer `k` is multiplied where it is clamped.
    pub(crate) fn amplitude(&self, k: LayerId) -> f64 {
        match k.0 {
            _ if !self.kind.is_tied() => 1.0,
            0 => self.image_amplitude,
            k if k == self.hidden.len() + 1 => self.latent_amplitude,
            _ => 1.0,
        }
    }

    /// The network that encodes: image, hidden layers, means and, unless sigma is fixed,
    /// log-variances.
    pub(crate) fn encoder(&self, image: Shape) -> Architecture {
        let hidden = self.hidden.len();
        let mut chain = CouplingSpec::chain(hidden + 2);
        let tied = self.kind.is_tied();
        let image = LayerSpec::new(IMAGE, 0, Activation::Identity).with_shape(image);
        let mut layers = vec![if tied {
            LayerSpec { activation: self.visible_activation, ..image }.with_gain(self.visible_gain)
        } else {
            image.without_bias()
        }];
        layers.extend(self.hidden_layers(self.hidden_sizes()));
        let output = |name| {
            let gain = self.outer(self.latent_gain);
            LayerSpec::new(name, self.latent, Activation::Identity).with_gain(gain)
        };
        layers.push(output("mean"));
        if self.sigma.is_none() {
            layers.push(output("log_variance"));
            chain.push(CouplingSpec::dense(LayerId(hidden), LayerId(hidden + 2)));
        }
        let relaxing = usize::from(!tied);
        self.completed(layers, chain, relaxing)
    }

    /// The network that decodes: latent, hidden layers, image.
    pub(crate) fn decoder(&self, image: Shape) -> Architecture {
        let mut layers =
            vec![LayerSpec::new("latent", self.latent, Activation::Identity).without_bias()];
        layers.extend(self.hidden_layers(self.hidden_sizes().rev()));
        let gain = self.outer(self.visible_gain);
        let output = LayerSpec::new(IMAGE, 0, self.visible_activation).with_shape(image);
        layers.push(output.with_gain(gain));
        self.completed(layers, CouplingSpec::chain(self.hidden.len() + 2), 1)
    }

    /// How many numbers the weights and biases of a model for images of this shape hold, zeros of
    /// pairs that are not joined included; nothing is allocated. A float, because the count may
    /// exceed any integer.
    pub fn stored_numbers(&self, image: Shape) -> f64 {
        let numbers = |Architecture { layers, chain, extra }: Architecture| {
            let weights = chain.iter().chain(&extra).map(|c| {
                let shapes = [c.lower, c.upper].map(|k| layers[k.0].shape);
                c.kind.stored(shapes)
            });
            let biases = layers.iter().filter(|l| l.bias).map(|l| l.size() as f64);
            weights.chain(biases).sum::<f64>()
        };
        let decoder = if self.kind.is_tied() { 0.0 } else { numbers(self.decoder(image)) };
        numbers(self.encoder(image)) + decoder
    }

    /// Adds what makes a network dense: every pair of layers that the chain leaves out, and all
    /// layers from `relaxing` on with themselves, pixels only with those within reach.
    fn completed(
        &self,
        layers: Vec<LayerSpec>,
        chain: Vec<CouplingSpec>,
        relaxing: usize,
    ) -> Architecture {
        let mut extra = Vec::new();
        if self.kind.is_dense() {
            let ids = || (0..layers.len()).map(LayerId);
            for k in ids() {
                if k.0 >= relaxing {
                    extra.push(match self.visible_reach {
                        Some(reach) if layers[k.0].name == IMAGE => CouplingSpec::banded(k, reach),
                        _ => CouplingSpec::within(k),
                    });
                }
                let pairs = ids().filter(|l| *l > k).map(|l| CouplingSpec::dense(k, l));
                extra.extend(pairs.filter(|pair| !chain.contains(pair)));
            }
        }
        Architecture { layers, chain, extra }
    }

    fn hidden_sizes(&self) -> impl DoubleEndedIterator<Item = (usize, Activation)> {
        let sizes = self.hidden.iter().enumerate();
        sizes.map(|(i, &size)| (size, self.hidden_activation.of(i)))
    }

    fn hidden_layers(
        &self,
        sizes: impl Iterator<Item = (usize, Activation)>,
    ) -> impl Iterator<Item = LayerSpec> {
        let gains = std::iter::successors(Some(1.0), |gain| Some(gain * self.gain_step()));
        sizes.zip(gains).enumerate().map(|(i, ((size, activation), gain))| {
            LayerSpec::new(&format!("hidden{}", i + 1), size, activation).with_gain(gain)
        })
    }

    /// The gain of a hidden layer over that of the one before it.
    fn gain_step(&self) -> f64 {
        if self.kind.is_tied() { 1.0 } else { self.hidden_gain }
    }

    /// The gain of a layer after the hidden ones, `gain` times that of the last of them.
    fn outer(&self, gain: f64) -> f64 {
        (1..self.hidden.len()).fold(gain, |gain, _| gain * self.gain_step())
    }
}

impl Vae {
    /// A new model for images of this shape.
    ///
    /// Couplings from layer to layer start as [`HopfieldNetwork::new`] says; those of a weight-tied
    /// network at the geometric mean of what its two directions need. All others, which make a
    /// network dense, start at zero: it starts as the layered one.
    ///
    /// # Errors
    ///
    /// As [`VaeConfig::check`], or for an image without pixels.
    pub fn new(
        config: &VaeConfig,
        image: Shape,
        rng: &mut impl Rng,
        device: &Device,
    ) -> Result<Self, ModelError> {
        config.check()?;
        require(image.size() > 0, "pixels", image.size(), "an image needs at least one")?;
        let tied = config.kind.is_tied();
        let mut network = |architecture: Architecture| {
            let Architecture { layers, chain, extra } = architecture;
            let mut network = HopfieldNetwork::new(layers, &chain, rng, device)?;
            if tied {
                network.balance(|k| config.amplitude(k));
            }
            network.add_couplings(&extra, device)?;
            Ok::<_, ModelError>(network)
        };
        // The decoder first: the order of the random draws.
        let decoder = if tied { None } else { Some(network(config.decoder(image))?) };
        let mut encoder = network(config.encoder(image))?;
        if config.sigma.is_none() {
            let layer = encoder.layers.last_mut().expect("an encoder has layers");
            let start = config.initial_log_variance / layer.spec.gain;
            layer.bias = Some(Param::from_tensor(Tensor::full([config.latent], start, device)));
        }
        let ones = || Param::from_tensor(Tensor::ones([config.latent], device));
        let amplitudes = (config.learned_amplitudes && tied).then(ones);
        Ok(Self { encoder, decoder, amplitudes, prior: None, config: config.clone() }.limited())
    }
}
