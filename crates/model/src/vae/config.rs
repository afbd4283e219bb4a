//! Settings of a Hopfield VAE, as plain data.

use std::ops::RangeInclusive;

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::energy::network::FACTORS;
use crate::energy::{Activation, HiddenActivation, Shape};
use crate::error::{ModelError, require};
use crate::vae::likelihood::{Decoding, Likelihood};
use crate::vae::posterior::LOG_VARIANCE_RANGE;

/// Largest number of units of a layer: the weights between two such layers fit a tensor's index.
const LARGEST_LAYER: usize = 1 << 16;
/// Standard deviations whose log-variance lies in [`LOG_VARIANCE_RANGE`], from `exp(-5)` to
/// `exp(2)`.
const SIGMAS: RangeInclusive<f64> = 0.0068..=7.0;

/// A member of the family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Encoder and decoder are layered Hopfield networks, trained by equilibrium propagation.
    HVae,
    /// One layered Hopfield network, weight-tied: both encoder and decoder.
    ThVae,
    /// Encoder and decoder are dense Hopfield networks: couplings between all layers and within
    /// them.
    DhVae,
    /// One dense Hopfield network, weight-tied.
    TdhVae,
    /// The layers of an H-VAE without feedback, trained by backpropagation: the baseline.
    FVae,
}

impl Kind {
    /// All members, in the order in which they are compared.
    pub const ALL: [Self; 5] = [Self::FVae, Self::HVae, Self::ThVae, Self::DhVae, Self::TdhVae];

    /// Such as `h-vae`.
    pub fn name(self) -> &'static str {
        match self {
            Self::HVae => "h-vae",
            Self::ThVae => "th-vae",
            Self::DhVae => "dh-vae",
            Self::TdhVae => "tdh-vae",
            Self::FVae => "f-vae",
        }
    }

    /// Whether one network both encodes and decodes.
    pub fn is_tied(self) -> bool {
        matches!(self, Self::ThVae | Self::TdhVae)
    }

    /// Whether all layers are coupled with each other, and with themselves.
    pub fn is_dense(self) -> bool {
        matches!(self, Self::DhVae | Self::TdhVae)
    }
}

/// The architecture and objective of a VAE.
///
/// Gains, amplitudes, `coupling_limit` and `precision` must lie between 1e-15 and 1e15, and so must
/// the gains of all layers.
///
/// A layer's gain `c` divides its loop gain: with the same signal passed forward, the feedback to
/// the layer before it is `c` times weaker. That layer's own gain multiplies it again, which is why
/// gains are given over those of the layer before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VaeConfig {
    /// Which member of the family.
    pub kind: Kind,
    /// Sizes of the hidden layers, each >= 1, from image to latent; mirrored in the decoder.
    pub hidden: Vec<usize>,
    /// Latent dimensions, >= 1.
    pub latent: usize,
    /// Nonlinearity of the hidden layers: one for all, or a list with one for each.
    pub hidden_activation: HiddenActivation,
    /// Nonlinearity of the decoder's image layer: sigmoid, hard sigmoid or identity.
    pub visible_activation: Activation,
    /// Gain of a hidden layer over that of the one before it; the first has 1, as have all hidden
    /// layers of a weight-tied network.
    pub hidden_gain: f64,
    /// Gain of the decoder's image layer over that of the last hidden layer.
    pub visible_gain: f64,
    /// Gain of the encoder's outputs over that of the last hidden layer.
    pub latent_gain: f64,
    /// Weight-tied networks: by what the image is multiplied where it is clamped to be encoded.
    pub image_amplitude: f64,
    /// Weight-tied networks: by what the latent is multiplied where it is clamped to be decoded.
    pub latent_amplitude: f64,
    /// Weight-tied networks: whether each latent has a factor on `latent_amplitude` that is
    /// learned, at five times the learning rate of weights, starting at 1.
    pub learned_amplitudes: bool,
    /// Dense and weight-tied networks: largest strength of a coupling between layers that relax
    /// together, see [`limit_couplings`](crate::HopfieldNetwork::limit_couplings).
    pub coupling_limit: f64,
    /// Dense networks: how many rows, and how many columns, two coupled pixels are apart at most,
    /// >= 1; without it all pixels are joined.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visible_reach: Option<usize>,
    /// `p(x|z)`.
    pub likelihood: Likelihood,
    /// `w` in the cost `w/2 |x^ - x|^2` of the Gaussian likelihood, whose variance is `1/w`.
    pub precision: f64,
    /// Where `ln sigma^2` starts, in -10 to 4.
    pub initial_log_variance: f64,
    /// One fixed standard deviation of the posterior, in 0.0068 to 7, instead of learned ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sigma: Option<f64>,
}

