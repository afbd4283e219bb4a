//! The couplings of a network as its substrate holds them.

use std::sync::{Arc, OnceLock};

use burn::tensor::{Device, Tensor, TensorData};
use hvae_device::HostValues;

use crate::dynamics::substrate::{PhaseId, Programmed, Substrate};
use crate::energy::interaction::bilinear::Direction;
use crate::energy::interaction::packed::Packed;
use crate::energy::{HopfieldNetwork, LayerId};

/// A network, and what its substrate has made of its weights.
#[derive(Debug, Clone)]
pub(crate) struct Wiring<'n> {
    pub(crate) network: &'n HopfieldNetwork,
    programmed: Option<Arc<Programmed>>,
    /// The map of each coupling to its upper and to its lower layer, packed when first used.
    packed: Arc<Vec<[OnceLock<Option<Packed>>; 2]>>,
}

/// A state that reaches a layer through a coupling.
struct Signal<'s> {
    coupling: usize,
    direction: Direction,
    state: &'s Tensor<2>,
}

impl<'n> Wiring<'n> {
    pub(crate) fn new(
        network: &'n HopfieldNetwork,
        substrate: &dyn Substrate,
        phase: PhaseId,
    ) -> Self {
        Self::of(network, substrate.program(network, phase).map(Arc::new))
    }

    pub(crate) fn exact(network: &'n HopfieldNetwork) -> Self {
        Self::of(network, None)
    }

    fn of(network: &'n HopfieldNetwork, programmed: Option<Arc<Programmed>>) -> Self {
        let packed = network.couplings.iter().map(|_| Default::default()).collect();
        Self { network, programmed, packed: Arc::new(packed) }
    }

    /// The network with the weights of signals to upper and to lower layers.
    fn directions(&self) -> [&HopfieldNetwork; 2] {
        match &self.programmed {
            None => [self.network; 2],
            Some(held) => [&held.up, &held.down],
        }
    }

    /// `sum_l W_kl s_l` over the couplings of layer `k` with layers `l` for which `state` has a
    /// tensor, `[batch, n_k]`; `None` if there is none.
    pub(crate) fn field<'s>(
        &self,
        k: LayerId,
        state: impl Fn(LayerId) -> Option<&'s Tensor<2>>,
    ) -> Option<Tensor<2>> {
        let couplings = self.network.couplings.iter().enumerate();
        let signals = couplings.filter_map(|(coupling, c)| {
            let (source, direction) = c.source(k)?;
            Some(Signal { coupling, direction, state: state(source)? })
        });
        let signals: Vec<Signal<'_>> = signals.collect();
        self.host_field(&signals).or_else(|| {
            let terms = signals.iter().map(|signal| {
                let [up, down] = self.directions().map(|n| &n.couplings[signal.coupling]);
                match signal.direction {
                    Direction::Up => up.interaction.linear().to_upper(signal.state.clone()),
                    Direction::Down => down.interaction.linear().to_lower(signal.state.clone()),
                }
            });
            terms.reduce(|sum, term| term + sum)
        })
    }

    /// The same in host memory, by packed products; `None` elsewhere.
    fn host_field(&self, signals: &[Signal<'_>]) -> Option<Tensor<2>> {
        let rows = signals.first()?.state.dims()[0];
        let (mut field, mut outputs) = (Vec::new(), 0);
        for signal in signals {
            let state = HostValues::of(signal.state)?;
            let packed = self.packed(signal.coupling, signal.direction)?;
            outputs = packed.outputs();
            field.resize(rows * outputs, 0.0);
            packed.add_product(&state, &mut field);
        }
        Some(Tensor::from_data(TensorData::new(field, [rows, outputs]), &Device::flex()))
    }

    /// The packed weights through which layer `k` receives signals from layers that are components
    /// of a state, with these; `None` outside of host memory.
    pub(crate) fn packed_signals(
        &self,
        k: LayerId,
        component: impl Fn(LayerId) -> Option<usize>,
    ) -> Option<Vec<(usize, &Packed)>> {
        let couplings = self.network.couplings.iter().enumerate();
        let signals = couplings.filter_map(|(coupling, c)| {
            let (source, direction) = c.source(k)?;
            Some((component(source)?, coupling, direction))
        });
        let packed = signals.map(|(from, coupling, way)| Some((from, self.packed(coupling, way)?)));
        packed.collect()
    }

    /// Packs the couplings among the layers `free`, before parts of a batch use them side by side.
    pub(crate) fn pack(&self, free: &[LayerId]) {
        for (coupling, c) in self.network.couplings.iter().enumerate() {
            for &k in free {
                if let Some((_, direction)) = c.source(k).filter(|(l, _)| free.contains(l)) {
                    self.packed(coupling, direction);
                }
            }
        }
    }

    fn packed(&self, coupling: usize, direction: Direction) -> Option<&Packed> {
        let packed = self.packed[coupling][direction as usize].get_or_init(|| {
            let network = self.directions()[direction as usize];
            network.couplings[coupling].interaction.linear().pack(direction)
        });
        packed.as_ref()
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
