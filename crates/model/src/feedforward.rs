//! The yardstick model: the same layers without feedback, trained by backpropagation.

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

use crate::contrast::Kept;
use crate::error::require_shape;
use crate::phases::{PhaseOutcomes, Phases};
use crate::reference::Trace;
use crate::{HopfieldNetwork, ModelError, TrainingStep, Vae};

impl HopfieldNetwork {
    /// The states of all layers when signals pass once from the first, `input` (`[batch, n_0]`),
    /// to the last: `s_k = g_k(c_k (b_k + sum_{l<k} W_lk s_l))`.
    ///
    /// # Errors
    ///
    /// [`ModelError::Shape`] when `input` has another width than the first layer.
    pub(crate) fn feed_forward(&self, input: Tensor<2>) -> Result<Vec<Tensor<2>>, ModelError> {
        let first = &self.layers[0].spec;
        let what = format!("the state of layer {}", first.name);
        require_shape(what, &input, [input.dims()[0], first.size])?;
        let mut states = vec![input];
        for (k, layer) in self.layers.iter().enumerate().skip(1) {
            let incoming = self.couplings.iter().filter(|c| c.upper == k && c.lower < k);
            let products = incoming.map(|c| states[c.lower].clone().matmul(c.weight.val()));
            let sum = products.reduce(|a, b| a + b);
            let mut input = sum.ok_or_else(|| {
                ModelError::Network(format!("no signal reaches layer {}", layer.spec.name))
            })?;
            if let Some(bias) = &layer.bias {
                input = input + bias.val().unsqueeze();
            }
            states.push(layer.spec.activation.apply(input.mul_scalar(layer.spec.gain)));
        }
        Ok(states)
    }
}

impl Vae {
    /// [`Self::training_step`] of an F-VAE.
    pub(crate) fn backpropagation_step(
        &self,
        images: Tensor<2>,
        noise: Tensor<2>,
        kl_weight: f64,
        phases: &Phases,
    ) -> Result<TrainingStep, ModelError> {
        let device = images.device();
        let rows = images.dims()[0];
        let traced = self.clone().map(&mut Trace);
        let (images, noise) = (images.autodiff(), noise.autodiff());
        let reconstruction = traced.reconstruct(images, Some(noise), phases)?;
        let divergence = reconstruction.posterior.divergence();
        let likelihood = reconstruction.log_likelihood;
        let cost = divergence.clone().mul_scalar(kl_weight) - likelihood.clone();
        let gradients = GradientsParams::from_grads(cost.mean().backward(), &traced);
        let inner = |t: Tensor<1>| t.inner();
        let error = inner(reconstruction.error);
        let losses = [error, inner(likelihood), inner(divergence)];
        let losses = self.losses(losses, &Kept::new(&vec![true; rows], &device), phases)?;
        let outcomes = PhaseOutcomes::default();
        Ok(TrainingStep { gradients, losses, counted: rows, dropped: 0, betas: None, outcomes })
    }
}
