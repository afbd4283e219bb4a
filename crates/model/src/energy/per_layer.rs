//! One value for some of the layers of a network.

use std::ops::Index;

use burn::tensor::Tensor;

use crate::energy::layer::LayerId;

/// A value for some of the layers of a network, such as the states of those that take part in a
/// phase.
#[derive(Debug, Clone)]
pub struct PerLayer<T>(Vec<Option<T>>);

impl<T> PerLayer<T> {
    /// No value yet, for a network of this many layers.
    pub fn empty(layers: usize) -> Self {
        Self((0..layers).map(|_| None).collect())
    }

    /// Number of layers, with and without a value.
    pub fn layers(&self) -> usize {
        self.0.len()
    }

    /// The value of layer `k`, if it has one.
    pub fn get(&self, k: LayerId) -> Option<&T> {
        self.0.get(k.0).and_then(Option::as_ref)
    }

    /// Gives layer `k` a value; returns the one before.
    pub fn set(&mut self, k: LayerId, value: T) -> Option<T> {
        self.0[k.0].replace(value)
    }

    /// Takes the value of layer `k`, if it has one.
    pub fn take(&mut self, k: LayerId) -> Option<T> {
        self.0.get_mut(k.0).and_then(Option::take)
    }

    /// The values with their layers, in the order of the layers.
    pub fn iter(&self) -> impl Iterator<Item = (LayerId, &T)> {
        let values = self.0.iter().enumerate();
        values.filter_map(|(k, value)| Some((LayerId(k), value.as_ref()?)))
    }

    /// `op` of every value.
    #[must_use]
    pub fn map<U>(&self, mut op: impl FnMut(LayerId, &T) -> U) -> PerLayer<U> {
        let values = self.0.iter().enumerate();
        PerLayer(values.map(|(k, v)| v.as_ref().map(|v| op(LayerId(k), v))).collect())
    }
}

impl<const D: usize> PerLayer<Tensor<D>> {
    /// Adds `value` to that of layer `k`, if it has one; else it becomes the value.
    pub(crate) fn add(&mut self, k: LayerId, value: Tensor<D>) {
        let sum = match self.take(k) {
            Some(before) => before + value,
            None => value,
        };
        self.set(k, sum);
    }
}

impl<T> Index<LayerId> for PerLayer<T> {
    type Output = T;

    fn index(&self, k: LayerId) -> &T {
        self.get(k).expect("the layer takes part in the phase")
    }
}
