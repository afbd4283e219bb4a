//! What can be wrong with a request; not converging is an [`Outcome`](crate::Outcome), never an error.

/// A misuse of the solver.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SolverError {
    /// A state needs at least one component.
    #[error("a state needs at least one component")]
    NoComponents,
    /// The components of a state disagree on the number of samples.
    #[error("component {component} has {found} samples, component 0 has {expected}")]
    BatchMismatch {
        /// Index of the component that disagrees.
        component: usize,
        /// Samples in component 0.
        expected: usize,
        /// Samples in this component.
        found: usize,
    },
    /// The map returned an image of another shape than its state.
    #[error("the map changed the shape of component {component} from {expected:?} to {found:?}")]
    ShapeChanged {
        /// Index of the component.
        component: usize,
        /// Shape `[batch, n]` of the state.
        expected: [usize; 2],
        /// Shape `[batch, n]` of the image.
        found: [usize; 2],
    },
    /// The map returned another number of components than its state has.
    #[error("the map returned {found} components for a state of {expected}")]
    ComponentsChanged {
        /// Components of the state.
        expected: usize,
        /// Components of the image.
        found: usize,
    },
    /// A setting lies outside its range.
    #[error("{name} = {value} is outside its range: {range}")]
    OutOfRange {
        /// Name of the setting.
        name: &'static str,
        /// The value given.
        value: f64,
        /// The values allowed.
        range: &'static str,
    },
}

/// `value` if it is finite and `ok`, else [`SolverError::OutOfRange`].
pub(crate) fn in_range(
    name: &'static str,
    value: f64,
    range: &'static str,
    ok: bool,
) -> Result<f64, SolverError> {
    if value.is_finite() && ok {
        Ok(value)
    } else {
        Err(SolverError::OutOfRange { name, value, range })
    }
}
