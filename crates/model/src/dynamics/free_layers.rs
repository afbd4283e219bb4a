//! The layers that relax, and their places in a solver's state.

use burn::tensor::Tensor;
use hvae_solver::State;

use crate::energy::layer::LayerId;
use crate::energy::per_layer::PerLayer;

/// The layers that relax in a phase: component `i` of a solver's [`State`] is the state of the
/// `i`-th.
#[derive(Debug, Clone)]
pub(crate) struct FreeLayers {
    layers: Vec<LayerId>,
    /// The component of each layer.
    components: PerLayer<usize>,
}

impl FreeLayers {
    /// Those `free` layers, in ascending order, of a network of this many.
    pub(crate) fn new(free: Vec<LayerId>, layers: usize) -> Self {
        let mut components = PerLayer::empty(layers);
        for (component, &k) in free.iter().enumerate() {
            components.set(k, component);
        }
        Self { layers: free, components }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.layers.len()
    }

    /// The layers, in the order of the components.
    pub(crate) fn iter(&self) -> impl Iterator<Item = LayerId> {
        self.layers.iter().copied()
    }

    /// Whether layer `k` relaxes.
    pub(crate) fn contains(&self, k: LayerId) -> bool {
        self.components.get(k).is_some()
    }

    /// The layer of a component.
    pub(crate) fn layer(&self, component: usize) -> LayerId {
        self.layers[component]
    }

    /// The component of a layer that relaxes.
    pub(crate) fn component(&self, k: LayerId) -> usize {
        self.components[k]
    }

    /// The state of layer `k`, if it relaxes.
    pub(crate) fn of<'s>(&self, state: &'s State, k: LayerId) -> Option<&'s Tensor<2>> {
        self.components.get(k).map(|&component| state.component(component))
    }

    /// A solver's state from one of every free layer.
    pub(crate) fn gather(&self, of: impl FnMut(LayerId) -> Tensor<2>) -> State {
        State::new(self.iter().map(of).collect()).expect("all layers have one batch size")
    }
}
