//! Errors of misuse. Not converging is an [`Outcome`](crate::Outcome), never an error.

use std::collections::BTreeSet;

use burn::tensor::DType;

/// A misuse of the solver. Expected is what component 0 has, or the state of an image.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the messages name every field")]
pub enum SolverError {
    #[error("a state needs at least one component")]
    NoComponents,
    #[error("component {component} has {found} samples, component 0 has {expected}")]
    BatchMismatch { component: usize, expected: usize, found: usize },
    #[error("component {component} is {found:?}, component 0 is {expected:?}")]
    TypeMismatch { component: usize, expected: DType, found: DType },
    /// `place` is where the index was given: `blocks`, `measured` or `replace`.
    #[error("{place}: component {component} is out of bounds for a state of {components}")]
    NoSuchComponent { place: &'static str, component: usize, components: usize },
    /// `place` is `blocks` or `measured`.
    #[error("{place}: component {component} is listed twice")]
    RepeatedComponent { place: &'static str, component: usize },
    #[error("the map measures no component, so its residual is undefined")]
    NothingMeasured,
    #[error("the map changed the shape of component {component} from {expected:?} to {found:?}")]
    ShapeChanged { component: usize, expected: [usize; 2], found: [usize; 2] },
    #[error("the map returned {found} components for a state of {expected}")]
    ComponentsChanged { expected: usize, found: usize },
    #[error("the map changed the type of component {component} from {expected:?} to {found:?}")]
    TypeChanged { component: usize, expected: DType, found: DType },
    #[error("{name} = {value} is out of range: must be {range}")]
    OutOfRange { name: &'static str, value: f64, range: &'static str },
}

/// `value` if it is finite and `ok`, else [`SolverError::OutOfRange`].
pub(crate) fn in_range(
    name: &'static str,
    value: f64,
    range: &'static str,
    ok: bool,
) -> Result<f64, SolverError> {
    let error = SolverError::OutOfRange { name, value, range };
    if value.is_finite() && ok { Ok(value) } else { Err(error) }
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
