//! How a learned prior is used.

use std::fmt;

use hvae_model::modern::{Thresholds, beta_eff};
use hvae_model::{HopfieldPrior, Vae};
use serde::{Deserialize, Serialize};

/// The patterns of a learned prior, and its temperature.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct PriorUse {
    /// Patterns `K`.
    pub(crate) patterns: usize,
    /// Patterns in use: the exponential of the entropy of their weights.
    pub(crate) in_use: f64,
    /// The inverse temperature `b`.
    pub(crate) beta: f64,
    /// `b D^2 / 2`, with `D^2` the mean squared distance of patterns that are drawn by their
    /// weights.
    pub(crate) beta_eff: f64,
    /// The thresholds of as many equidistant patterns as are in use: minima at patterns appear.
    pub(crate) b1: f64,
    /// They and the mean have the same energy.
    pub(crate) b2: f64,
    /// The mean loses stability.
    pub(crate) b3: f64,
}

impl PriorUse {
    /// Of the prior of `model`, if it is a learned one.
    pub(crate) fn of(model: &Vae) -> Option<Self> {
        let mixture = model.prior.as_ref().map(HopfieldPrior::on_host)?;
        let in_use = mixture.in_use();
        #[allow(clippy::cast_sign_loss, reason = "at least one")]
        let thresholds = Thresholds::of((in_use.round() as usize).max(2))?;
        let Thresholds { b1, b2, b3, .. } = thresholds;
        Some(Self {
            patterns: mixture.weights.len(),
            in_use,
            beta: mixture.beta,
            beta_eff: beta_eff(mixture.beta, mixture.distance_squared()),
            b1,
            b2,
            b3,
        })
    }
}

impl fmt::Display for PriorUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { patterns, in_use, beta, beta_eff, b1, b2, b3 } = self;
        write!(f, "prior {in_use:.0} of {patterns} patterns in use  beta {beta:.2}  ")?;
        write!(f, "beta_eff {beta_eff:.1} ({b1:.1} {b2:.1} {b3:.0})")
    }
}
