//! What a Hopfield VAE is and how one is trained, as plain data.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::eqprop::{Nudging, Unconverged};
use crate::error::require;
use crate::network::FACTORS;
use crate::{Activation, HiddenActivation, Likelihood, ModelError};

/// Units of a layer at most: its weights to another such layer still fit a tensor's index.
const LARGEST_LAYER: usize = 1 << 16;
/// Standard deviations of a posterior: those whose log-variance lies in
/// [`LOG_VARIANCE_RANGE`](crate::LOG_VARIANCE_RANGE), whose ends are `exp(-5)` and `exp(2)`.
const SIGMAS: RangeInclusive<f64> = 0.0068..=7.0;

/// A member of the family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Encoder and decoder are layered Hopfield networks, trained by equilibrium propagation.
    HVae,
    /// One layered Hopfield network, used both ways: tied.
    ThVae,
    /// Encoder and decoder are dense Hopfield networks: couplings between all layers and within.
    DhVae,
    /// One dense Hopfield network, used both ways.
    TdhVae,
    /// The layers of an H-VAE without feedback, trained by backpropagation: the yardstick.
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

    /// Whether there are couplings besides those from layer to layer.
    pub fn is_dense(self) -> bool {
        matches!(self, Self::DhVae | Self::TdhVae)
    }
}

