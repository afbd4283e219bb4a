//! `hvae.train`: a run, trained under a configuration.

use std::path::PathBuf;

use anyhow::{Context, Result};
use hvae::api::{EpochMetrics, NewRun, Observer, Training};
use hvae_data::{arrays, in_memory::ArrayImages};
use pyo3::exceptions::{PyKeyboardInterrupt, PyTypeError, PyValueError};
use pyo3::prelude::*;
use serde_json::Value;

use crate::array::{loaded, object, wrong};
use crate::compute::{exception, interruptible};

/// Calls a function of Python after every epoch.
#[derive(Debug)]
struct Callback(Py<PyAny>);

impl Observer for Callback {
    fn epoch(&mut self, metrics: &EpochMetrics) -> Result<()> {
        Python::attach(|py| {
            self.0.call1(py, (object(py, metrics)?,))?;
            Ok(())
        })
    }
}

/// How a run is trained, from the keywords of `hvae.train`.
#[derive(Debug)]
struct Request {
    new: Option<NewRun>,
    resume: Option<PathBuf>,
    epochs: Option<usize>,
    device: String,
    data_dir: Option<PathBuf>,
    callback: Option<Callback>,
}

/// Arrays for training and for testing.
type Pair<'py> = [Option<Bound<'py, PyAny>>; 2];

/// Images given as arrays, with labels.
fn own_images(images: Pair<'_>, labels: Pair<'_>) -> PyResult<Option<ArrayImages>> {
    let ([train, test], [of_train, of_test]) = (images, labels);
    let missing = of_train.is_some() || test.is_some();
    if train.is_none() && missing || test.is_none() && of_test.is_some() {
        return Err(PyValueError::new_err(
            "labels need images of the same part, and test images need images to train on",
        ));
    }
    let set = |images: Bound<'_, PyAny>, labels: Option<Bound<'_, PyAny>>| {
        let labels = labels.map(|labels| loaded("labels", &labels)).transpose()?;
        arrays::set("images", loaded("images", &images)?, labels).map_err(wrong)
    };
    let Some(train) = train else { return Ok(None) };
    let test = test.map(|test| set(test, of_test)).transpose()?;
    ArrayImages::new(set(train, of_train)?, test).map(Some).map_err(wrong)
}

/// Trains a run; `settings` is the configuration as JSON. Returns the folder of the run.
#[pyfunction]
#[pyo3(signature = (config, settings, images, labels, *, runs, name, resume, epochs, device, data_dir, callback))]
#[allow(clippy::too_many_arguments, reason = "Python calls it by keywords")]
pub(crate) fn train(
    py: Python<'_>,
    config: Option<PathBuf>,
    settings: &str,
    images: Pair<'_>,
    labels: Pair<'_>,
    runs: PathBuf,
    name: Option<String>,
    resume: Option<PathBuf>,
    epochs: Option<usize>,
    device: String,
    data_dir: Option<PathBuf>,
    callback: Option<Py<PyAny>>,
) -> PyResult<PathBuf> {
    let images = own_images(images, labels)?;
    let new = if resume.is_none() {
        let config = configuration(config, settings, images.as_ref()).map_err(wrong)?;
        Some(NewRun { runs, name, config, images })
    } else if config.is_some() || settings != "{}" || name.is_some() || images.is_some() {
        let text = "resume continues a run with its own configuration: of the settings only \
            epochs can be given";
        return Err(PyValueError::new_err(text));
    } else {
        None
    };
    let is_callable = callback.as_ref().is_none_or(|function| function.bind(py).is_callable());
    if !is_callable {
        return Err(PyTypeError::new_err("callback must be a function of the metrics of an epoch"));
    }
    let callback = callback.map(Callback);
    let request = Request { new, resume, epochs, device, data_dir, callback };
    let (found, signal) = interruptible(py, || request.train());
    let (run, interrupted) = found.map_err(exception)?;
    if interrupted {
        let run = run.display().to_string();
        let text = format!("saved; continue with hvae.train(resume={run:?})");
        return Err(PyKeyboardInterrupt::new_err(text));
    }
    signal.map_or(Ok(run), Err)
}

impl Request {
    fn train(self) -> Result<(PathBuf, bool)> {
        let callback = self.callback.map(|callback| Box::new(callback) as Box<dyn Observer>);
        let training = Training {
            device: self.device,
            data_dir: self.data_dir,
            observers: callback.into_iter().collect(),
        };
        match (self.new, self.resume) {
            (Some(new), _) => training.create(new),
            (None, run) => training.resume(&run.context("a run to resume")?, self.epochs),
        }
    }
}

/// The configuration in the file `config`, overridden by the JSON `settings`, as TOML. Without a
/// size in them, it is that of `images`.
fn configuration(
    config: Option<PathBuf>,
    settings: &str,
    images: Option<&ArrayImages>,
) -> Result<String> {
    let mut table = match config {
        None => toml::Table::new(),
        Some(path) => {
            let reading = || format!("reading configuration {}", path.display());
            let text = std::fs::read_to_string(&path).with_context(reading)?;
            text.parse().with_context(|| format!("in {}", path.display()))?
        }
    };
    let settings: Value = serde_json::from_str(settings).context("reading the settings")?;
    for (section, values) in settings.as_object().context("settings are a dictionary")? {
        let values = values.as_object();
        let values = values.with_context(|| format!("{section} must be a dictionary"))?;
        let keys = table.entry(section).or_insert_with(|| toml::Table::new().into());
        let keys = keys.as_table_mut();
        let keys = keys.with_context(|| format!("{section} must be a section"))?;
        for (key, value) in values {
            // How a configuration says that an optional setting has no value.
            let value = if value.is_null() { &Value::from("none") } else { value };
            let value = toml::Value::try_from(value);
            keys.insert(key.clone(), value.with_context(|| format!("{section}.{key}"))?);
        }
    }
    if let Some(images) = images {
        let data = table.entry("data").or_insert_with(|| toml::Table::new().into());
        let data = data.as_table_mut().context("data must be a section")?;
        data.entry("size").or_insert_with(|| images.shape().size().to_string().into());
    }
    toml::to_string(&table).context("writing the configuration as TOML")
}
