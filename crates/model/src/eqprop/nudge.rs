//! Which nudged phases are run, and how.

use hvae_solver::StoppingRule;
use serde::{Deserialize, Serialize};

use crate::eqprop::nudge_size::NudgeSize;

/// Which nudged phases are run. `s_beta` is the equilibrium of `E(s) + beta C(s)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Nudging {
    /// `[dE/dtheta(s_+beta) - dE/dtheta(s_-beta)] / (2 beta)`: bias `O(beta^2)`
    /// (Laborieux et al. 2021, arXiv 2006.03824).
    Centred,
    /// `[dE/dtheta(s_+beta) - dE/dtheta(s_0)] / beta`: bias `O(beta)`
    /// (Scellier & Bengio 2017, arXiv 1602.05179).
    Positive,
    /// `[dE/dtheta(s_0) - dE/dtheta(s_-beta)] / beta`: bias `O(beta)`.
    Negative,
}

impl Nudging {
    /// The strengths of the two contrasted states, in units of `beta`.
    pub(crate) fn signs(self) -> [f64; 2] {
        match self {
            Self::Centred => [1.0, -1.0],
            Self::Positive => [1.0, 0.0],
            Self::Negative => [0.0, -1.0],
        }
    }

    /// Their difference, `(beta_a - beta_b) / beta`.
    pub(crate) fn spread(self) -> f64 {
        let [a, b] = self.signs();
        a - b
    }
}

/// What happens to samples that do not converge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unconverged {
    /// Their states are used as they are: the gradient is taken about the state that the free phase
    /// reached, with the residual of the nudged phase as its error. A sample that is not finite
    /// makes the whole gradient so.
    Use,
    /// They contribute nothing to the gradient of the network whose phase did not converge, pass no
    /// gradient on, and after a free phase have no part in the size of the nudge. The gradient
    /// stays a sum over the other samples divided by the size of the whole batch.
    Drop,
}

/// How the nudged phases are run.
#[derive(Debug, Clone, Copy)]
pub struct Nudge {
    /// How strong the nudge is.
    pub size: NudgeSize,
    /// Which phases.
    pub nudging: Nudging,
    /// What happens to samples that do not converge.
    pub unconverged: Unconverged,
    /// Damping of the sweeps, in `[0, 1)`.
    pub damping: f64,
    /// When a nudged phase ends.
    pub rule: StoppingRule,
}
