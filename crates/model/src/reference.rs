//! The yardstick of equilibrium propagation: differentiation through the relaxation itself.

use burn::module::{Module, ModuleMapper, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use hvae_solver::{FixedPointMap, Sweep};

use crate::latent::Posterior;
use crate::relax::Relaxation;
use crate::{ModelError, Vae};

impl Vae {
    /// The gradient that [`Self::training_step`] estimates, by automatic differentiation through
    /// `sweeps` undamped sweeps of each free phase, under the same parameter ids.
    ///
    /// A check, not a way to train: its memory grows with `sweeps`.
    ///
    /// # Errors
    ///
    /// As [`Self::encoder_phase`].
    pub fn unrolled_gradient(
        &self,
        images: Tensor<2>,
        noise: Tensor<2>,
        kl_weight: f64,
        sweeps: usize,
    ) -> Result<GradientsParams, ModelError> {
        let device = images.device().autodiff();
        let lift = |t: Tensor<2>| Tensor::<2>::from_data(t.into_data(), &device);
        let traced = self.clone().map(&mut Trace(&device));
        let (images, noise) = (lift(images), lift(noise));
        let [rows, _] = images.dims();

        let encoded = unroll(&traced.encoder_phase(images.clone())?, sweeps);
        let outputs = encoded.len();
        let posterior = Posterior {
            mean: encoded[outputs - 2].clone(),
            log_variance: encoded[outputs - 1].clone(),
        };
        let decoded = unroll(&traced.decoder_phase(posterior.sample(noise))?, sweeps);
        let error = (decoded[decoded.len() - 1].clone() - images).square().sum();
        let divergence = posterior.divergence().sum();
        let cost = error.mul_scalar(0.5 * self.precision) + divergence.mul_scalar(kl_weight);
        let gradients = cost.div_scalar(rows as f64).backward();
        Ok(GradientsParams::from_grads(gradients, &traced))
    }
}

/// The free layers after `sweeps` sweeps from the usual guess.
fn unroll(relaxation: &Relaxation<'_>, sweeps: usize) -> Vec<Tensor<2>> {
    let sweep = Sweep(relaxation.clone());
    let state = (0..sweeps).fold(relaxation.guess(), |state, _| sweep.apply(&state));
    state.into_components()
}

/// Copies every parameter to an autodiff device, as a leaf, with its id.
pub(crate) struct Trace<'a>(pub(crate) &'a Device);

impl ModuleMapper for Trace<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let copy = Tensor::<D>::from_data(param.val().into_data(), self.0);
        Param::initialized(param.id, copy.require_grad())
    }
}
