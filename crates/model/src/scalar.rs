//! When the host may read the device, and numbers that may stay on it.

use burn::tensor::Tensor;
use hvae_device::read;

/// When a training step may read the device.
///
/// A read makes the host wait for everything that it has queued. On the CPU that costs nothing; on
/// a GPU it costs more than a sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReadPolicy {
    /// Whenever a number is needed: for the size of a nudge, the losses, and at convergence checks.
    #[default]
    EveryStep,
    /// At convergence checks only: batches keep their size, nudging strengths and losses stay on
    /// the device. Numbers are the same up to rounding.
    Deferred,
}

/// A number that the host knows, or that is still on the device.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant, reason = "a step has a handful of them")]
pub enum Scalar {
    /// Known to the host.
    Host(f64),
    /// On the device, `[1]`.
    Device(Tensor<1>),
}

impl Scalar {
    /// The number; reads the device if it must.
    pub fn read(&self) -> f64 {
        match self {
            Self::Host(value) => *value,
            Self::Device(value) => f64::from(read(value.clone())[0]),
        }
    }

    /// `factor self tensor`.
    pub fn times<const D: usize>(&self, tensor: Tensor<D>, factor: f64) -> Tensor<D> {
        match self {
            Self::Host(value) => tensor.mul_scalar(factor * value),
            Self::Device(value) => tensor * value.clone().mul_scalar(factor).unsqueeze(),
        }
    }

    /// `tensor / (factor self)`.
    pub(crate) fn divide<const D: usize>(&self, tensor: Tensor<D>, factor: f64) -> Tensor<D> {
        match self {
            Self::Host(value) => tensor.mul_scalar(1.0 / (factor * value)),
            Self::Device(value) => {
                tensor * value.clone().recip().mul_scalar(1.0 / factor).unsqueeze()
            }
        }
    }
}

impl From<f64> for Scalar {
    fn from(value: f64) -> Self {
        Self::Host(value)
    }
}
