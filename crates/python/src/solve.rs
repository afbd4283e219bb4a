//! `hvae.solve`: fixed points of a function of Python.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, anyhow};
use burn::tensor::{Device, Int, Tensor};
use hvae::api::Usage;
use hvae_device::{download, upload};
use hvae_runtime::interrupt;
use hvae_solver::{
    Anderson, Damped, FixedPointMap, Picard, Solution, State, StoppingRule, solve as iterate,
};
use pyo3::prelude::*;

use crate::array::{Array, array, matrix, singles};
use crate::compute::compute;
use crate::outcome::Outcome;

/// A function of Python as a map of `[batch, n]`.
#[derive(Clone)]
struct Function {
    callable: Arc<Py<PyAny>>,
    /// The shape of its argument.
    shape: Vec<usize>,
    /// What ended the iteration early.
    error: Arc<Mutex<Option<anyhow::Error>>>,
}

impl Function {
    fn call(&self, state: &Tensor<2>) -> Result<Tensor<2>> {
        interrupt::check()?;
        let (values, width) = (download(state.clone())?, state.dims()[1]);
        let values = Python::attach(|py| {
            let image = self.callable.call1(py, (array(py, values, &self.shape)?,))?;
            let (image, found) = singles("what f returned", image.bind(py))?;
            if found != self.shape {
                let expected = &self.shape;
                let text =
                    anyhow!("f returned the shape {found:?} for an argument of {expected:?}");
                return Err(anyhow::Error::from(Usage(text)));
            }
            Ok(image.into_vec())
        })?;
        Ok(upload(values, width, &state.device()))
    }
}

impl FixedPointMap for Function {
    /// Numbers that are not finite, which end the iteration, after an error.
    fn apply(&self, state: &State, _iteration: usize) -> State {
        state.map(|rows| {
            self.call(&rows).unwrap_or_else(|error| {
                let mut first = self.error.lock().unwrap_or_else(PoisonError::into_inner);
                first.get_or_insert(error);
                rows.full_like(f32::NAN)
            })
        })
    }

    /// The batch stays whole.
    fn select(&self, _rows: &Tensor<1, Int>) -> Self {
        self.clone()
    }
}

/// How the fixed point is sought.
#[derive(Debug, FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct How {
    method: String,
    memory: usize,
    mixing: f64,
    damping: f64,
    tolerance: f64,
    max_iterations: usize,
}

impl How {
    fn solve(&self, map: Function, guess: State) -> Result<Solution> {
        // The function may hold something for each sample, so none is removed.
        let rule = StoppingRule::new(self.tolerance, self.max_iterations)?.with_masking();
        Ok(match self.method.as_str() {
            "anderson" => {
                let method = Anderson::new(self.memory)?.with_mixing(self.mixing)?;
                iterate(map, guess, &method, &rule)?
            }
            "damped" => iterate(map, guess, &Damped::new(self.damping)?, &rule)?,
            "picard" => iterate(map, guess, &Picard, &rule)?,
            other => {
                let text = anyhow!("method = {other:?}: must be anderson, damped or picard");
                return Err(Usage(text).into());
            }
        })
    }
}

/// The fixed points of `f` from `x0`, and how each sample ended.
#[pyfunction]
pub(crate) fn solve<'py>(
    py: Python<'py>,
    f: Py<PyAny>,
    x0: &Bound<'py, PyAny>,
    how: How,
) -> PyResult<(Array<'py, f32>, Outcome)> {
    let (values, shape) = matrix("x0", x0, None)?;
    let values = values.into_vec();
    let width = shape[1..].iter().product();
    let error = Arc::new(Mutex::new(None));
    let map = Function { callable: Arc::new(f), shape: shape.clone(), error: Arc::clone(&error) };
    let (found, outcomes) = compute(py, move || {
        let guess = State::new(vec![upload(values, width, &Device::flex())])?;
        let solution = how.solve(map, guess)?;
        if let Some(error) = error.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(error);
        }
        Ok((download(solution.state.component(0).clone())?, solution.outcomes))
    })?;
    Ok((array(py, found, &shape)?, Outcome::new(py, &outcomes)?))
}
