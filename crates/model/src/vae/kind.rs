//! The members of the family.

use serde::{Deserialize, Serialize};

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
