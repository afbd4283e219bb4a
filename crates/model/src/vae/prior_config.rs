//! Settings of the prior, as plain data.

use serde::{Deserialize, Serialize};

use crate::error::{ModelError, require};

/// Most patterns of a prior.
const MOST_PATTERNS: usize = 1 << 16;

/// Which distribution the latents have before an image is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PriorKind {
    /// `N(0, I)`.
    Standard,
    /// A [`HopfieldPrior`](crate::HopfieldPrior), learned with the model.
    Hopfield,
}

/// The prior of a model. All but `kind` are of a Hopfield prior.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PriorConfig {
    /// Which prior.
    pub kind: PriorKind,
    /// Patterns `K`, 1 to 65536, and at most as many as training images.
    pub patterns: usize,
    /// Steps with `N(0, I)`, until the patterns start at the posterior means of `K` training images.
    pub start: usize,
    /// Where the inverse temperature starts, 1e-3 to 1e6.
    pub beta: f64,
    /// Factor on the learning rate of its parameters, positive.
    pub rate: f64,
}

impl Default for PriorConfig {
    fn default() -> Self {
        Self { kind: PriorKind::Standard, patterns: 500, start: 500, beta: 1.5, rate: 2.5 }
    }
}

impl PriorConfig {
    /// Checks every setting.
    ///
    /// # Errors
    ///
    /// Naming the first that is out of range.
    pub fn check(&self) -> Result<(), ModelError> {
        let Self { patterns, beta, rate, .. } = *self;
        let ok = (1..=MOST_PATTERNS).contains(&patterns);
        require(ok, "prior.patterns", patterns, "must lie between 1 and 65536")?;
        let ok = (1e-3..=1e6).contains(&beta);
        require(ok, "prior.beta", beta, "must lie between 1e-3 and 1e6")?;
        let ok = rate.is_finite() && rate > 0.0;
        require(ok, "prior.rate", rate, "must be a positive number")
    }
}
