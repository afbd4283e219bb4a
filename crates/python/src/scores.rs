//! `hvae.fid`, `hvae.kid`, `hvae.prdc`: distances between two sets of images.

use std::path::PathBuf;

use anyhow::{Result, anyhow};
use hvae::api::{CheckpointChoice, Comparison, LatentSource, Subject};
use hvae_scores::{Extractor, FeatureChoice, FeatureMetrics, frechet_distance};
use pyo3::prelude::*;

use crate::array::{loaded, object, wrong};
use crate::compute::compute;
use crate::run::choice;

/// How two sets are compared: the keywords that all scores have.
#[derive(Debug, FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct How {
    features: String,
    inception_weights: Option<PathBuf>,
    batch: Option<usize>,
    count: Option<usize>,
    seed: u64,
    source: String,
    data_dir: Option<PathBuf>,
    device: String,
}

impl How {
    /// The comparison; with the features of each image if `keep`.
    fn comparison(self, keep: bool) -> Result<Comparison> {
        let device = hvae_device::open(&self.device, false)?;
        let features: FeatureChoice =
            self.features.parse().map_err(|text: String| anyhow!(text))?;
        Ok(Comparison {
            extractor: Extractor::load(&features, self.inception_weights.as_deref(), &device)?,
            batch: self.batch,
            count: self.count,
            seed: self.seed,
            from: choice::<LatentSource>("source", &self.source)?,
            checkpoint: CheckpointChoice::Latest,
            keep,
            data_dir: self.data_dir,
            device,
        })
    }
}

/// A path or `mnist-test`, or an array of images.
fn subject(what: &str, object: &Bound<'_, PyAny>) -> PyResult<Subject> {
    match object.extract::<PathBuf>() {
        Ok(path) => Subject::find(&path).map_err(wrong),
        Err(_) => {
            let images = hvae_data::arrays::set(what, loaded(what, object)?);
            Ok(Subject::Images(images.map_err(wrong)?))
        }
    }
}

/// Fréchet distance of the features of `a` and `b`.
#[pyfunction]
pub(crate) fn fid(
    py: Python<'_>,
    a: &Bound<'_, PyAny>,
    b: &Bound<'_, PyAny>,
    how: How,
) -> PyResult<f64> {
    let sides = [subject("a", a)?, subject("b", b)?];
    compute(py, || {
        let comparison = how.comparison(false)?;
        let [a, b] = comparison.sides(&sides)?;
        frechet_distance(&a.found.statistics, &b.found.statistics)
    })
}

fn metrics(
    py: Python<'_>,
    samples: &Bound<'_, PyAny>,
    real: &Bound<'_, PyAny>,
    how: How,
) -> PyResult<FeatureMetrics> {
    let sides = [subject("a", samples)?, subject("b", real)?];
    compute(py, || {
        let comparison = how.comparison(true)?;
        let [samples, real] = comparison.sides(&sides)?;
        comparison.metrics(&samples, &real)
    })
}

/// Kernel distance of the features of the samples `a` and the real images `b`.
#[pyfunction]
pub(crate) fn kid<'py>(
    py: Python<'py>,
    a: &Bound<'py, PyAny>,
    b: &Bound<'py, PyAny>,
    how: How,
) -> PyResult<Bound<'py, PyAny>> {
    object(py, &metrics(py, a, b, how)?.kid)
}

/// Precision, recall, density and coverage of the samples `a` with respect to the real images `b`.
#[pyfunction]
pub(crate) fn prdc<'py>(
    py: Python<'py>,
    a: &Bound<'py, PyAny>,
    b: &Bound<'py, PyAny>,
    how: How,
) -> PyResult<Bound<'py, PyAny>> {
    object(py, &metrics(py, a, b, how)?.prdc)
}