/// The architecture and objective of a VAE.
///
/// | setting | default | meaning | range |
/// |---|---|---|---|
/// | `kind` | `h-vae` | which member of the family | `h-vae`, `th-vae`, `dh-vae`, `tdh-vae`, `f-vae` |
/// | `hidden` | `[512]` | sizes of the hidden layers from the image to the latent; mirrored in the decoder | each >= 1 |
/// | `latent` | 16 | latent dimensions | >= 1 |
/// | `hidden_activation` | `relu` | the hidden layers | any [`Activation`], or a list of one for each, in the order of `hidden` |
/// | `visible_activation` | `sigmoid` | the decoder's image layer | `sigmoid`, `hard-sigmoid`, `identity` |
/// | `hidden_gain` | 30 | gain of a hidden layer over that of the one before it; the first has 1 | > 0 |
/// | `visible_gain` | 30 | gain of the decoder's image layer over that of the last hidden layer | > 0 |
/// | `latent_gain` | 30 | gain of the encoder's outputs over that of the last hidden layer | > 0 |
/// | `image_amplitude` | 30 | of a tied network: how many times its value the image is held at when it is encoded | > 0 |
/// | `latent_amplitude` | 30 | of a tied network: the same of the latent when it is decoded | > 0 |
/// | `learned_amplitudes` | false | of a tied network: whether each latent learns by what to multiply `latent_amplitude`; its factor learns five times as fast as weights | true, false |
/// | `coupling_limit` | 0.5 | of dense and tied networks: largest strength of a coupling between layers that relax together, see [`crate::HopfieldNetwork::limit_couplings`] | > 0 |
/// | `visible_reach` | none | of dense networks: how many rows and columns two coupled pixels of a square image are apart at most; none joins all | >= 1 |
/// | `likelihood` | `gaussian` | `p(x given z)`; `bernoulli` takes the cross-entropy as cost | `gaussian`, `bernoulli` |
/// | `precision` | 10 | `w` in the cost `w/2 abs(x^ - x)^2`: the decoder's Gaussian has variance `1/w` | > 0 |
/// | `initial_log_variance` | -2 | where `ln sigma^2` starts | in [-10, 4] |
/// | `sigma` | none | one fixed standard deviation of the posterior, instead of learning it | in [0.0068, 7] |
///
/// Numbers that must be > 0 must lie between 1e-15 and 1e15, and so must the gains of all layers.
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
    pub hidden_activation: HiddenActivation,
    /// Nonlinearity of the decoder's image layer.
    pub visible_activation: Activation,
    /// Gain of a hidden layer over that of the one before it, of separate networks; 1 in a tied one.
    pub hidden_gain: f64,
    /// Gain of the decoder's image layer over that of the last hidden layer.
    pub visible_gain: f64,
    /// Gain of the encoder's outputs over that of the last hidden layer.
    pub latent_gain: f64,
    /// How many times its value a tied network's image is held at when it is encoded.
    pub image_amplitude: f64,
    /// How many times its value a tied network's latent is held at when it is decoded.
    pub latent_amplitude: f64,
    /// Whether a tied network learns for each latent by what to multiply that, starting at 1; other
    /// models have no amplitudes.
    pub learned_amplitudes: bool,
    /// Largest strength of couplings among layers that relax together; dense and tied models only.
    pub coupling_limit: f64,
    /// How many rows and columns two coupled pixels are apart at most; dense models only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visible_reach: Option<usize>,
    /// `p(x|z)`.
    pub likelihood: Likelihood,
    /// `w` in the cost `w/2 |x^ - x|^2` of the Gaussian likelihood.
    pub precision: f64,
    /// Where `ln sigma^2` starts.
    pub initial_log_variance: f64,
    /// One fixed standard deviation of the posterior, instead of a learned one.
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
        let (low, high) = crate::latent::LOG_VARIANCE_RANGE;
        let start = self.initial_log_variance;
        let inside = (low..=high).contains(&start);
        require(inside, "initial_log_variance", start, "must lie between -10 and 4")?;
        let visible = self.visible_activation;
        let image =
            matches!(visible, Activation::Sigmoid | Activation::HardSigmoid | Activation::Identity);
        let name = format!("{visible:?}").to_lowercase();
        require(image, "visible_activation", &name, "must be sigmoid, hard-sigmoid or identity")?;
        let coin = self.likelihood == Likelihood::Bernoulli;
        let fits = !coin || visible == Activation::Sigmoid;
        require(fits, "visible_activation", &name, "the bernoulli likelihood needs sigmoid")?;
        if let Some(reach) = self.visible_reach {
            require(reach > 0, "visible_reach", reach, "must be >= 1")?;
        }
        if let Some(sigma) = self.sigma {
            require(SIGMAS.contains(&sigma), "sigma", sigma, "must lie between 0.0068 and 7")?;
        }
        Ok(())
    }

    /// Gains multiply from layer to layer.
    fn check_gains(&self) -> Result<(), ModelError> {
        let layers = self.encoder(1).0.into_iter().chain(self.decoder(1).0);
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

/// How the equilibria are found and contrasted.
///
/// | setting | default | meaning | range |
/// |---|---|---|---|
/// | `nudging` | `positive` | which nudged phases | `centred`, `positive`, `negative` |
/// | `nudge` | 1e-4 | size of a nudge: root mean square of `c beta delta`, the push on `c a` | > 0 |
/// | `tolerance` | 3e-4 | relative residual at which a sample of a free phase is done | >= 0 |
/// | `nudged_tolerance` | 3e-3 | the same of a nudged phase, relative to how far the nudge takes the states | >= 0 |
/// | `free_sweeps` | 30 | sweeps of a free phase at most | >= 1 |
/// | `nudged_sweeps` | 15 | sweeps of a nudged phase at most | >= 1 |
/// | `check_every` | 1 | sweeps between two looks at the residual | >= 1 |
/// | `damping` | 0 | of every sweep | in [0, 1) |
/// | `unconverged` | `use` | what becomes of samples that do not reach equilibrium | `use`, `drop` |
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
    /// Relative residual at which a sample of a nudged phase is done: relative to how far the nudge has
    /// taken the states, so that it is about the relative error of the gradient.
    pub nudged_tolerance: f64,
    /// Sweeps of a free phase at most.
    pub free_sweeps: usize,
    /// Sweeps of a nudged phase at most.
    pub nudged_sweeps: usize,
    /// Sweeps between two looks at the residual.
    pub check_every: usize,
    /// Damping of every sweep.
    pub damping: f64,
    /// What becomes of samples that do not reach equilibrium.
    pub unconverged: Unconverged,
}

impl Default for EpConfig {
    fn default() -> Self {
        Self {
            nudging: Nudging::Positive,
            nudge: 1e-4,
            tolerance: 3e-4,
            nudged_tolerance: 3e-3,
            free_sweeps: 30,
            nudged_sweeps: 15,
            check_every: 1,
            damping: 0.0,
            unconverged: Unconverged::Use,
        }
    }
}
