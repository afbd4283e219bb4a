//! The layers and couplings that a configuration describes.

use crate::{Activation, HopfieldNetwork, LayerSpec, ModelError, VaeConfig};

impl VaeConfig {
    /// How many times its value layer `k` of a tied network is held at where it is clamped.
    pub(crate) fn amplitude(&self, k: usize) -> f64 {
        match k {
            0 => self.image_amplitude,
            k if k == self.hidden.len() + 1 => self.latent_amplitude,
            _ => 1.0,
        }
    }

    /// Layers of the network that encodes and the couplings through which signals pass: image,
    /// hidden layers, means and, unless sigma is fixed, log-variances.
    pub(crate) fn encoder(&self, pixels: usize) -> (Vec<LayerSpec>, Vec<(usize, usize)>) {
        let hidden = self.hidden.len();
        let mut couplings = chain(hidden + 1);
        let image = if self.kind.is_tied() {
            layer("image", pixels, self.visible_activation, self.visible_gain, true)
        } else {
            layer("image", pixels, Activation::Identity, 1.0, false)
        };
        let mut layers = vec![image];
        layers.extend(self.hidden_layers(self.hidden_sizes()));
        let gain = self.outer(self.latent_gain);
        layers.push(layer("mean", self.latent, Activation::Identity, gain, true));
        if self.sigma.is_none() {
            layers.push(layer("log_variance", self.latent, Activation::Identity, gain, true));
            couplings.push((hidden, hidden + 2));
        }
        (layers, couplings)
    }

    /// The same of the network that decodes: latent, hidden layers, image.
    pub(crate) fn decoder(&self, pixels: usize) -> (Vec<LayerSpec>, Vec<(usize, usize)>) {
        let mut layers = vec![layer("latent", self.latent, Activation::Identity, 1.0, false)];
        layers.extend(self.hidden_layers(self.hidden_sizes().rev()));
        let gain = self.outer(self.visible_gain);
        layers.push(layer("image", pixels, self.visible_activation, gain, true));
        (layers, chain(self.hidden.len() + 1))
    }

    /// What makes the encoder dense: every coupling besides the chain's between two layers, and
    /// within every layer that ever relaxes.
    pub(crate) fn extra_encoder_couplings(&self) -> Vec<(usize, usize)> {
        let layers = self.hidden.len() + 2 + usize::from(self.sigma.is_none());
        let relaxing = usize::from(!self.kind.is_tied());
        all_but(layers, relaxing, &self.encoder(1).1)
    }

    /// What makes the decoder dense.
    pub(crate) fn extra_decoder_couplings(&self) -> Vec<(usize, usize)> {
        all_but(self.hidden.len() + 2, 1, &self.decoder(1).1)
    }

    /// How many numbers the weights and biases of a model for images of so many pixels hold, with the zeros
    /// of pairs within a layer that are not coupled; nothing is allocated. Not a whole number, because it
    /// may be too large for one.
    pub fn stored_numbers(&self, pixels: usize) -> f64 {
        let encoder = (self.encoder(pixels), self.extra_encoder_couplings());
        let decoder = (self.decoder(pixels), self.extra_decoder_couplings());
        let numbers = |((layers, chain), extra): ((Vec<LayerSpec>, Vec<_>), Vec<_>)| {
            let size = |k: usize| layers[k].size as f64;
            let extra = if self.kind.is_dense() { extra } else { Vec::new() };
            let weights = chain.into_iter().chain(extra).map(|(k, l)| size(k) * size(l));
            let biases = layers.iter().filter(|l| l.bias).map(|l| l.size as f64);
            weights.chain(biases).sum::<f64>()
        };
        numbers(encoder) + if self.kind.is_tied() { 0.0 } else { numbers(decoder) }
    }

    /// Leaves of the couplings within the image layer, layer `image` of `network`, those among nearby
    /// pixels.
    pub(crate) fn keep_near(
        &self,
        network: &mut HopfieldNetwork,
        image: usize,
    ) -> Result<(), ModelError> {
        self.visible_reach.map_or(Ok(()), |reach| network.keep_near(image, reach))
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
        let gains = std::iter::successors(Some(1.0), |gain| Some(gain * self.step()));
        sizes.zip(gains).enumerate().map(|(i, ((size, activation), gain))| {
            layer(&format!("hidden{}", i + 1), size, activation, gain, true)
        })
    }

    /// The gain of a hidden layer over that of the one before it.
    fn step(&self) -> f64 {
        if self.kind.is_tied() { 1.0 } else { self.hidden_gain }
    }

    /// The gain of a layer after the hidden ones, `gain` over that of the last of them.
    fn outer(&self, gain: f64) -> f64 {
        (1..self.hidden.len()).fold(gain, |gain, _| gain * self.step())
    }
}

/// Couplings from each of `links + 1` layers to the next.
fn chain(links: usize) -> Vec<(usize, usize)> {
    (0..links).map(|k| (k, k + 1)).collect()
}

/// All pairs of `layers` layers, and all layers from `relaxing` on with themselves, without `couplings`.
fn all_but(layers: usize, relaxing: usize, couplings: &[(usize, usize)]) -> Vec<(usize, usize)> {
    let pairs = (0..layers).flat_map(|k| (k..layers).map(move |l| (k, l)));
    let wanted = |&(k, l): &(usize, usize)| k != l || k >= relaxing;
    pairs.filter(wanted).filter(|pair| !couplings.contains(pair)).collect()
}

fn layer(name: &str, size: usize, activation: Activation, gain: f64, bias: bool) -> LayerSpec {
    LayerSpec { name: name.to_owned(), size, activation, gain, bias }
}
