//! The gradient of all parameters.

use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use hvae_solver::Outcome;

use crate::dynamics::Relaxation;
use crate::energy::{HopfieldNetwork, LayerId, PerLayer};
use crate::eqprop::difference::{Difference, Scaled};
use crate::scalar::Scalar;

/// The gradient of the mean cost of a batch, and of each sample's cost in the clamped inputs.
#[derive(Debug, Clone)]
pub struct EpGradient {
    /// `dC/dW` per coupling, flat, in the order in which the weights lie in their tensor.
    pub weights: Vec<Tensor<1>>,
    /// `dC/db` per layer, `[n_k]`; only of layers that have a bias and relax or are read out.
    pub biases: PerLayer<Tensor<1>>,
    scaled: Scaled,
    /// What a readout adds to `dC/ds_k` of a clamped layer, for every sample.
    pub(crate) direct: PerLayer<Tensor<2>>,
    /// How each sample ended in the nudged phase; with a centred nudge in the phase of the larger
    /// strength, then each in that of the smaller one.
    pub outcomes: Vec<Outcome>,
}

impl EpGradient {
    pub(crate) fn new(
        network: &HopfieldNetwork,
        difference: Difference,
        outcomes: Vec<Outcome>,
    ) -> Self {
        let weights = network.couplings.iter().map(|c| {
            let map = c.interaction.linear();
            let gradient = difference.weights(c.lower, c.upper, |s, t| map.gradient(s, t));
            gradient.unwrap_or_else(|| map.weights().flat().zeros_like())
        });
        let weights = weights.collect();
        let mut biases = PerLayer::empty(network.layers.len());
        for (k, layer) in network.ids().zip(&network.layers) {
            if let (Some(_), Some(gradient)) = (&layer.bias, difference.bias(k)) {
                biases.set(k, gradient);
            }
        }
        let direct = PerLayer::empty(network.layers.len());
        Self { weights, biases, scaled: difference.scaled, direct, outcomes }
    }

    /// The nudging strength that was used.
    pub fn beta(&self) -> &Scalar {
        &self.scaled.beta
    }

    /// `dC/ds_k` for a *clamped* layer `k` of `relaxation`, of which this is the gradient, for each
    /// sample, `[batch, n_k]`: with `dE/ds_k = A'(s_k)/c_k - b_k - sum_l W_kl s_l` the terms of the
    /// layer itself cancel and
    ///
    /// ```text
    /// dC/ds_k = - sum_l W_kl (s_l,a - s_l,b) / (beta_a - beta_b)
    /// ```
    ///
    /// # Panics
    ///
    /// When no free layer is coupled with layer `k`.
    pub fn input(&self, relaxation: &Relaxation<'_>, k: LayerId) -> Tensor<2> {
        let others = |l: LayerId| self.scaled.change.get(l).filter(|_| l != k);
        let field = relaxation.wiring.field(k, others);
        let gradient = self.scaled.share(field.expect("a clamped layer has a free neighbour"), 1);
        match self.direct.get(k) {
            Some(direct) => gradient + direct.clone(),
            None => gradient,
        }
    }

    /// The gradient of the sum of both costs, of one network that is used twice. `beta` and
    /// outcomes stay those of `self`.
    #[must_use]
    pub fn plus(mut self, mut other: Self) -> Self {
        let weights = self.weights.into_iter().zip(other.weights).map(|(a, b)| a + b);
        self.weights = weights.collect();
        for k in (0..self.biases.layers()).map(LayerId) {
            if let Some(b) = other.biases.take(k) {
                self.biases.add(k, b);
            }
        }
        self
    }

    /// The parameter gradients under their parameters' ids, as Burn's optimizers take them.
    pub fn register(&self, network: &HopfieldNetwork, gradients: &mut GradientsParams) {
        for (coupling, gradient) in network.couplings.iter().zip(&self.weights) {
            coupling.interaction.linear().weights().register(gradient.clone(), gradients);
        }
        for (k, gradient) in self.biases.iter() {
            if let Some(bias) = &network.layers[k.0].bias {
                gradients.register::<1>(bias.id, gradient.clone());
            }
        }
    }
}
