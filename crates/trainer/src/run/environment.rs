//! Program, machine and data of a run, in `environment.json`.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use hvae_data::{ImageSet, dataset::Dataset};
use hvae_runtime::files;
use serde::{Deserialize, Serialize};

use crate::run::dir::RunDir;

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
    /// SHA-256 of the training images and their labels.
    pub(crate) images_sha256: String,
}

impl Environment {
    /// This process, which computes on `device` and has read the training images `images` of
    /// `dataset` from `data_dir`, by default the set's usual folder.
    pub fn current(
        device: String,
        dataset: &Dataset,
        data_dir: Option<&Path>,
        images: &ImageSet,
    ) -> Self {
        let folder = match dataset {
            Dataset::Mnist | Dataset::FashionMnist => {
                std::path::absolute(data_dir.unwrap_or(dataset.default_folder())).ok()
            }
            Dataset::Synthetic | Dataset::Path(_) => None,
        };
        let bytes = [images.bytes(), images.labels()].concat();
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: crate::COMMIT.to_owned(),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            processor: processor(),
            threads: rayon::current_num_threads(),
            device,
            data_dir: folder,
            images_sha256: files::hex_sha256(&bytes),
        }
    }

    /// The environment of `run`, if it is recorded.
    pub fn of(run: &RunDir) -> Result<Option<Self>> {
        let path = run.path().join(FILE);
        let shown = path.display();
        let text = match std::fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            read => read.with_context(|| format!("reading {shown}"))?,
        };
        let corrupt = || format!("{shown} is corrupt; delete it to continue without it");
        serde_json::from_slice(&text).map(Some).with_context(corrupt)
    }

    /// Writes it into `run`.
    pub fn save(&self, run: &RunDir) -> Result<()> {
        let text = serde_json::to_string_pretty(self).context("writing the environment")?;
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

/// The name of the processor, where the system reports it.
fn processor() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
