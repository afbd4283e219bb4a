//! The layers and couplings that a configuration describes.

use crate::energy::activation::Activation;
use crate::energy::coupling::CouplingSpec;
use crate::energy::layer::{LayerId, LayerSpec, Shape};
use crate::vae::config::VaeConfig;

/// The layers and couplings of a network.
#[derive(Debug)]
pub(crate) struct Architecture {
    pub(crate) layers: Vec<LayerSpec>,
    /// The couplings that pass signals on.
    pub(crate) chain: Vec<CouplingSpec>,
    /// The other couplings of a dense network, between layers and within them, which start at zero.
    pub(crate) extra: Vec<CouplingSpec>,
}

/// The name of the image layer.
const IMAGE: &str = "image";

impl VaeConfig {
    /// By what the state of layer `k` of a weight-tied network is multiplied where it is clamped.
    pub(crate) fn amplitude(&self, k: LayerId) -> f64 {
        match k.0 {
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
            chain.push(CouplingSpec::dense(hidden, hidden + 2));
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
            for k in 0..layers.len() {
                if k >= relaxing {
                    extra.push(match self.visible_reach {
                        Some(reach) if layers[k].name == IMAGE => CouplingSpec::banded(k, reach),
                        _ => CouplingSpec::within(k),
                    });
                }
                let pairs = (k + 1..layers.len()).map(|l| CouplingSpec::dense(k, l));
                extra.extend(pairs.filter(|pair| !chain.contains(pair)));
            }
        }
        Architecture { layers, chain, extra }
    }

    /// Size and nonlinearity of every hidden layer, from the image to the latent.
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
