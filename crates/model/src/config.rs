//! What a Hopfield VAE is and how one is trained, as plain data.

use serde::{Deserialize, Serialize};

use crate::eqprop::Nudging;
use crate::error::require;
use crate::{Activation, LayerSpec, ModelError};

/// Units of a layer at most: its weights to another such layer still fit a tensor's index.
const LARGEST_LAYER: usize = 1 << 16;

/// A member of the family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Encoder and decoder are layered Hopfield networks, trained by equilibrium propagation.
    HVae,
    /// The same layers without feedback, trained by backpropagation: the yardstick.
    FVae,
}

impl Kind {
    /// `h-vae` or `f-vae`.
    pub fn name(self) -> &'static str {
        match self {
            Self::HVae => "h-vae",
            Self::FVae => "f-vae",
        }
    }
}

/// The architecture and objective of a VAE.
///
/// | setting | default | meaning | range |
/// |---|---|---|---|
/// | `kind` | `h-vae` | which member of the family | `h-vae`, `f-vae` |
/// | `hidden` | `[512]` | sizes of the hidden layers from the image to the latent; mirrored in the decoder | each >= 1 |
/// | `latent` | 16 | latent dimensions | >= 1 |
/// | `hidden_activation` | `relu` | the hidden layers | any [`Activation`] |
/// | `visible_activation` | `sigmoid` | the decoder's image layer | `sigmoid`, `hard-sigmoid`, `identity` |
/// | `hidden_gain` | 30 | gain of a hidden layer over that of the one before it; the first has 1 | > 0 |
/// | `visible_gain` | 30 | gain of the decoder's image layer over that of the last hidden layer | > 0 |
/// | `latent_gain` | 30 | gain of the encoder's outputs over that of the last hidden layer | > 0 |
/// | `precision` | 10 | `w` in the cost `w/2 abs(x^ - x)^2`: the decoder's Gaussian has variance `1/w` | > 0 |
/// | `initial_log_variance` | -2 | where `ln sigma^2` starts | finite |
///
/// A layer's gain `c` divides its loop gain: with the same signal passed forward, the feedback to
/// the layer before it is `c` times weaker. That layer's own gain multiplies it again, which is why
/// gains are given over those of the layer before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VaeConfig {
    /// Which member of the family.
    pub kind: Kind,
    /// Sizes of the hidden layers, from the image to the latent.
    pub hidden: Vec<usize>,
    /// Latent dimensions.
    pub latent: usize,
    /// Nonlinearity of the hidden layers.
    pub hidden_activation: Activation,
    /// Nonlinearity of the decoder's image layer.
    pub visible_activation: Activation,
    /// Gain of a hidden layer over that of the one before it.
    pub hidden_gain: f64,
    /// Gain of the decoder's image layer over that of the last hidden layer.
    pub visible_gain: f64,
    /// Gain of the encoder's outputs over that of the last hidden layer.
    pub latent_gain: f64,
    /// `w` in the cost `w/2 |x^ - x|^2`.
    pub precision: f64,
    /// Where `ln sigma^2` starts.
    pub initial_log_variance: f64,
}

impl Default for VaeConfig {
    fn default() -> Self {
        Self {
            kind: Kind::HVae,
            hidden: vec![512],
            latent: 16,
            hidden_activation: Activation::Relu,
            visible_activation: Activation::Sigmoid,
            hidden_gain: 30.0,
            visible_gain: 30.0,
            latent_gain: 30.0,
            precision: 10.0,
            initial_log_variance: -2.0,
        }
    }
}

impl VaeConfig {
    /// Refuses what cannot work, naming the setting.
    ///
    /// # Errors
    ///
    /// [`ModelError::Setting`].
    pub fn check(&self) -> Result<(), ModelError> {
        let sizes = || format!("{:?}", self.hidden);
        require(!self.hidden.is_empty(), "hidden", sizes(), "needs at least one layer")?;
        require(self.hidden.iter().all(|&n| n > 0), "hidden", sizes(), "every size must be >= 1")?;
        require(self.latent > 0, "latent", self.latent, "must be >= 1")?;
        let widest = self.hidden.iter().chain([&self.latent]).copied().max().unwrap_or(0);
        require(
            widest <= LARGEST_LAYER,
            "hidden, latent",
            widest,
            "no layer may exceed 65536 units",
        )?;
        for (name, gain) in [
            ("hidden_gain", self.hidden_gain),
            ("visible_gain", self.visible_gain),
            ("latent_gain", self.latent_gain),
        ] {
            require(gain.is_finite() && gain > 0.0, name, gain, "must be a positive number")?;
        }
        let precision = self.precision;
        let positive = precision.is_finite() && precision > 0.0;
        require(positive, "precision", precision, "must be a positive number")?;
        let (low, high) = crate::latent::LOG_VARIANCE_RANGE;
        let start = self.initial_log_variance;
        let inside = (low..=high).contains(&start);
        require(inside, "initial_log_variance", start, "must lie between -10 and 4")?;
        let visible = self.visible_activation;
        let image =
            matches!(visible, Activation::Sigmoid | Activation::HardSigmoid | Activation::Identity);
        let name = format!("{visible:?}").to_lowercase();
        require(image, "visible_activation", name, "must be sigmoid, hard-sigmoid or identity")
    }

