//! What can be wrong with a network, a configuration or an input.

use burn::tensor::Tensor;
use hvae_solver::SolverError;

/// A misuse of the model crate, or numbers that are not finite.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the messages say what variants and fields are")]
pub enum ModelError {
    /// A setting outside its range. `name` is as in the configuration; `reason` says what works.
    #[error("{name} = {value}: {reason}")]
    Setting { name: String, value: String, reason: String },
    /// A network description that contradicts itself.
    #[error("network: {0}")]
    Network(String),
    #[error("{what} has shape {found:?}, but this model needs {expected:?}")]
    Shape { what: String, expected: Vec<usize>, found: Vec<usize> },
    #[error("{what}: not a finite number; {remedy}")]
    NotFinite { what: String, remedy: String },
    /// Another worker of the same step has failed.
    #[error("{0}")]
    Worker(String),
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
    let (name, value, reason) = (name.to_owned(), value.to_string(), reason.to_owned());
    Err(ModelError::Setting { name, value, reason })
}

/// [`ModelError::Network`] unless `ok`.
pub(crate) fn require_network(ok: bool, text: impl FnOnce() -> String) -> Result<(), ModelError> {
    if ok { Ok(()) } else { Err(ModelError::Network(text())) }
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
