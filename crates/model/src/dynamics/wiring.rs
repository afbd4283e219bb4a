//! The couplings of a network as its substrate holds them.

use std::sync::Arc;

use burn::tensor::Tensor;

use crate::dynamics::substrate::{Programmed, Substrate};
use crate::energy::coupling;
use crate::energy::layer::LayerId;
use crate::energy::network::HopfieldNetwork;

/// A network, and what its substrate has made of its weights.
#[derive(Debug, Clone)]
pub(crate) struct Wiring<'n> {
    network: &'n HopfieldNetwork,
    programmed: Option<Arc<Programmed>>,
}

impl<'n> Wiring<'n> {
    pub(crate) fn new(network: &'n HopfieldNetwork, substrate: &dyn Substrate) -> Self {
        Self { network, programmed: substrate.program(network).map(Arc::new) }
    }

    /// The network itself.
    pub(crate) fn network(&self) -> &'n HopfieldNetwork {
        self.network
    }

    /// See [`coupling::field`].
    pub(crate) fn field<'s>(
        &self,
        k: LayerId,
        state: impl Fn(LayerId) -> Option<&'s Tensor<2>>,
    ) -> Option<Tensor<2>> {
        match &self.programmed {
            None => self.network.field(k, state),
            Some(held) => coupling::field(&held.up.couplings, &held.down.couplings, k, state),
        }
    }

    /// The constant input of layer `k`: its bias and the field of the `clamped` layers,
    /// `[batch, n_k]`.
    pub(crate) fn drive<'s>(
        &self,
        k: LayerId,
        clamped: impl Fn(LayerId) -> Option<&'s Tensor<2>>,
        batch: usize,
    ) -> Tensor<2> {
        let network = self.programmed.as_ref().map_or(self.network, |held| &held.up);
        let layer = &network.layers[k.0];
        let size = layer.spec.size();
        let bias = layer.bias.as_ref().map(|b| b.val().unsqueeze::<2>());
        match (self.field(k, &clamped), bias) {
            (Some(field), Some(bias)) => field + bias,
            (Some(field), None) => field,
            (None, Some(bias)) => bias.expand([batch, size]),
            (None, None) => {
                let held = network.ids().find_map(clamped).expect("a phase has a clamped layer");
                Tensor::zeros([batch, size], &held.device())
            }
        }
    }
}
