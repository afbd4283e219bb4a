//! A batch of independent states.

use burn::tensor::{Int, Tensor};

use crate::SolverError;

/// A batch of independent samples, each made of one or more components (a network's layers).
///
/// Component `k` has shape `[batch, n_k]`; row `i` of every component belongs to sample `i`. All
/// components hold the same type of numbers (f32 unless cast) and live on the same device.
#[derive(Debug, Clone)]
pub struct State {
    components: Vec<Tensor<2>>,
}

impl State {
    /// A state from its components, each `[batch, n_k]`.
    ///
    /// # Errors
    ///
    /// [`SolverError::NoComponents`], or [`SolverError::BatchMismatch`] or
    /// [`SolverError::TypeMismatch`] when the components disagree on the number of samples or the
    /// type of numbers.
    pub fn new(components: Vec<Tensor<2>>) -> Result<Self, SolverError> {
        let first = components.first().ok_or(SolverError::NoComponents)?;
        for (component, tensor) in components.iter().enumerate() {
            check_alike(component, first, tensor)?;
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

    /// The components, each `[batch, n_k]`.
    pub fn into_components(self) -> Vec<Tensor<2>> {
        self.components
    }

    /// Component `k`, `[batch, n_k]`.
    ///
    /// # Panics
    ///
    /// When there is no component `k`, as by indexing.
    pub fn component(&self, k: usize) -> &Tensor<2> {
        &self.components[k]
    }

    /// Puts `tensor`, `[batch, n]`, in the place of component `k`.
    ///
    /// # Errors
    ///
    /// [`SolverError::NoSuchComponent`], or [`SolverError::BatchMismatch`] or
    /// [`SolverError::TypeMismatch`] when `tensor` has another number of samples or another type
    /// of numbers than the state. The state is then as it was.
    pub fn replace(&mut self, k: usize, tensor: Tensor<2>) -> Result<(), SolverError> {
        let components = self.components.len();
        if k >= components {
            let place = "replace";
            return Err(SolverError::NoSuchComponent { place, component: k, components });
        }
        check_alike(k, &self.components[0], &tensor)?;
        self.put(k, tensor);
        Ok(())
    }

    /// As [`Self::replace`], with any tensor: what a map returns is looked at when it is whole.
    pub(crate) fn put(&mut self, k: usize, tensor: Tensor<2>) {
        self.components[k] = tensor;
    }

    /// `op` on every component, in order.
    ///
    /// `op` keeps the number of samples. A map that does not is found out by
    /// [`solve`](crate::solve()).
    #[must_use]
    pub fn map(&self, op: impl FnMut(Tensor<2>) -> Tensor<2>) -> Self {
        Self { components: self.components.iter().cloned().map(op).collect() }
    }

    /// `op` on every pair of components of `self` and `other`, in order.
    ///
    /// `op` keeps the number of samples, as in [`Self::map`].
    ///
    /// # Panics
    ///
    /// When the two have different numbers of components.
    #[must_use]
    pub fn zip(self, other: Self, mut op: impl FnMut(Tensor<2>, Tensor<2>) -> Tensor<2>) -> Self {
        let (found, expected) = (other.components.len(), self.components.len());
        assert_eq!(found, expected, "only states of as many components pair up");
        let pairs = self.components.into_iter().zip(other.components);
        Self { components: pairs.map(|(a, b)| op(a, b)).collect() }
    }

    /// The samples `rows`, in that order.
    ///
    /// # Panics
    ///
    /// When there is no such row.
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

/// That component `component` has as many samples as component 0, and the same type of numbers.
fn check_alike(component: usize, first: &Tensor<2>, tensor: &Tensor<2>) -> Result<(), SolverError> {
    let (expected, found) = (first.dims()[0], tensor.dims()[0]);
    if found != expected {
        return Err(SolverError::BatchMismatch { component, expected, found });
    }
    let (expected, found) = (first.dtype(), tensor.dtype());
    if found != expected {
        return Err(SolverError::TypeMismatch { component, expected, found });
    }
    Ok(())
}
