//! The yardstick of equilibrium propagation: differentiation through the relaxation itself.

use burn::module::{Module, ModuleMapper, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
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
        let traced = self.clone().map(&mut Trace);
        let (images, noise) = (images.autodiff(), noise.autodiff());
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

/// Makes every parameter a leaf of a graph, under its id. Nothing leaves the device.
pub(crate) struct Trace;

impl ModuleMapper for Trace {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        Param::initialized(param.id, param.val().autodiff().require_grad())
    }
}
