//! The direct gradient of a readout, and the forces that it exerts.

use burn::tensor::Tensor;

use crate::dynamics::{Equilibrium, Relaxation};
use crate::energy::LayerId;
use crate::eqprop::cost::{Force, Readout};
use crate::eqprop::gradient::EpGradient;
use crate::eqprop::sample_mask::SampleMask;

/// The gradient of a [`Readout`] in the input of its layer.
#[derive(Debug)]
pub(crate) struct ReadoutGradient<'r, 'n> {
    relaxation: &'r Relaxation<'n>,
    layer: LayerId,
    /// `e = c_k dl/da_k`, `[batch, n_k]`.
    value: Tensor<2>,
}

impl<'r, 'n> ReadoutGradient<'r, 'n> {
    /// The error of valid samples, 0 for others.
    pub(crate) fn new(
        relaxation: &'r Relaxation<'n>,
        readout: &Readout,
        mask: &SampleMask,
    ) -> Self {
        let layer = readout.layer;
        let value = readout.error.clone().mul_scalar(relaxation.network().spec(layer).gain);
        Self { relaxation, layer, value: mask.apply(value) }
    }

    /// `W_lk e`, the force on layer `l`, if the two are coupled.
    fn force_on(&self, l: LayerId) -> Option<Tensor<2>> {
        self.relaxation.wiring.field(l, |k| (k == self.layer).then_some(&self.value))
    }

    pub(crate) fn forces(&self) -> Vec<Force> {
        let free = self.relaxation.free.iter();
        free.filter_map(|&layer| Some(Force { layer, force: self.force_on(layer)? })).collect()
    }

    /// Adds the direct gradient of the readout to `result`, which those forces gave, for the
    /// samples that count.
    pub(crate) fn add_direct_terms(
        mut self,
        mut result: EpGradient,
        free: &Equilibrium,
        mask: &SampleMask,
    ) -> EpGradient {
        self.value = mask.apply(self.value);
        let (network, k) = (self.relaxation.network(), self.layer);
        let [rows, _] = self.value.dims();
        let mean = self.value.clone().div_scalar(rows as f64);
        let state = |l: LayerId| Some(mask.apply(free.states.get(l)?.clone()));
        for (c, gradient) in network.couplings.iter().zip(&mut result.weights) {
            let map = c.interaction.linear();
            let direct = if c.upper == k {
                state(c.lower).map(|s| map.gradient(s, mean.clone()))
            } else if c.lower == k {
                state(c.upper).map(|s| map.gradient(mean.clone(), s))
            } else {
                None
            };
            if let Some(direct) = direct {
                *gradient = gradient.clone() + direct;
            }
        }
        if network.layers[k.0].bias.is_some() {
            let direct = mean.sum_dim(0).squeeze_dim::<1>(0);
            // The bias of a layer that does not relax has this gradient only.
            result.biases.add(k, direct);
        }
        for l in network.ids() {
            let clamped = free.states.get(l).is_some() && !self.relaxation.free.contains(&l);
            if let (true, Some(force)) = (clamped, self.force_on(l)) {
                result.direct.set(l, force);
            }
        }
        result
    }
}
