//! How strong a nudge is: `beta` from its size.

use burn::tensor::Tensor;
use hvae_device::read;

use crate::energy::network::HopfieldNetwork;
use crate::eqprop::cost::Force;
use crate::error::{ModelError, require};
use crate::scalar::{ReadPolicy, Scalar};

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

impl NudgeSize {
    /// A nudge of this size, whose `beta` the host reads.
    pub fn new(rms: f64) -> Self {
        Self { rms, read: ReadPolicy::EveryStep }
    }

    /// Refuses a size that is not positive and finite.
    pub(crate) fn check(self) -> Result<(), ModelError> {
        let valid = self.rms.is_finite() && self.rms > 0.0;
        require(valid, "nudge", self.rms, "must be positive")
    }

    /// `beta` for forces of this norm; without a force its value does not matter.
    pub(crate) fn beta(self, norm: Option<NudgeNorm>) -> Result<Scalar, ModelError> {
        self.check()?;
        let Some(NudgeNorm { square, units }) = norm else {
            return self.beta_of(0.0);
        };
        let units = units.max(1) as f64;
        match self.read {
            ReadPolicy::EveryStep => self.beta_of(f64::from(read(square)[0]) / units),
            ReadPolicy::Deferred => {
                let rms = square.div_scalar(units).sqrt().clamp_min(SMALLEST_FORCE);
                Ok(Scalar::Device(rms.recip().mul_scalar(self.rms)))
            }
        }
    }

    /// `beta` where `c delta` has this mean square.
    pub(crate) fn beta_of(self, mean_square: f64) -> Result<Scalar, ModelError> {
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

/// Smallest root mean square of a force for which `beta` is computed: a smaller one has nothing to
/// teach, and `beta` must not overflow.
const SMALLEST_FORCE: f64 = 1e-12;

/// What a nudge with `beta = 1` would push.
#[derive(Debug)]
pub(crate) struct NudgeNorm {
    /// The sum over samples and units of the squares of `c delta`, `[1]`.
    pub(crate) square: Tensor<1>,
    /// How many there are.
    pub(crate) units: usize,
}

impl NudgeNorm {
    /// Of forces on layers of a network; `None` without a force. The rows of all but `samples`
    /// samples are 0.
    pub(crate) fn of(network: &HopfieldNetwork, forces: &[Force], samples: usize) -> Option<Self> {
        Self::with_gains(forces.iter().map(|f| (network.spec(f.layer).gain, &f.force)), samples)
    }

    /// Of gains `c` and forces `delta`.
    pub(crate) fn with_gains<'f>(
        forces: impl IntoIterator<Item = (f64, &'f Tensor<2>)>,
        samples: usize,
    ) -> Option<Self> {
        let mut units = 0;
        let squares = forces.into_iter().map(|(gain, force)| {
            units += samples * force.dims()[1];
            force.clone().mul_scalar(gain).square().sum()
        });
        let square = squares.reduce(|a, b| a + b)?;
        Some(Self { square, units })
    }
}
