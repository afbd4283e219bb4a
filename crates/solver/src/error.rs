//! What can be wrong with a request; not converging is an [`Outcome`](crate::Outcome), never an error.

use std::collections::BTreeSet;

use burn::tensor::DType;

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
    /// The components of a state disagree on the type of their numbers.
    #[error("component {component} holds {found:?}, component 0 holds {expected:?}")]
    TypeMismatch {
        /// Index of the component that disagrees.
        component: usize,
        /// Type of component 0.
        expected: DType,
        /// Type of this component.
        found: DType,
    },
    /// A component is named that the state does not have.
    #[error("{place}: there is no component {component} in a state of {components}")]
    NoSuchComponent {
        /// Where it is named: `blocks`, `carried` or `replace`.
        place: &'static str,
        /// The index named.
        component: usize,
        /// Components of the state.
        components: usize,
    },
    /// A component is named twice.
    #[error("{place}: component {component} is named twice")]
    RepeatedComponent {
        /// Where it is named: `blocks` or `carried`.
        place: &'static str,
        /// The index named twice.
        component: usize,
    },
    /// A map carries no component, so that there is nothing to measure.
    #[error("the map carries no component, so that no residual can be measured")]
    NothingCarried,
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
    /// The map returned an image of another type of numbers than its state.
    #[error("the map changed the numbers of component {component} from {expected:?} to {found:?}")]
    TypeChanged {
        /// Index of the component.
        component: usize,
        /// Type of the state.
        expected: DType,
        /// Type of the image.
        found: DType,
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

/// That `named` are different components of a state of so many; `place` is where they are named.
pub(crate) fn distinct(
    place: &'static str,
    named: impl IntoIterator<Item = usize>,
    components: usize,
) -> Result<(), SolverError> {
    let mut seen = BTreeSet::new();
    for component in named {
        if component >= components {
            return Err(SolverError::NoSuchComponent { place, component, components });
        }
        if !seen.insert(component) {
            return Err(SolverError::RepeatedComponent { place, component });
        }
    }
    Ok(())
}
