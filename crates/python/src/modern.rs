//! `hvae.ModernHopfield`: networks of stored patterns with a softmax.

use burn::tensor::Tensor;
use hvae_device::{download, upload};
use hvae_model::modern::{ModernHopfield as Network, Space, Thresholds};
use hvae_runtime::rng::{self, Stream};
use hvae_solver::{Picard, StoppingRule};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::array::{Array, array, matrix, wrong};
use crate::compute::{compute, device};
use crate::outcome::Outcome;

/// One inverse temperature, or one for each state.
#[derive(Debug, FromPyObject)]
pub(crate) enum Betas {
    One(f64),
    Each(Vec<f64>),
}

impl Betas {
    fn of(self, rows: usize) -> PyResult<Vec<f64>> {
        match self {
            Self::One(beta) => Ok(vec![beta; rows]),
            Self::Each(betas) if betas.len() == rows => Ok(betas),
            Self::Each(betas) => {
                let text = format!("{} values of beta for {rows} states", betas.len());
                Err(PyValueError::new_err(text))
            }
        }
    }
}

/// A modern Hopfield network that stores the rows of `patterns`, `[N, d]` (Ramsauer et al. 2021,
/// arXiv 2008.02217), with the energy
///
///     E(xi) = -ln(sum_i exp(beta <x_i, xi>)) / beta + |xi|^2/2 + ln(N)/beta + max_i |x_i|^2 / 2
#[pyclass(frozen, module = "hvae")]
#[derive(Debug)]
pub(crate) struct ModernHopfield {
    network: Network,
}

impl ModernHopfield {
    /// The states `x`, and an inverse temperature for each.
    fn states(&self, x: &Bound<'_, PyAny>, beta: Betas) -> PyResult<(Tensor<2>, Vec<f64>)> {
        let dimension = self.network.dimension();
        let (values, shape) = matrix("x", x, Some(dimension))?;
        let states = upload(values.into_vec(), dimension, &self.network.device());
        Ok((states, beta.of(shape[0])?))
    }
}

#[pymethods]
impl ModernHopfield {
    #[new]
    #[pyo3(signature = (patterns, device = "cpu"))]
    fn new(patterns: &Bound<'_, PyAny>, device: &str) -> PyResult<Self> {
        let device = self::device(patterns.py(), device)?;
        let (values, shape) = matrix("patterns", patterns, None)?;
        if shape.len() != 2 || shape[1] == 0 {
            let text = format!("patterns has shape {shape:?}, but [N, d] is needed");
            return Err(PyValueError::new_err(text));
        }
        let network = Network::new(upload(values.into_vec(), shape[1], &device));
        Ok(Self { network: network.map_err(|error| wrong(error.into()))? })
    }

    /// The fixed points that the update `xi <- X' softmax(beta X xi)` reaches from the states `x`,
    /// `[B, d]`, and how each ended. `beta` is one inverse temperature, or one for each state.
    #[pyo3(signature = (x, beta, tolerance = 1e-6, max_iterations = 1000))]
    fn retrieve<'py>(
        &self,
        x: &Bound<'py, PyAny>,
        beta: Betas,
        tolerance: f64,
        max_iterations: usize,
    ) -> PyResult<(Array<'py, f32>, Outcome)> {
        let (py, (states, betas)) = (x.py(), self.states(x, beta)?);
        let (found, outcomes) = compute(py, || {
            let rule = StoppingRule::new(tolerance, max_iterations)?;
            let found = self.network.at(&betas, Space::States)?.solve(states, &Picard, &rule)?;
            Ok((download(found.state.component(0).clone())?, found.outcomes))
        })?;
        let found = array(py, found, &[betas.len(), self.network.dimension()])?;
        Ok((found, Outcome::new(py, &outcomes)?))
    }

    /// The energies of the states `x`, `[B]`.
    fn energy<'py>(&self, x: &Bound<'py, PyAny>, beta: Betas) -> PyResult<Array<'py, f32>> {
        let (states, betas) = self.states(x, beta)?;
        let energies = compute(x.py(), || download(self.network.energy(states, &betas)?))?;
        array(x.py(), energies, &[betas.len()])
    }

    /// The three values of `beta` where the regimes of as many equidistant patterns meet, with the mean
    /// squared distance of these: `b1` minima at patterns appear, `b2` they and the mean have equal
    /// energy, `b3` the mean loses stability. `None` below two patterns.
    fn thresholds<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let Some(found) = Thresholds::of(self.network.count()) else { return Ok(None) };
        let per_beta = self.network.distance_squared() / 2.0;
        let dictionary = PyDict::new(py);
        for (name, effective) in [("b1", found.b1), ("b2", found.b2), ("b3", found.b3)] {
            dictionary.set_item(name, effective / per_beta)?;
        }
        Ok(Some(dictionary))
    }

    /// `ln p` of the states `x` under `p(xi) ~ exp(-beta E(xi))`, `[B]`: a mixture of Gaussians about
    /// the patterns, of variance `1/beta`, usable as a prior.
    fn log_density<'py>(&self, x: &Bound<'py, PyAny>, beta: f64) -> PyResult<Array<'py, f64>> {
        let (states, betas) = self.states(x, Betas::One(beta))?;
        let found = compute(x.py(), || Ok(self.network.density(beta)?.log(states)?))?;
        array(x.py(), found, &[betas.len()])
    }

    /// `n` samples of that distribution, `[n, d]`.
    #[pyo3(signature = (n, beta, seed = 0))]
    fn sample<'py>(
        &self,
        py: Python<'py>,
        n: usize,
        beta: f64,
        seed: u64,
    ) -> PyResult<Array<'py, f32>> {
        let found = compute(py, || {
            let mut rng = rng::generator(seed, Stream::Prior, 0);
            download(self.network.density(beta)?.sample(n, &mut rng))
        })?;
        array(py, found, &[n, self.network.dimension()])
    }
}
