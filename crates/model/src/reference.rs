//! The yardstick of equilibrium propagation: differentiation through the relaxation itself.

use burn::module::{Module, ModuleMapper, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use hvae_solver::{FixedPointMap, Sweep};

use crate::relax::{Equilibrium, Relaxation};
use crate::{ModelError, Vae};

impl Vae {
    /// The gradient that [`Self::training_step`] estimates, by automatic differentiation through
    /// `sweeps` undamped sweeps of each free phase, under the same parameter ids.
    ///
    /// A check, not a way to train: its memory grows with `sweeps`.
    ///
    /// # Errors
    ///
    /// As [`Self::encoder_phase`]; [`ModelError::Shape`] also when `noise` has another shape. Numbers
    /// that are not finite are no error.
    pub fn unrolled_gradient(
        &self,
        images: Tensor<2>,
        noise: Tensor<2>,
        kl_weight: f64,
        sweeps: usize,
    ) -> Result<GradientsParams, ModelError> {
        self.require_equilibria()?;
        self.require_noise(&images, &noise)?;
        let traced = self.clone().map(&mut Trace);
        let (images, noise) = (images.autodiff(), noise.autodiff());

        let encoder = traced.encoder_phase(images.clone())?;
        let posterior = traced.posterior(&unroll(&encoder, sweeps));
        let decoder = traced.decoder_phase(posterior.sample(noise))?;
        let decoded = traced.decoded(&unroll(&decoder, sweeps).states);
        let cost = posterior.divergence().mul_scalar(kl_weight)
            - traced.config.log_likelihood(&decoded, &images)?;
        let gradients = cost.mean().backward();
        let mut gradients = GradientsParams::from_grads(gradients, &traced);
        for (_, network) in self.networks() {
            for c in network.couplings.iter().filter(|c| c.is_recurrent()) {
                // Of a symmetric matrix only that part can change.
                if let Some(gradient) = gradients.remove::<2>(c.weight.id) {
                    gradients.register(c.weight.id, c.changeable(gradient));
                }
            }
        }
        Ok(gradients)
    }
}

/// The states after `sweeps` sweeps from the usual guess.
fn unroll(relaxation: &Relaxation<'_>, sweeps: usize) -> Equilibrium {
    let sweep = Sweep(relaxation.clone());
    let state = (0..sweeps).fold(relaxation.guess(), |state, i| sweep.apply(&state, i));
    relaxation.equilibrium(state, Vec::new())
}

/// Makes every parameter a leaf of a graph, under its id. Nothing leaves the device.
pub(crate) struct Trace;

impl ModuleMapper for Trace {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        Param::initialized(param.id, param.val().autodiff().require_grad())
    }
}
