//! The shape of the learning-rate decay.

use serde::{Deserialize, Serialize};

/// How the learning rate decays after its warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// Half a period of a cosine.
    Cosine,
    /// Linear.
    Linear,
    /// No decay.
    Constant,
}
