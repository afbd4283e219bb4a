//! A batch of independent states.

use burn::tensor::{Int, Tensor};

use crate::SolverError;

/// A batch of independent samples, each made of one or more components (a network's layers).
///
/// Component `k` has shape `[batch, n_k]`; row `i` of every component belongs to sample `i`.
#[derive(Debug, Clone)]
pub struct State {
    components: Vec<Tensor<2>>,
}

impl State {
    /// A state from its components, each `[batch, n_k]`.
    ///
    /// # Errors
    ///
    /// [`SolverError::NoComponents`], or [`SolverError::BatchMismatch`] when the components
    /// disagree on the number of samples.
    pub fn new(components: Vec<Tensor<2>>) -> Result<Self, SolverError> {
        let expected = components.first().ok_or(SolverError::NoComponents)?.dims()[0];
        for (component, tensor) in components.iter().enumerate() {
            let found = tensor.dims()[0];
            if found != expected {
                return Err(SolverError::BatchMismatch { component, expected, found });
            }
        }
        Ok(Self { components })
    }

    /// Number of samples.
    pub fn batch(&self) -> usize {
        self.components[0].dims()[0]
    }

    /// All components, each `[batch, n_k]`.
    pub fn components(&self) -> &[Tensor<2>] {
        &self.components
    }

    /// Component `k`, `[batch, n_k]`.
    pub fn component(&self, k: usize) -> &Tensor<2> {
        &self.components[k]
    }

    /// The components, each `[batch, n_k]`.
    pub fn into_components(self) -> Vec<Tensor<2>> {
        self.components
    }

    /// This state with component `k` replaced.
    pub fn replace(&mut self, k: usize, tensor: Tensor<2>) {
        self.components[k] = tensor;
    }

    /// `op` on every component.
    #[must_use]
    pub fn map(&self, op: impl Fn(Tensor<2>) -> Tensor<2>) -> Self {
        Self { components: self.components.iter().cloned().map(op).collect() }
    }

    /// `op` on every pair of components of `self` and `other`.
    #[must_use]
    pub fn zip(self, other: Self, op: impl Fn(Tensor<2>, Tensor<2>) -> Tensor<2>) -> Self {
        let pairs = self.components.into_iter().zip(other.components);
        Self { components: pairs.map(|(a, b)| op(a, b)).collect() }
    }

    /// The samples `rows`, in that order.
    #[must_use]
    pub fn select(&self, rows: &Tensor<1, Int>) -> Self {
        self.map(|c| c.select(0, rows.clone()))
    }

    /// The samples of all `parts`, one part after the other. `parts` is not empty.
    pub(crate) fn concatenate(parts: Vec<Self>) -> Self {
        let count = parts[0].components.len();
        let mut columns: Vec<Vec<Tensor<2>>> = (0..count).map(|_| Vec::new()).collect();
        for part in parts {
            for (column, component) in columns.iter_mut().zip(part.components) {
                column.push(component);
            }
        }
        Self { components: columns.into_iter().map(|c| Tensor::cat(c, 0)).collect() }
    }
}