    /// The encoder's layers: image, hidden layers, means, log-variances.
    pub(crate) fn encoder_layers(&self, pixels: usize) -> Vec<LayerSpec> {
        let mut layers = vec![layer("image", pixels, Activation::Identity, 1.0, false)];
        layers.extend(self.hidden_layers(self.hidden.iter().copied()));
        for name in ["mean", "log_variance"] {
            layers.push(layer(
                name,
                self.latent,
                Activation::Identity,
                self.outer(self.latent_gain),
                true,
            ));
        }
        layers
    }

    /// The decoder's layers: latent, hidden layers, image.
    pub(crate) fn decoder_layers(&self, pixels: usize) -> Vec<LayerSpec> {
        let mut layers = vec![layer("latent", self.latent, Activation::Identity, 1.0, false)];
        layers.extend(self.hidden_layers(self.hidden.iter().rev().copied()));
        layers.push(layer(
            "image",
            pixels,
            self.visible_activation,
            self.outer(self.visible_gain),
            true,
        ));
        layers
    }

    fn hidden_layers(&self, sizes: impl Iterator<Item = usize>) -> impl Iterator<Item = LayerSpec> {
        sizes
            .enumerate()
            .zip(std::iter::successors(Some(1.0), |gain| Some(gain * self.hidden_gain)))
            .map(|((i, n), gain)| {
                layer(&format!("hidden{}", i + 1), n, self.hidden_activation, gain, true)
            })
    }

    /// The gain of a layer after the hidden ones, `gain` over that of the last of them.
    pub(crate) fn outer(&self, gain: f64) -> f64 {
        (1..self.hidden.len()).fold(gain, |gain, _| gain * self.hidden_gain)
    }
}

fn layer(name: &str, size: usize, activation: Activation, gain: f64, bias: bool) -> LayerSpec {
    LayerSpec { name: name.to_owned(), size, activation, gain, bias }
}

/// How the equilibria are found and contrasted.
///
/// | setting | default | meaning | range |
/// |---|---|---|---|
/// | `nudging` | `centred` | which nudged phases | `centred`, `positive`, `negative` |
/// | `nudge` | 0.02 | size of a nudge: root mean square of `c beta delta`, the push on `c a` | > 0 |
/// | `tolerance` | 3e-4 | relative residual at which a sample of a free phase is done | >= 0 |
/// | `nudged_tolerance` | 1e-5 | the same of a nudged phase, which starts close to its end | >= 0 |
/// | `free_sweeps` | 30 | sweeps of a free phase at most | >= 1 |
/// | `nudged_sweeps` | 15 | sweeps of a nudged phase at most | >= 1 |
/// | `check_every` | 1 | sweeps between two looks at the residual | >= 1 |
/// | `damping` | 0 | of every sweep | in [0, 1) |
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EpConfig {
    /// Which nudged phases are run.
    pub nudging: Nudging,
    /// Size of a nudge: `beta` is chosen for every batch and network so that `c beta delta`, the
    /// push on the gained pre-activations of the nudged layers, has this root mean square. The
    /// bias of the estimate then stays the same while the costs change over training.
    pub nudge: f64,
    /// Relative residual at which a sample of a free phase is done.
    pub tolerance: f64,
    /// Relative residual at which a sample of a nudged phase is done.
    pub nudged_tolerance: f64,
    /// Sweeps of a free phase at most.
    pub free_sweeps: usize,
    /// Sweeps of a nudged phase at most.
    pub nudged_sweeps: usize,
    /// Sweeps between two looks at the residual.
    pub check_every: usize,
    /// Damping of every sweep.
    pub damping: f64,
}

impl Default for EpConfig {
    fn default() -> Self {
        Self {
            nudging: Nudging::Centred,
            nudge: 0.02,
            tolerance: 3e-4,
            nudged_tolerance: 1e-5,
            free_sweeps: 30,
            nudged_sweeps: 15,
            check_every: 1,
            damping: 0.0,
        }
    }
}
