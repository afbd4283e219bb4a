//! How strong a nudge is.

use burn::tensor::Tensor;

use crate::error::require;
use crate::{Force, HopfieldNetwork, ModelError};

/// How strong a nudge is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Strength {
    /// `beta` itself.
    Beta(f64),
    /// `beta` such that `c beta delta`, the push on the gained pre-activations of the nudged
    /// layers, has this root mean square over samples and units. Costs one read of the device.
    /// In a [CHN](crate::classifier), whose loss acts on the raw state, `beta delta`.
    Size(f64),
    /// The same, but `beta` stays on the device, which is not read. A force that is not finite makes
    /// it, and all that follows from it, not a number.
    SizeOnDevice(f64),
}

/// The strength that a nudge came to have.
///
/// On a device that computes while the host goes on, `beta` stays a tensor there: to read it would
/// make the host wait in the middle of a step.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant, reason = "there are a handful in a step")]
pub enum Beta {
    /// Known to the host.
    Host(f64),
    /// On the device, `[1]`.
    Device(Tensor<1>),
}

impl Beta {
    /// `beta`; reads the device if it must.
    pub fn value(&self) -> f64 {
        match self {
            Self::Host(beta) => *beta,
            Self::Device(beta) => f64::from(hvae_device::read(beta.clone())[0]),
        }
    }

    /// `factor beta tensor`.
    pub(crate) fn times(&self, tensor: Tensor<2>, factor: f64) -> Tensor<2> {
        match self {
            Self::Host(beta) => tensor.mul_scalar(factor * beta),
            Self::Device(beta) => tensor * beta.clone().mul_scalar(factor).unsqueeze(),
        }
    }

    /// `tensor / (factor beta)`.
    pub(crate) fn divide<const D: usize>(&self, tensor: Tensor<D>, factor: f64) -> Tensor<D> {
        match self {
            Self::Host(beta) => tensor.mul_scalar(1.0 / (factor * beta)),
            Self::Device(beta) => {
                tensor * beta.clone().recip().mul_scalar(1.0 / factor).unsqueeze()
            }
        }
    }
}

/// Smallest root mean square of a force that `beta` is fitted to: below it there is nothing to
/// learn, and `beta` must not overflow.
const SMALLEST_FORCE: f64 = 1e-12;

/// `beta`, checked and resolved; `push` is asked for where it follows from the forces.
pub(crate) fn beta(
    strength: Strength,
    push: impl FnOnce() -> Option<Push>,
) -> Result<Beta, ModelError> {
    let (Strength::Beta(value) | Strength::Size(value) | Strength::SizeOnDevice(value)) = strength;
    let name = if matches!(strength, Strength::Beta(_)) { "beta" } else { "nudge" };
    require(value.is_finite() && value > 0.0, name, value, "must be positive")?;
    if let Strength::Beta(beta) = strength {
        return Ok(Beta::Host(beta));
    }
    // Without a force there is nothing to push, and any strength will do.
    let Some(Push { square, units }) = push() else {
        return beta_of_size(value, 0.0).map(Beta::Host);
    };
    let units = units.max(1);
    if matches!(strength, Strength::SizeOnDevice(_)) {
        let size = square.div_scalar(units as f64).sqrt();
        return Ok(Beta::Device(size.clamp_min(SMALLEST_FORCE).recip().mul_scalar(value)));
    }
    let mean_square = f64::from(hvae_device::read(square)[0]) / units as f64;
    beta_of_size(value, mean_square).map(Beta::Host)
}

/// What a nudge of strength 1 would push.
#[derive(Debug)]
pub(crate) struct Push {
    /// The sum over samples and units of the squares of `c delta`, `[1]`.
    pub(crate) square: Tensor<1>,
    /// How many there are.
    pub(crate) units: usize,
}

/// The push of these gains `c` and forces `delta` on so many `samples`, the rows of others being 0;
/// `None` without a force.
pub(crate) fn push<'f>(
    forces: impl IntoIterator<Item = (f64, &'f Tensor<2>)>,
    samples: usize,
) -> Option<Push> {
    let mut units = 0;
    let squares = forces.into_iter().map(|(gain, force)| {
        units += samples * force.dims()[1];
        force.clone().mul_scalar(gain).square().sum()
    });
    let square = squares.reduce(|a, b| a + b)?;
    Some(Push { square, units })
}

/// Every force with the gain of its layer.
pub(crate) fn gained<'f>(
    network: &HopfieldNetwork,
    forces: &'f [Force],
) -> impl Iterator<Item = (f64, &'f Tensor<2>)> {
    forces.iter().map(|f| (network.layers[f.layer].spec.gain, &f.force))
}

/// `beta` such that `c beta delta` has the root mean square `size` where `c delta` has this mean
/// square.
pub(crate) fn beta_of_size(size: f64, mean_square: f64) -> Result<f64, ModelError> {
    if !mean_square.is_finite() {
        return Err(ModelError::NotFinite {
            what: "the force of the cost on the network".to_owned(),
            remedy: "check the images for values outside [0, 1], or lower the learning rate"
                .to_owned(),
        });
    }
    Ok(size / mean_square.sqrt().max(SMALLEST_FORCE))
}

/// The strength of a nudge for forces on so many samples of `network`.
pub(crate) fn resolve(
    strength: Strength,
    network: &HopfieldNetwork,
) -> impl FnOnce(&[Force], usize) -> Result<Beta, ModelError> {
    move |forces, samples| beta(strength, || push(gained(network, forces), samples))
}
