//! Costs that are read out beside the energy.

use burn::tensor::Tensor;

use crate::HopfieldNetwork;
use crate::contrast::Kept;
use crate::eqprop::{EpGradient, Force, Readout};
use crate::relax::{Equilibrium, Relaxation};

/// What a [`Readout`] asks of the network around its layer.
#[derive(Debug)]
pub(crate) struct Pull<'n> {
    network: &'n HopfieldNetwork,
    layer: usize,
    /// `c_k dl/da_k`, `[batch, n_k]`.
    value: Tensor<2>,
}

impl<'n> Pull<'n> {
    /// That of the samples that are `kept`.
    pub(crate) fn new(network: &'n HopfieldNetwork, readout: &Readout, kept: &Kept) -> Self {
        let layer = readout.layer;
        let value = readout.error.clone().mul_scalar(network.layers[layer].spec.gain);
        Self { network, layer, value: kept.only(value) }
    }

    /// The force on layer `l`, if the two are coupled.
    fn felt(&self, l: usize) -> Option<Tensor<2>> {
        let mut only = vec![None; self.network.layers.len()];
        only[self.layer] = Some(self.value.clone());
        self.network.field(l, &only)
    }

    /// The forces on the layers that relax.
    pub(crate) fn forces(&self, relaxation: &Relaxation<'_>) -> Vec<Force> {
        let free = relaxation.free_layers().iter();
        free.filter_map(|&layer| Some(Force { layer, force: self.felt(layer)? })).collect()
    }

    /// Adds the direct gradient of the readout to `result`, which those forces gave, for the samples
    /// that are `kept`.
    pub(crate) fn complete(
        mut self,
        mut result: EpGradient,
        relaxation: &Relaxation<'_>,
        free: &Equilibrium,
        kept: &Kept,
    ) -> EpGradient {
        self.value = kept.only(self.value);
        let (network, k) = (self.network, self.layer);
        let [rows, _] = self.value.dims();
        let mean = self.value.clone().div_scalar(rows as f64);
        let outer = |l: usize| {
            let state = kept.only(free.states[l].clone()?);
            Some(state.transpose().matmul(mean.clone()))
        };
        for (c, gradient) in network.couplings.iter().zip(&mut result.weights) {
            let direct = if c.is_recurrent() && c.lower == k {
                outer(k).map(|direct| c.changeable(direct))
            } else if c.upper == k {
                outer(c.lower)
            } else if c.lower == k {
                outer(c.upper).map(Tensor::transpose)
            } else {
                None
            };
            if let Some(direct) = direct {
                *gradient = gradient.clone() + direct;
            }
        }
        if network.layers[k].bias.is_some() {
            let direct = mean.sum_dim(0).squeeze_dim::<1>(0);
            // The bias of a layer that does not relax has this gradient alone.
            result.biases[k] = Some(match result.biases[k].take() {
                Some(gradient) => gradient + direct,
                None => direct,
            });
        }
        for l in 0..network.layers.len() {
            if free.states[l].is_some() && !relaxation.free_layers().contains(&l) {
                result.direct[l] = self.felt(l);
            }
        }
        result
    }
}
