//! What equilibrium propagation is compared with: the unrolled gradient, by automatic
//! differentiation through the relaxation itself.

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use hvae_solver::{FixedPointMap, Sweep};

use crate::dynamics::{Equilibrium, Relaxation};
use crate::eqprop::{EpConfig, PhaseSettings};
use crate::error::ModelError;
use crate::scalar::ReadPolicy;
use crate::vae::Vae;
use crate::vae::baseline::Trace;

impl Vae {
    /// The gradient that [`Self::training_step`] estimates, by automatic differentiation through
    /// `sweeps` undamped sweeps of each free phase in exact arithmetic (backpropagation through
    /// time), under the same parameter ids.
    ///
    /// A check, not a way to train: its memory grows with `sweeps`.
    ///
    /// # Errors
    ///
    /// As [`Self::encoder_phase`], and for noise of another shape; not for numbers that are not
    /// finite.
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

        let exact = PhaseSettings::new(&EpConfig::default(), ReadPolicy::EveryStep)?;
        let encoder = traced.encoder_phase(images.clone(), &exact)?;
        let posterior = traced.posterior(&unroll(&encoder, sweeps).states);
        let latents = posterior.sample(noise);
        let decoder = traced.decoder_phase(latents.clone(), &exact)?;
        let decoded = traced.decoded(&unroll(&decoder, sweeps).states, &decoder.wiring);
        let cost = traced.prior().divergence(&posterior, &latents).mul_scalar(kl_weight)
            - traced.config.log_likelihood(&decoded, &images)?;
        let gradients = cost.mean().backward();
        let mut gradients = GradientsParams::from_grads(gradients, &traced);
        for (_, network) in self.networks() {
            network.project(&mut gradients);
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
