//! Steps that leave the device alone: losses that stay there, and one nudge for many workers.

use std::fmt::Debug;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;

use crate::contrast::Kept;
use crate::eqprop::{self, Cost, EpGradient, Force};
use crate::relax::{Equilibrium, Relaxation};
use crate::strength::{self, Beta, Push, Strength};
use crate::{ModelError, Phases, Vae};

/// The losses of a step, means over [the samples that count](crate::TrainingStep::counted), in this order: the sum over pixels of `(x^ - x)^2`
/// and `ln p(x|z)` in nats, both at the sampled latent, and `KL(q(z|x) || p(z))` in nats.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant, reason = "there are a handful in a step")]
pub enum StepLosses {
    /// Known to the host, and finite.
    Known([f64; 3]),
    /// Still on the device, `[3]`; see [`Vae::read_losses`].
    OnDevice(Tensor<1>),
}

/// How the workers of one step, each with a part of the batch, come to nudge with one strength.
///
/// `beta` follows from a mean over the whole batch ([`Strength::Size`]). With a `beta` of its own
/// each part's gradient would have another bias, and their sum would not be that of the whole.
pub trait Agreement: Debug + Send + Sync {
    /// The sum, over all workers, of what each of them gives. Waits for them.
    ///
    /// # Errors
    ///
    /// [`ModelError::Worker`] when one of them has failed.
    fn sum(&self, values: [f64; 2]) -> Result<[f64; 2], ModelError>;
}

impl Phases {
    /// The gradient of `cost` with the nudge of these phases, its strength agreed on if there is an
    /// [`Agreement`].
    pub(crate) fn gradient(
        &self,
        relaxation: &Relaxation<'_>,
        free: &Equilibrium,
        cost: Cost<'_>,
    ) -> Result<EpGradient, ModelError> {
        let network = relaxation.network();
        let beta = |forces: &[Force], samples| {
            self.beta(|| strength::push(strength::gained(network, forces), samples))
        };
        eqprop::estimate(relaxation, free, cost, &self.nudge, beta)
    }

    fn beta(&self, push: impl FnOnce() -> Option<Push>) -> Result<Beta, ModelError> {
        let (Some(agreement), Strength::Size(size) | Strength::SizeOnDevice(size)) =
            (&self.agreement, self.nudge.strength)
        else {
            return strength::beta(self.nudge.strength, push);
        };
        let Some(Push { square, units }) = push() else {
            return strength::beta(self.nudge.strength, || None);
        };
        let square = f64::from(hvae_device::read(square)[0]);
        let [square, units] = agreement.sum([square, units as f64])?;
        strength::beta_of_size(size, square / units.max(1.0)).map(Beta::Host)
    }
}

impl Vae {
    /// The losses of some steps, in one read of the device if any of them is still there. The sum
    /// of all parameters rides along, because a rectified unit can hide a weight that is not
    /// finite from all of them.
    ///
    /// # Errors
    ///
    /// [`ModelError::NotFinite`] when a loss or a parameter is not a number.
    pub fn read_losses(&self, steps: &[&StepLosses]) -> Result<Vec<[f64; 3]>, ModelError> {
        let pending: Vec<_> = steps
            .iter()
            .filter_map(|losses| match losses {
                StepLosses::OnDevice(means) => Some(means.clone()),
                StepLosses::Known(_) => None,
            })
            .collect();
        let mut read = if pending.is_empty() { Vec::new() } else { self.finite(pending)? };
        read.reverse();
        let mut next = || read.pop().expect("three numbers were read of every pending step");
        let known = |losses: &&StepLosses| match losses {
            StepLosses::Known(means) => *means,
            StepLosses::OnDevice(_) => [next(), next(), next()],
        };
        Ok(steps.iter().map(known).collect())
    }

    /// What was read of these means, if they and the sum of all parameters are finite.
    fn finite(&self, mut means: Vec<Tensor<1>>) -> Result<Vec<f64>, ModelError> {
        let device = means[0].device();
        let mut sums = Sums(Vec::new());
        self.visit(&mut sums);
        means.push(Tensor::cat(sums.0, 0).sum().to_device(&device));
        let mut values = hvae_device::read(Tensor::cat(means, 0));
        let weights = values.pop();
        let names = ["reconstruction error", "log-likelihood", "KL divergence"];
        let named = values.iter().copied().zip(names.into_iter().cycle());
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

    /// The means over the samples that are `kept` of reconstruction error, log-likelihood and
    /// divergence, given for every sample: read, and checked, unless the device is to be left alone.
    /// Besides this a training step reads the device at convergence checks and, for sizes of nudges,
    /// once a network.
    pub(crate) fn losses(
        &self,
        samples: [Tensor<1>; 3],
        kept: &Kept,
        phases: &Phases,
    ) -> Result<StepLosses, ModelError> {
        let means = samples.map(|values| kept.mean(values)).to_vec();
        if phases.quiet {
            return Ok(StepLosses::OnDevice(Tensor::cat(means, 0)));
        }
        let means = self.finite(means)?;
        Ok(StepLosses::Known([means[0], means[1], means[2]]))
    }
}

/// Collects the sum of every parameter.
struct Sums(Vec<Tensor<1>>);

impl ModuleVisitor for Sums {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.push(param.val().sum());
    }
}
