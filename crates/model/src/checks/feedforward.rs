//! The baseline: the same layers without feedback, trained by backpropagation.

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

use crate::checks::unrolled::Trace;
use crate::eqprop::phases::PhaseSettings;
use crate::eqprop::sample_mask::SampleMask;
use crate::error::ModelError;
use crate::vae::losses::Losses;
use crate::vae::model::Vae;
use crate::vae::outcomes::PhaseOutcomes;
use crate::vae::step::TrainingStep;

impl Vae {
    /// [`Self::training_step`] of an F-VAE.
    pub(crate) fn backpropagation_step(
        &self,
        images: Tensor<2>,
        noise: Tensor<2>,
        kl_weight: f64,
        phases: &PhaseSettings,
    ) -> Result<TrainingStep, ModelError> {
        let device = images.device();
        let rows = images.dims()[0];
        let traced = self.clone().map(&mut Trace);
        let (images, noise) = (images.autodiff(), noise.autodiff());
        let found = traced.reconstruct(images, Some(noise), phases)?;
        let divergence = self.prior().divergence(&found.posterior, &found.latents);
        let likelihood = found.log_likelihood;
        let cost = divergence.clone().mul_scalar(kl_weight) - likelihood.clone();
        let gradients = GradientsParams::from_grads(cost.mean().backward(), &traced);
        let losses = Losses { reconstruction: found.error, log_likelihood: likelihood, divergence };
        let losses = losses.map(Tensor::inner);
        let mask = SampleMask::new(&vec![true; rows], &device);
        let losses = self.losses(losses, &mask, phases.read_policy())?;
        let outcomes = PhaseOutcomes::default();
        Ok(TrainingStep { gradients, losses, counted: rows, dropped: 0, betas: None, outcomes })
    }
}
