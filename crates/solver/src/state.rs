//! A batch of independent states.

use burn::tensor::{Bool, Int, Tensor};

use crate::error::{SolverError, distinct};

/// A batch of independent samples, each made of one or more components (the layers of a network).
///
/// Component `k` has shape `[batch, n_k]`; row `i` of every component belongs to sample `i`. All
/// components have one data type (f32 unless cast) and are on one device.
#[derive(Debug, Clone)]
pub struct State {
    components: Vec<Tensor<2>>,
}

impl State {
    /// A state from its components, each `[batch, n_k]`. An error if they differ in batch size or
    /// data type, or there is none.
    pub fn new(components: Vec<Tensor<2>>) -> Result<Self, SolverError> {
        let first = components.first().ok_or(SolverError::NoComponents)?;
        for (component, tensor) in components.iter().enumerate() {
            check_alike(component, first, tensor)?;
        }
        Ok(Self { components })
    }

    /// Batch size.
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
    pub fn component(&self, k: usize) -> &Tensor<2> {
        &self.components[k]
    }

    /// Replaces component `k` by `tensor`, `[batch, n]`. On an error, as of [`Self::new`], the
    /// state is unchanged.
    pub fn replace(&mut self, k: usize, tensor: Tensor<2>) -> Result<(), SolverError> {
        distinct("replace", [k], self.components.len())?;
        check_alike(k, &self.components[0], &tensor)?;
        self.put(k, tensor);
        Ok(())
    }

    /// [`Self::replace`] without checks: the solver checks the image of a map as a whole.
    pub(crate) fn put(&mut self, k: usize, tensor: Tensor<2>) {
        self.components[k] = tensor;
    }

    /// Applies `op` to every component, in order.
    ///
    /// `op` must keep the batch size; [`solve`](crate::solve()) checks the image of a map.
    #[must_use]
    pub fn map(&self, op: impl FnMut(Tensor<2>) -> Tensor<2>) -> Self {
        Self { components: self.components.iter().cloned().map(op).collect() }
    }

    /// Applies `op` to every pair of components of `self` and `other`, in order.
    ///
    /// `op` must keep the batch size, as in [`Self::map`]. Panics if the two have different numbers
    /// of components.
    #[must_use]
    pub fn zip(self, other: Self, mut op: impl FnMut(Tensor<2>, Tensor<2>) -> Tensor<2>) -> Self {
        let (found, expected) = (other.components.len(), self.components.len());
        assert_eq!(found, expected, "zip needs states with equal numbers of components");
        let pairs = self.components.into_iter().zip(other.components);
        Self { components: pairs.map(|(a, b)| op(a, b)).collect() }
    }

    /// `other` for the samples in `mask`, `[batch, 1]`, and `self` for the rest.
    pub(crate) fn mask_where(self, mask: &Tensor<2, Bool>, other: Self) -> Self {
        self.zip(other, |old, new| {
            let mask = mask.clone().expand(old.dims());
            old.mask_where(mask, new)
        })
    }

    /// The samples `rows`, in that order.
    #[must_use]
    pub fn select(&self, rows: &Tensor<1, Int>) -> Self {
        self.map(|c| c.select(0, rows.clone()))
    }

    /// Concatenates the samples of all `parts`, of which there is at least one.
    pub(crate) fn concatenate(parts: &[Self]) -> Self {
        let column = |k: usize| parts.iter().map(|part| part.components[k].clone()).collect();
        let components = 0..parts[0].components.len();
        Self { components: components.map(|k| Tensor::cat(column(k), 0)).collect() }
    }
}

/// Checks that component `component` has the batch size and data type of component 0.
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
