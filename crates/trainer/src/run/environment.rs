//! Program, machine and data of a run, in `environment.json`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use burn::tensor::Device;
use hvae_data::{Split, config::DataConfig, dataset::Dataset, images::Images};
use hvae_runtime::{files, terminal};
use serde::{Deserialize, Serialize};

use crate::run::dir::RunDir;
use crate::run::place;

const FILE: &str = "environment.json";

/// As it was when the run was last started or resumed. Only the images affect the results.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    pub(crate) version: String,
    pub(crate) commit: String,
    pub(crate) system: String,
    pub(crate) processor: Option<String>,
    pub(crate) threads: usize,
    /// `--device`.
    pub(crate) device: String,
    /// Folder of the images; `None` for sets without files.
    pub(crate) data_dir: Option<PathBuf>,
    /// Own images as seen from the run's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) dataset_from_run: Option<PathBuf>,
    /// SHA-256 of the training images and their labels.
    pub(crate) images_sha256: String,
    /// What was converted and left out when they were read.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) images_report: String,
    /// The same of the images that the validation loss is measured on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) validation_sha256: Option<String>,
    /// What was converted and left out of these.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) validation_report: String,
}

impl Environment {
    /// This process, which computes on `device` and has read `images`, for training and for
    /// validation, of `dataset` from `data_dir`, by default the set's usual folder.
    pub fn current(
        device: String,
        dataset: &Dataset,
        data_dir: Option<&Path>,
        images: &[Images; 2],
    ) -> Self {
        let folder = match dataset {
            Dataset::Mnist | Dataset::FashionMnist => {
                std::path::absolute(data_dir.unwrap_or(dataset.default_folder())).ok()
            }
            Dataset::Synthetic | Dataset::Path(_) => None,
        };
        let sum = |images: &Images| {
            files::hex_sha256(&[images.set().bytes(), images.set().labels()].concat())
        };
        let [training, validation] = images.each_ref().map(sum);
        let [of_training, of_validation] = images.each_ref().map(|all| all.report().to_string());
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: crate::COMMIT.to_owned(),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            processor: processor(),
            threads: rayon::current_num_threads(),
            device,
            data_dir: folder,
            dataset_from_run: None,
            images_sha256: training,
            images_report: of_training,
            validation_sha256: Some(validation),
            validation_report: of_validation,
        }
    }

    /// The environment of `run`, if it is recorded.
    pub fn of(run: &RunDir) -> Result<Option<Self>> {
        run.read_json(FILE)
    }

    /// Whether the images of `now` are those of this one, as far as both are known.
    pub(crate) fn has_images_of(&self, now: &Self) -> bool {
        let validation = self.validation_sha256.as_ref().zip(now.validation_sha256.as_ref());
        self.images_sha256 == now.images_sha256 && validation.is_none_or(|(a, b)| a == b)
    }

    /// Writes it into `run`, which is trained on `dataset`.
    pub fn save(&self, run: &RunDir, dataset: &Dataset) -> Result<()> {
        let whole = |path: &Path| std::fs::canonicalize(path).ok();
        let path = if let Dataset::Path(path) = dataset { whole(path) } else { None };
        let seen = path.zip(whole(run.path())).map(|(path, run)| place::relative(&run, &path));
        let environment = Self { dataset_from_run: seen, ..self.clone() };
        let text = serde_json::to_string_pretty(&environment).context("writing the environment")?;
        run.write_text(FILE, &(text + "\n"))
    }
}

/// The folder of a run's images: the `given` one, else the one that it was trained with.
pub fn data_dir(given: Option<&Path>, run: &RunDir) -> Result<Option<PathBuf>> {
    if let Some(folder) = given {
        return Ok(Some(folder.to_owned()));
    }
    let recorded = Environment::of(run)?.and_then(|then| then.data_dir);
    Ok(recorded.filter(|folder| folder.is_dir()))
}

/// The data set of a run where it is now. Own images that are not at their path any more are looked
/// for at the same place as seen from the run's folder, which may have been moved with them.
pub fn dataset(run: &RunDir, dataset: &Dataset) -> Result<Dataset> {
    let Dataset::Path(path) = dataset else { return Ok(dataset.clone()) };
    if path.exists() {
        return Ok(dataset.clone());
    }
    let seen = Environment::of(run)?.and_then(|then| then.dataset_from_run);
    let near = seen.map(|seen| run.path().join(seen)).filter(|near| near.exists());
    let found = near.and_then(|near| std::fs::canonicalize(near).ok()).with_context(|| {
        let (path, run) = (path.display(), run.path().display());
        format!(
            "the images of {run} are not at {path} any more; if they were moved, name their new \
             place with `hvae train --resume {run} --dataset PATH`"
        )
    })?;
    terminal::detail(&format!("{} is now {}", path.display(), found.display()));
    Ok(Dataset::Path(found))
}

/// The images that `run` is trained or tested on, of a known set from `folder` or the one that the
/// run was trained with.
pub(crate) fn images(
    run: &RunDir,
    data: &DataConfig,
    split: Split,
    folder: Option<&Path>,
    device: &Device,
) -> Result<Images> {
    let folder = data_dir(folder, run)?;
    let data = DataConfig { dataset: dataset(run, &data.dataset)?, ..data.clone() };
    Images::load(&data, split, folder.as_ref(), device)
}

/// The name of the processor, where the system reports it.
fn processor() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