impl Default for VaeConfig {
    fn default() -> Self {
        Self {
            kind: Kind::HVae,
            hidden: vec![512],
            latent: 16,
            hidden_activation: Activation::Relu.into(),
            visible_activation: Activation::Sigmoid,
            hidden_gain: 30.0,
            visible_gain: 30.0,
            latent_gain: 30.0,
            image_amplitude: 30.0,
            latent_amplitude: 30.0,
            learned_amplitudes: false,
            coupling_limit: 0.5,
            visible_reach: None,
            likelihood: Likelihood::Gaussian,
            precision: 10.0,
            initial_log_variance: -2.0,
            sigma: None,
        }
    }
}

impl VaeConfig {
    /// Checks every setting.
    ///
    /// # Errors
    ///
    /// Naming the first that is out of range.
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
            ("image_amplitude", self.image_amplitude),
            ("latent_amplitude", self.latent_amplitude),
            ("coupling_limit", self.coupling_limit),
            ("precision", self.precision),
        ] {
            let shown = format!("{gain:e}");
            require(FACTORS.contains(&gain), name, shown, "must lie between 1e-15 and 1e15")?;
        }
        if let HiddenActivation::Each(list) = &self.hidden_activation {
            let (given, layers) = (list.len(), self.hidden.len());
            let reason = format!("for {layers} hidden layer(s) give one for all, or one for each");
            require(given == layers, "hidden_activation", format!("a list of {given}"), &reason)?;
        }
        self.check_gains()?;
        let start = self.initial_log_variance;
        let inside = LOG_VARIANCE_RANGE.contains(&start);
        require(inside, "initial_log_variance", start, "must lie between -10 and 4")?;
        let visible = self.visible_activation;
        let image =
            matches!(visible, Activation::Sigmoid | Activation::HardSigmoid | Activation::Identity);
        let name = format!("{visible:?}").to_lowercase();
        require(image, "visible_activation", &name, "must be sigmoid, hard-sigmoid or identity")?;
        let bernoulli = self.likelihood == Likelihood::Bernoulli;
        let fits = !bernoulli || visible == Activation::Sigmoid;
        require(fits, "visible_activation", &name, "the bernoulli likelihood needs sigmoid")?;
        if let Some(reach) = self.visible_reach {
            require(reach > 0, "visible_reach", reach, "must be >= 1")?;
        }
        if let Some(sigma) = self.sigma {
            require(SIGMAS.contains(&sigma), "sigma", sigma, "must lie between 0.0068 and 7")?;
        }
        Ok(())
    }

    /// `ln p(x|z)` of the images `x` (`[batch, pixels]`), in nats per image, `[batch]`.
    ///
    /// Gaussian: `pixels/2 ln(w / 2 pi) - w/2 |x^ - x|^2`. Bernoulli: `sum a x - ln(1 + exp a)`.
    ///
    /// # Errors
    ///
    /// When images and decoding differ in shape, or a Bernoulli likelihood has no logits.
    pub fn log_likelihood(
        &self,
        decoding: &Decoding,
        images: &Tensor<2>,
    ) -> Result<Tensor<1>, ModelError> {
        self.likelihood.log_density(decoding, images, self.precision)
    }

    /// Gains multiply from layer to layer.
    fn check_gains(&self) -> Result<(), ModelError> {
        let image = Shape::flat(1);
        let layers = self.encoder(image).layers.into_iter().chain(self.decoder(image).layers);
        for layer in layers {
            let reason = format!(
                "gains multiply from layer to layer, and that of {} would be {:e}: it must lie \
                 between 1e-15 and 1e15",
                layer.name, layer.gain
            );
            let (name, shown) = ("hidden_gain", format!("{:e}", self.hidden_gain));
            require(FACTORS.contains(&layer.gain), name, shown, &reason)?;
        }
        Ok(())
    }
}
