//! `hvae.Run`: a trained model.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::{Result, anyhow};
use hvae::api::{CheckpointChoice, Encoded, LatentSource, LayerStates, Sweeps, Trained};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::array::{Array, array, images, matrix, object, wrong};
use crate::compute::{compute, device};

/// A trained model: the folder of a run, loaded.
///
/// Images are `[N, height, width]` or `[N, pixels]`: floats from 0 to 1, `uint8` from 0 to 255, or
/// `bool`. Latents are `[N, latent]`. Results are those of the command line, to the bit.
#[pyclass(frozen, module = "hvae")]
#[derive(Debug)]
pub(crate) struct Run {
    trained: RwLock<Option<Arc<Trained>>>,
    #[pyo3(get)]
    /// The folder.
    path: PathBuf,
}

/// A choice of the command line by its name.
pub(crate) fn choice<T: clap::ValueEnum>(what: &str, name: &str) -> PyResult<T> {
    T::from_str(name, false).map_err(|_| {
        let names = T::value_variants().iter().filter_map(T::to_possible_value);
        let names: Vec<String> = names.map(|value| value.get_name().to_owned()).collect();
        PyValueError::new_err(format!("{what} = {name:?}: must be one of {}", names.join(", ")))
    })
}

impl Run {
    fn trained(&self) -> PyResult<Arc<Trained>> {
        let trained = self.trained.read().unwrap_or_else(PoisonError::into_inner);
        let closed = || PyValueError::new_err(format!("{} is closed", self.path.display()));
        trained.clone().ok_or_else(closed)
    }

    /// The model, and what `work` makes of it and of `x` as its images.
    fn on_images<T: Send>(
        &self,
        x: &Bound<'_, PyAny>,
        work: impl FnOnce(&Trained, &[f32]) -> Result<T> + Send,
    ) -> PyResult<(Arc<Trained>, T)> {
        let trained = self.trained()?;
        let size = trained.config.data.size;
        let images = images(x, [size.height, size.width])?;
        let values = images.as_slice();
        let found = compute(x.py(), || work(&trained, values))?;
        Ok((trained, found))
    }

    /// One of the two bounds of [`Trained::bounds`].
    fn bound<'py>(
        &self,
        x: &Bound<'py, PyAny>,
        k: usize,
        seed: u64,
        which: usize,
    ) -> PyResult<Array<'py, f64>> {
        if k == 0 {
            return Err(wrong(anyhow!("at least one latent per image is needed")));
        }
        let (_, found) = self.on_images(x, |trained, images| trained.bounds(images, k, seed))?;
        array(x.py(), found.iter().map(|both| both[which]).collect(), &[found.len()])
    }
}

/// `values` as images `[N, height, width]`.
fn shaped<'py>(py: Python<'py>, trained: &Trained, values: Vec<f32>) -> PyResult<Array<'py, f32>> {
    let size = trained.config.data.size;
    let count = values.len() / trained.model.pixels();
    array(py, values, &[count, size.height, size.width])
}

#[pymethods]
impl Run {
    /// Loads the run in the folder `path`: its `latest` or `best` checkpoint, or that of a step.
    #[new]
    #[pyo3(signature = (path, checkpoint = "latest", device = "cpu"))]
    fn new(py: Python<'_>, path: PathBuf, checkpoint: &str, device: &str) -> PyResult<Self> {
        let checkpoint: CheckpointChoice = checkpoint.parse().map_err(|rule| {
            PyValueError::new_err(format!("checkpoint = {checkpoint:?}: {rule}"))
        })?;
        let device = self::device(py, device)?;
        let trained = compute(py, || Trained::load(&path, checkpoint, &device))?;
        Ok(Self { trained: RwLock::new(Some(Arc::new(trained))), path })
    }

    /// Height and width of an image.
    #[getter]
    fn size(&self) -> PyResult<(usize, usize)> {
        let size = self.trained()?.config.data.size;
        Ok((size.height, size.width))
    }

    /// Number of latent coordinates.
    #[getter]
    fn latent(&self) -> PyResult<usize> {
        Ok(self.trained()?.model.latent())
    }

