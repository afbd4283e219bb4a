//! The baseline: the same layers without feedback, trained by backpropagation.

use burn::module::{Module, ModuleMapper, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

use crate::energy::{HopfieldNetwork, LayerId, PerLayer};
use crate::eqprop::{PhaseSettings, SampleMask};
use crate::error::{ModelError, require_shape};
use crate::vae::losses::Losses;
use crate::vae::model::Vae;
use crate::vae::outcomes::{PhaseOutcomes, TrainingStep};

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
        let divergence = traced.prior().divergence(&found.posterior, &found.latents);
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

/// The states of all layers when signals pass once from the first, `input` (`[batch, n_0]`), to the
/// last: `s_k = g_k(c_k (b_k + sum_{l<k} W_lk s_l))`.
///
/// # Errors
///
/// When `input` has another width, or a layer is coupled with no lower one.
pub(crate) fn feed_forward(
    network: &HopfieldNetwork,
    input: Tensor<2>,
) -> Result<PerLayer<Tensor<2>>, ModelError> {
    let first = network.spec(LayerId(0));
    let what = format!("the state of layer {}", first.name);
    require_shape(what, &input, [input.dims()[0], first.size()])?;
    let mut states = PerLayer::empty(network.layers.len());
    states.set(LayerId(0), input);
    for (k, layer) in network.ids().zip(&network.layers).skip(1) {
        let below = network.couplings.iter().filter(|c| c.upper == k && c.lower < k);
        let fields = below.map(|c| c.interaction.linear().to_upper(states[c.lower].clone()));
        let sum = fields.reduce(|a, b| a + b);
        let mut input = sum.ok_or_else(|| {
            ModelError::Network(format!("no signal reaches layer {}", layer.spec.name))
        })?;
        if let Some(bias) = &layer.bias {
            input = input + bias.val().unsqueeze();
        }
        states.set(k, layer.spec.activation.apply(input.mul_scalar(layer.spec.gain)));
    }
    Ok(states)
}

/// Makes every parameter a leaf of an autodiff graph, under its id. Values stay on their device.
pub(crate) struct Trace;

impl ModuleMapper for Trace {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        Param::initialized(param.id, param.val().autodiff().require_grad())
    }
}
