//! The couplings of a network as its substrate holds them.

use std::sync::Arc;

use burn::tensor::Tensor;

use crate::dynamics::substrate::{PhaseId, Programmed, Substrate};
use crate::energy::{HopfieldNetwork, LayerId, coupling};

/// A network, and what its substrate has made of its weights.
#[derive(Debug, Clone)]
pub(crate) struct Wiring<'n> {
    pub(crate) network: &'n HopfieldNetwork,
    programmed: Option<Arc<Programmed>>,
}

impl<'n> Wiring<'n> {
    pub(crate) fn new(
        network: &'n HopfieldNetwork,
        substrate: &dyn Substrate,
        phase: PhaseId,
    ) -> Self {
        Self { network, programmed: substrate.program(network, phase).map(Arc::new) }
    }

    pub(crate) fn exact(network: &'n HopfieldNetwork) -> Self {
        Self { network, programmed: None }
    }

    /// The network with the weights of signals to upper and to lower layers.
    fn directions(&self) -> [&HopfieldNetwork; 2] {
        match &self.programmed {
            None => [self.network; 2],
            Some(held) => [&held.up, &held.down],
        }
    }

    /// See [`coupling::field`].
    pub(crate) fn field<'s>(
        &self,
        k: LayerId,
        state: impl Fn(LayerId) -> Option<&'s Tensor<2>>,
    ) -> Option<Tensor<2>> {
        let [up, down] = self.directions().map(|network| &network.couplings);
        coupling::field(up, down, k, state)
    }

    /// The input of layer `k`, `b_k + sum_l W_kl s_l + R_k s_k` over the layers for which `state`
    /// has a tensor, `[batch, n_k]`.
    pub(crate) fn input<'s>(
        &self,
        k: LayerId,
        state: impl Fn(LayerId) -> Option<&'s Tensor<2>>,
        batch: usize,
    ) -> Tensor<2> {
        let [network, _] = self.directions();
        let size = network.spec(k).size();
        let bias = network.layers[k.0].bias.as_ref().map(|b| b.val().unsqueeze::<2>());
        match (self.field(k, &state), bias) {
            (Some(field), Some(bias)) => field + bias,
            (Some(field), None) => field,
            (None, Some(bias)) => bias.expand([batch, size]),
            (None, None) => {
                let held = self.network.ids().find_map(state);
                let device = held.expect("some layer has a state").device();
                Tensor::zeros([batch, size], &device)
            }
        }
    }
}
