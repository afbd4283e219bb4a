//! Errors of misuse. Not converging is an [`Outcome`](crate::Outcome), never an error.

use std::collections::BTreeSet;

use burn::tensor::DType;

/// A misuse of the solver.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SolverError {
    /// A state has no component.
    #[error("a state needs at least one component")]
    NoComponents,
    /// The components of a state differ in batch size.
    #[error("component {component} has {found} samples, component 0 has {expected}")]
    BatchMismatch {
        /// Index of the component that differs.
        component: usize,
        /// Batch size of component 0.
        expected: usize,
        /// Batch size of this component.
        found: usize,
    },
    /// The components of a state differ in data type.
    #[error("component {component} is {found:?}, component 0 is {expected:?}")]
    TypeMismatch {
        /// Index of the component that differs.
        component: usize,
        /// Data type of component 0.
        expected: DType,
        /// Data type of this component.
        found: DType,
    },
    /// A component index is out of bounds.
    #[error("{place}: component {component} is out of bounds for a state of {components}")]
    NoSuchComponent {
        /// Where the index was given: `blocks`, `measured` or `replace`.
        place: &'static str,
        /// The index.
        component: usize,
        /// Number of components of the state.
        components: usize,
    },
    /// A component is listed twice.
    #[error("{place}: component {component} is listed twice")]
    RepeatedComponent {
        /// Where it is listed: `blocks` or `measured`.
        place: &'static str,
        /// The index listed twice.
        component: usize,
    },
    /// [`FixedPointMap::measured`](crate::FixedPointMap::measured) is empty.
    #[error("the map measures no component, so its residual is undefined")]
    NothingMeasured,
    /// The image differs from the state in shape.
    #[error("the map changed the shape of component {component} from {expected:?} to {found:?}")]
    ShapeChanged {
        /// Index of the component.
        component: usize,
        /// Shape `[batch, n]` in the state.
        expected: [usize; 2],
        /// Shape `[batch, n]` in the image.
        found: [usize; 2],
    },
    /// The image differs from the state in its number of components.
    #[error("the map returned {found} components for a state of {expected}")]
    ComponentsChanged {
        /// Number of components of the state.
        expected: usize,
        /// Number of components of the image.
        found: usize,
    },
    /// The image differs from the state in data type.
    #[error("the map changed the type of component {component} from {expected:?} to {found:?}")]
    TypeChanged {
        /// Index of the component.
        component: usize,
        /// Data type of the state.
        expected: DType,
        /// Data type of the image.
        found: DType,
    },
    /// A setting is out of range.
    #[error("{name} = {value} is out of range: must be {range}")]
    OutOfRange {
        /// Name of the setting.
        name: &'static str,
        /// The value given.
        value: f64,
        /// The allowed values.
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

/// Checks that `listed` are distinct indices below `components`; `place` is where they are listed.
pub(crate) fn distinct(
    place: &'static str,
    listed: impl IntoIterator<Item = usize>,
    components: usize,
) -> Result<(), SolverError> {
    let mut seen = BTreeSet::new();
    for component in listed {
        if component >= components {
            return Err(SolverError::NoSuchComponent { place, component, components });
        }
        if !seen.insert(component) {
            return Err(SolverError::RepeatedComponent { place, component });
        }
    }
    Ok(())
}
