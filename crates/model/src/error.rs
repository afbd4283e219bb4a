//! What can be wrong with a network, a configuration or an input.

use burn::tensor::Tensor;
use hvae_solver::SolverError;

/// A misuse of the model crate, or numbers that are not finite.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A setting lies outside its range.
    #[error("{name} = {value}: {reason}")]
    Setting {
        /// Name of the setting, as in the configuration.
        name: String,
        /// The value given.
        value: String,
        /// Why it cannot work, and what can.
        reason: String,
    },
    /// The network description contradicts itself.
    #[error("network: {0}")]
    Network(String),
    /// A tensor has another shape than the network needs.
    #[error("{what} has shape {found:?}, but this model needs {expected:?}")]
    Shape {
        /// Which tensor.
        what: String,
        /// Shape needed.
        expected: Vec<usize>,
        /// Shape given.
        found: Vec<usize>,
    },
    /// A value that must be finite is not.
    #[error("{what}: not a finite number; {remedy}")]
    NotFinite {
        /// Where the value was met.
        what: String,
        /// What to do.
        remedy: String,
    },
    /// Another worker of the same step has failed.
    #[error("{0}")]
    Worker(String),
    /// A solver setting is wrong.
    #[error(transparent)]
    Solver(#[from] SolverError),
}

/// [`ModelError::Setting`] unless `ok`.
pub(crate) fn require(
    ok: bool,
    name: &str,
    value: impl std::fmt::Display,
    reason: &str,
) -> Result<(), ModelError> {
    if ok {
        return Ok(());
    }
    Err(ModelError::Setting {
        name: name.to_owned(),
        value: value.to_string(),
        reason: reason.to_owned(),
    })
}

/// [`ModelError::Shape`] unless `tensor` has this shape.
pub(crate) fn require_shape<const D: usize>(
    what: impl Into<String>,
    tensor: &Tensor<D>,
    expected: [usize; D],
) -> Result<(), ModelError> {
    let found = tensor.dims();
    if found == expected {
        return Ok(());
    }
    let (expected, found) = (expected.to_vec(), found.to_vec());
    Err(ModelError::Shape { what: what.into(), expected, found })
}
