//! How the samples of a batch ended.

use hvae_solver::{Outcome as Solved, Termination};
use numpy::PyArrayDyn;
use pyo3::prelude::*;

use crate::array::array;

/// How each sample of a batch ended: `converged` (bool), `iterations` (int64) and the relative
/// `residual` (float64), each `[N]`. Not converging is an outcome, not an error.
#[pyclass(frozen, get_all, module = "hvae")]
#[derive(Debug)]
pub(crate) struct Outcome {
    converged: Py<PyArrayDyn<bool>>,
    iterations: Py<PyArrayDyn<i64>>,
    residual: Py<PyArrayDyn<f64>>,
}

impl Outcome {
    pub(crate) fn new(py: Python<'_>, outcomes: &[Solved]) -> PyResult<Self> {
        let (shape, each) = ([outcomes.len()], outcomes.iter());
        let converged = each.clone().map(|one| one.termination == Termination::Converged).collect();
        let iterations = each.clone().map(|one| one.iterations as i64).collect();
        let residual = each.map(|one| one.residual).collect();
        Ok(Self {
            converged: array(py, converged, &shape)?.unbind(),
            iterations: array(py, iterations, &shape)?.unbind(),
            residual: array(py, residual, &shape)?.unbind(),
        })
    }
}

#[pymethods]
impl Outcome {
    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let shown = |value: &Bound<'_, PyAny>| Ok::<_, PyErr>(value.repr()?.to_string());
        let converged = shown(self.converged.bind(py))?;
        let iterations = shown(self.iterations.bind(py))?;
        Ok(format!("Outcome(converged={converged}, iterations={iterations})"))
    }
}
