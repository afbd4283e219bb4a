//! The map whose fixed point is sought.

use burn::tensor::{Int, Tensor};

use crate::{
    SolverError, State,
    error::{distinct, in_range},
};

/// A map `f` on a batch of independent samples: the values of row `i` of the image depend on row `i`
/// of the state alone.
///
/// They may depend on the *number* of rows in their last bits, as matrix products do, whose kernels
/// are chosen by shape; see [Independence of samples](crate#independence-of-samples).
pub trait FixedPointMap: Sized {
    /// The image `f(s)`, of the same shapes and the same type of numbers as `state`.
    fn apply(&self, state: &State) -> State;

    /// This map restricted to the samples `rows`: whatever it holds per sample is selected.
    #[must_use]
    fn select(&self, rows: &Tensor<1, Int>) -> Self;

    /// The components on which the image depends, each once. Residuals, and the memory of
    /// accelerating methods, look at these alone.
    ///
    /// All of the `components` of the state by default. A block sweep does not depend on the
    /// block that it updates first, see [`Sweep`](crate::Sweep).
    ///
    /// A component left out by mistake is a mistake in the answer: what it still has to go is not
    /// measured, so samples count as converged too early.
    fn carried(&self, components: usize) -> Vec<usize> {
        (0..components).collect()
    }

    /// By what each component is multiplied where residuals are measured, finite and > 0: for components
    /// of different scales, the smaller of which would go unseen beside the larger. 1 by default.
    ///
    /// The least squares of accelerating methods stay those of the components themselves.
    fn weight(&self, component: usize) -> f64 {
        let _ = component;
        1.0
    }

    /// Whether the map can be applied to states of so many components. [`solve`](crate::solve())
    /// asks once, before the first step. Yes by default.
    ///
    /// # Errors
    ///
    /// What is wrong, such as a block with a component that is not there.
    fn check(&self, components: usize) -> Result<(), SolverError> {
        let _ = components;
        Ok(())
    }
}

/// That `map` fits a state of so many components, and carries some of them.
pub(crate) fn check_components<F: FixedPointMap>(
    map: &F,
    components: usize,
) -> Result<(), SolverError> {
    map.check(components)?;
    let carried = map.carried(components);
    if carried.is_empty() {
        return Err(SolverError::NothingCarried);
    }
    for component in 0..components {
        let weight = map.weight(component);
        in_range("weight", weight, "finite and > 0", weight.is_finite() && weight > 0.0)?;
    }
    distinct("carried", carried, components)
}
