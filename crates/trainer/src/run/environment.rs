//! Where a run was made: what its folder says besides configuration and results.

use std::io::ErrorKind;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::cli::global::Global;
use crate::run::RunDir;
use hvae_data::ImageSet;
use hvae_data::dataset::Dataset;
use hvae_runtime::files;

/// The file of a run that holds it.
const FILE: &str = "environment.json";

/// Program, machine and data of a run, as of its last start. Nothing of it changes the results but
/// for the images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// Version of the program.
    pub version: String,
    /// Commit that the program was built from.
    pub commit: String,
    /// Operating system and processor architecture.
    pub system: String,
    /// The processor, where the system tells.
    #[serde(default)]
    pub processor: Option<String>,
    /// Threads that compute.
    pub threads: usize,
    /// `--device`.
    pub device: String,
    /// Folder of the images that were used; none for those that need no file.
    #[serde(default)]
    pub data_dir: Option<PathBuf>,
    /// SHA-256 of the training images and their labels.
    #[serde(default)]
    pub images_sha256: Option<String>,
}

impl Environment {
    /// This process on this machine, with these training images.
    pub fn here(global: &Global, dataset: &Dataset, images: &ImageSet) -> Self {
        let folder = match dataset {
            Dataset::Mnist | Dataset::FashionMnist => {
                let folder = global.data_dir.as_deref().unwrap_or(dataset.default_folder());
                std::path::absolute(folder).ok()
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
            device: global.device.clone(),
            data_dir: folder,
            images_sha256: Some(files::hex_sha256(&bytes)),
        }
    }

    /// That of a run; none if the run has none, as those of older versions.
    ///
    /// # Errors
    ///
    /// When it cannot be read or is damaged; the message names the file.
    pub fn of(run: &RunDir) -> Result<Option<Self>> {
        let path = run.path().join(FILE);
        let shown = path.display();
        let text = match std::fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            read => read.with_context(|| format!("reading {shown}"))?,
        };
        let damaged = || format!("{shown} is damaged; remove it to go on without what it says");
        serde_json::from_slice(&text).map(Some).with_context(damaged)
    }

    /// Notes it in `run`.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn save(&self, run: &RunDir) -> Result<()> {
        let text = serde_json::to_string_pretty(self).context("writing the environment")?;
        run.write_text(FILE, &(text + "\n"))
    }
}

/// Where to look for a run's images: as `global` says, else where they were when it was trained.
///
/// # Errors
///
/// As [`Environment::of`].
pub fn data_dir(global: &Global, run: &RunDir) -> Result<Option<PathBuf>> {
    if let Some(folder) = &global.data_dir {
        return Ok(Some(folder.clone()));
    }
    let recorded = Environment::of(run)?.and_then(|then| then.data_dir);
    Ok(recorded.filter(|folder| folder.is_dir()))
}

/// The name of the processor, where the system tells.
fn processor() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
