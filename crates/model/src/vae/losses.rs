//! The losses of a step, which may stay on the device.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use hvae_device::read;

use crate::eqprop::SampleMask;
use crate::error::ModelError;
use crate::scalar::{ReadPolicy, Scalar};
use crate::vae::model::Vae;

/// The losses of a step, means over [the samples that count](crate::TrainingStep::counted).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Losses<T = f64> {
    /// The sum over pixels of `(x^ - x)^2`, at the sampled latent.
    pub reconstruction: T,
    /// `ln p(x|z)` in nats, at the sampled latent.
    pub log_likelihood: T,
    /// `KL(q(z|x) || p(z))` in nats.
    pub divergence: T,
}

/// What a loss is called in messages, in the order of [`Losses::into_array`].
const NAMES: [&str; 3] = ["reconstruction error", "log-likelihood", "KL divergence"];

impl<T> Losses<T> {
    /// `op` of each loss.
    pub fn map<U>(self, op: impl FnMut(T) -> U) -> Losses<U> {
        let [reconstruction, log_likelihood, divergence] = self.into_array().map(op);
        Losses { reconstruction, log_likelihood, divergence }
    }

    /// `op` of each pair of losses.
    pub fn zip<U, V>(self, other: Losses<U>, mut op: impl FnMut(T, U) -> V) -> Losses<V> {
        Losses {
            reconstruction: op(self.reconstruction, other.reconstruction),
            log_likelihood: op(self.log_likelihood, other.log_likelihood),
            divergence: op(self.divergence, other.divergence),
        }
    }

    fn into_array(self) -> [T; 3] {
        [self.reconstruction, self.log_likelihood, self.divergence]
    }

    fn as_array(&self) -> [&T; 3] {
        [&self.reconstruction, &self.log_likelihood, &self.divergence]
    }
}

impl Losses<Scalar> {
    /// Whether the host knows them all.
    pub fn are_known(&self) -> bool {
        self.as_array().into_iter().all(|loss| matches!(loss, Scalar::Host(_)))
    }
}

impl Vae {
    /// The losses of some steps, in one read of the device if any of them is still there. The sum
    /// of all parameters is read with them, because a rectified unit can hide a weight that is not
    /// finite from all losses.
    ///
    /// # Errors
    ///
    /// [`ModelError::NotFinite`] when a loss or a parameter is not finite.
    pub fn read_losses(&self, steps: &[&Losses<Scalar>]) -> Result<Vec<Losses>, ModelError> {
        let on_device = |loss: &Scalar| match loss {
            Scalar::Device(mean) => Some(mean.clone()),
            Scalar::Host(_) => None,
        };
        let losses = || steps.iter().flat_map(|step| step.as_array());
        let pending: Vec<_> = losses().filter_map(on_device).collect();
        let read = if pending.is_empty() { Vec::new() } else { self.read_finite(pending)? };
        let mut read = read.into_iter();
        let mut known = |loss: Scalar| match loss {
            Scalar::Host(value) => value,
            Scalar::Device(_) => read.next().expect("every pending loss was read"),
        };
        Ok(steps.iter().map(|step| (*step).clone().map(&mut known)).collect())
    }

    /// Reads means of losses, and checks that they and the sum of all parameters are finite.
    fn read_finite(&self, mut means: Vec<Tensor<1>>) -> Result<Vec<f64>, ModelError> {
        let device = means[0].device();
        let mut sums = Sums(Vec::new());
        self.visit(&mut sums);
        means.push(Tensor::cat(sums.0, 0).sum().to_device(&device));
        let mut values = read(Tensor::cat(means, 0));
        let weights = values.pop();
        let named = values.iter().copied().zip(NAMES.into_iter().cycle());
        for (value, what) in named.chain(weights.map(|w| (w, "sum of the weights"))) {
            if !value.is_finite() {
                return Err(ModelError::NotFinite {
                    what: what.to_owned(),
                    remedy: "check the images for values outside [0, 1], or lower the learning \
                             rate or the nudge"
                        .to_owned(),
                });
            }
        }
        Ok(values.into_iter().map(f64::from).collect())
    }

    /// The means over the samples that count, from one value per sample (`[batch]`): read, and
    /// checked, or with [`ReadPolicy::Deferred`] left on the device.
    pub(crate) fn losses(
        &self,
        samples: Losses<Tensor<1>>,
        mask: &SampleMask,
        policy: ReadPolicy,
    ) -> Result<Losses<Scalar>, ModelError> {
        let means = samples.map(|values| Scalar::Device(mask.mean(values)));
        if policy == ReadPolicy::Deferred {
            return Ok(means);
        }
        let read = self.read_losses(&[&means])?.remove(0);
        Ok(read.map(Scalar::Host))
    }
}

struct Sums(Vec<Tensor<1>>);

impl ModuleVisitor for Sums {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.push(param.val().sum());
    }
}