    /// The configuration: a dictionary of sections.
    #[getter]
    fn config<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        object(py, &self.trained()?.config)
    }

    /// Mean and log-variance of the posterior of each image, `[N, latent]` each.
    fn encode<'py>(&self, x: &Bound<'py, PyAny>) -> PyResult<(Array<'py, f32>, Array<'py, f32>)> {
        let (trained, found) = self.on_images(x, Trained::encode)?;
        let (py, Encoded { means, log_variances }) = (x.py(), found);
        let shape = [means.len() / trained.model.latent(), trained.model.latent()];
        Ok((array(py, means, &shape)?, array(py, log_variances, &shape)?))
    }

    /// The images of latents, `[N, height, width]` in `[0, 1]`.
    fn decode<'py>(&self, z: &Bound<'py, PyAny>) -> PyResult<Array<'py, f32>> {
        let trained = self.trained()?;
        let (latents, _) = matrix("z", z, Some(trained.model.latent()))?;
        let latents = latents.as_slice();
        let images = compute(z.py(), || trained.decode(latents))?;
        shaped(z.py(), &trained, images)
    }

    /// `n` images of latents drawn from the prior, or from a mixture fitted to the latents of the
    /// training images (`source = "mixture"`).
    #[pyo3(signature = (n, seed = 0, source = "prior", data_dir = None))]
    fn sample<'py>(
        &self,
        py: Python<'py>,
        n: usize,
        seed: u64,
        source: &str,
        data_dir: Option<PathBuf>,
    ) -> PyResult<Array<'py, f32>> {
        let (trained, source) = (self.trained()?, choice::<LatentSource>("source", source)?);
        let model = &trained;
        let images = compute(py, move || {
            let latents = model.latents_from(source, n, seed, data_dir.as_deref())?;
            model.decode(&latents)
        })?;
        shaped(py, &trained, images)
    }

    /// Reconstructions at the means of the posteriors, `[N, height, width]` in `[0, 1]`.
    fn reconstruct<'py>(&self, x: &Bound<'py, PyAny>) -> PyResult<Array<'py, f32>> {
        let (trained, found) = self.on_images(x, Trained::reconstruct)?;
        shaped(x.py(), &trained, found.images)
    }

    /// Evidence lower bound of each image in nats, with `k` latents per image, `[N]`. `hvae eval`
    /// prints the mean.
    #[pyo3(signature = (x, k = 200, seed = 0))]
    fn elbo<'py>(&self, x: &Bound<'py, PyAny>, k: usize, seed: u64) -> PyResult<Array<'py, f64>> {
        self.bound(x, k, seed, 0)
    }

    /// Negative log-likelihood of each image in nats, by the importance-weighted bound with `k`
    /// latents per image, `[N]`. `hvae eval` prints the mean.
    #[pyo3(signature = (x, k = 200, seed = 0))]
    fn nll<'py>(&self, x: &Bound<'py, PyAny>, k: usize, seed: u64) -> PyResult<Array<'py, f64>> {
        self.bound(x, k, seed, 1)
    }

    /// Energy of the encoder at its equilibrium with each image clamped, `[N]`: a minimum over all
    /// other layers.
    fn free_energy<'py>(&self, x: &Bound<'py, PyAny>) -> PyResult<Array<'py, f32>> {
        let (_, energies) = self.on_images(x, Trained::free_energies)?;
        let count = energies.len();
        array(x.py(), energies, &[count])
    }

    /// The states of all layers of the decoder while it relaxes from random states with the latents
    /// clamped: for each layer `[sweeps + 1, N, units]`, from the start to the last sweep.
    #[pyo3(signature = (z, sweeps = 40, damping = 0.0, seed = 0))]
    fn relax<'py>(
        &self,
        z: &Bound<'py, PyAny>,
        sweeps: usize,
        damping: f64,
        seed: u64,
    ) -> PyResult<Bound<'py, PyDict>> {
        let (py, trained) = (z.py(), self.trained()?);
        let (latents, shape) = matrix("z", z, Some(trained.model.latent()))?;
        let how = Sweeps { count: sweeps, damping, seed };
        let latents = latents.into_vec();
        let layers = compute(py, || trained.relax(latents, how))?;
        let found = PyDict::new(py);
        for LayerStates { name, units, states } in layers {
            let shape = [states.len(), shape[0], units];
            found.set_item(name, array(py, states.concat(), &shape)?)?;
        }
        Ok(found)
    }

    /// All parameters, under the names that `hvae export` gives them.
    fn weights<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let trained = self.trained()?;
        let found = PyDict::new(py);
        for weights in compute(py, || trained.weights())? {
            found.set_item(weights.name, array(py, weights.values, &weights.shape)?)?;
        }
        Ok(found)
    }

    /// Compares the gradient by equilibrium propagation on `x` with the one by automatic
    /// differentiation through `sweeps` sweeps: for each parameter, and for `all parameters`, the
    /// cosine between the two and the ratio of their norms.
    #[pyo3(signature = (x, nudge = None, sweeps = 60))]
    fn gradcheck<'py>(
        &self,
        x: &Bound<'py, PyAny>,
        nudge: Option<f64>,
        sweeps: usize,
    ) -> PyResult<Bound<'py, PyDict>> {
        let (_, comparisons) =
            self.on_images(x, |trained, images| trained.gradcheck(images, nudge, sweeps))?;
        let found = PyDict::new(x.py());
        for (name, cosine, norm_ratio) in comparisons {
            found.set_item(name, (cosine, norm_ratio))?;
        }
        Ok(found)
    }

    /// Frees the model; any further use is an error.
    fn close(&self) {
        *self.trained.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn __enter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, _exception: &Bound<'_, PyAny>) {
        self.close();
    }

    fn __repr__(&self) -> String {
        format!("Run({:?})", self.path.display().to_string())
    }
}
