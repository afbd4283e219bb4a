//! Which nudged phases are run, and how strong the nudge is.

use std::fmt::Debug;

use burn::tensor::Tensor;
use hvae_device::read;
use hvae_solver::StoppingRule;
use serde::{Deserialize, Serialize};

use crate::error::{ModelError, require};
use crate::scalar::{ReadPolicy, Scalar};

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

/// How strong a nudge is.
///
/// `beta` is chosen such that `c beta delta`, the push on the gained inputs of the nudged layers,
/// has a given root mean square over samples and units; in a [CHN](crate::chn_ham), whose loss acts
/// on the raw state, `beta delta`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NudgeSize {
    /// That root mean square, > 0.
    pub rms: f64,
    /// With [`ReadPolicy::Deferred`] `beta` stays on the device, which is not read. A force that is
    /// not finite then makes it, and all that follows from it, NaN.
    pub read: ReadPolicy,
}

/// A sum of squares.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Squares<T = f64> {
    /// The sum.
    pub sum: T,
    /// Of how many numbers.
    pub count: f64,
}

/// Sums over the workers of one step, each of which has a part of the batch.
///
/// `beta` follows from a mean over the whole batch. With a `beta` of its own each part's gradient
/// would have another bias, and their sum would not be that of the whole batch.
pub trait AllReduce: Debug + Send + Sync {
    /// The sum of `part` over all workers. Waits for them.
    ///
    /// # Errors
    ///
    /// [`ModelError::Worker`] when one of them has failed.
    fn sum(&self, part: Squares) -> Result<Squares, ModelError>;
}

/// Smallest root mean square of a force for which `beta` is computed: a smaller one has nothing to
/// teach, and `beta` must not overflow.
const SMALLEST_FORCE: f64 = 1e-12;

impl NudgeSize {
    /// A nudge of this size, whose `beta` the host reads.
    pub fn new(rms: f64) -> Self {
        Self { rms, read: ReadPolicy::EveryStep }
    }

    pub(crate) fn check(self) -> Result<(), ModelError> {
        let valid = self.rms.is_finite() && self.rms > 0.0;
        require(valid, "nudge", self.rms, "must be positive")
    }

    /// `beta` for this force, and those of other workers if there are any; without a force its
    /// value does not matter, and no worker waits.
    pub(crate) fn beta(
        self,
        force: Option<Squares<Tensor<1>>>,
        workers: Option<&dyn AllReduce>,
    ) -> Result<Scalar, ModelError> {
        self.check()?;
        let Some(Squares { sum, count }) = force else {
            return self.beta_of(Squares::default());
        };
        if self.read == ReadPolicy::Deferred && workers.is_none() {
            let rms = sum.div_scalar(count.max(1.0)).sqrt().clamp_min(SMALLEST_FORCE);
            return Ok(Scalar::Device(rms.recip().mul_scalar(self.rms)));
        }
        let squares = Squares { sum: f64::from(read(sum)[0]), count };
        self.beta_of(workers.map_or(Ok(squares), |all| all.sum(squares))?)
    }

    /// `beta` where the squares of `c delta` have this mean.
    fn beta_of(self, Squares { sum, count }: Squares) -> Result<Scalar, ModelError> {
        let mean_square = sum / count.max(1.0);
        if !mean_square.is_finite() {
            return Err(ModelError::NotFinite {
                what: "the force of the cost on the network".to_owned(),
                remedy: "check the images for values outside [0, 1], or lower the learning rate"
                    .to_owned(),
            });
        }
        Ok(Scalar::Host(self.rms / mean_square.sqrt().max(SMALLEST_FORCE)))
    }
}

impl Squares<Tensor<1>> {
    /// What a nudge with `beta = 1` would push, `c delta` for gains `c` and forces `delta`; `None`
    /// without a force. The rows of all but `samples` samples are 0.
    pub(crate) fn of<'f>(
        forces: impl IntoIterator<Item = (f64, &'f Tensor<2>)>,
        samples: usize,
    ) -> Option<Self> {
        let mut count = 0;
        let squares = forces.into_iter().map(|(gain, force)| {
            count += samples * force.dims()[1];
            force.clone().mul_scalar(gain).square().sum()
        });
        let sum = squares.reduce(|a, b| a + b)?;
        Some(Self { sum, count: count as f64 })
    }
}
