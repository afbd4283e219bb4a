//! What a run has come to, read from its folder.

use anyhow::Result;
use serde_json::{Value, json};

use crate::config::RunConfig;
use crate::run::RunDir;
use crate::run::history;

/// A run in short.
#[derive(Debug, Clone)]
pub struct Summary {
    /// Its folder.
    pub path: String,
    /// Its configuration.
    pub config: RunConfig,
    /// One object for each epoch, as in `metrics.jsonl`.
    pub epochs: Vec<Value>,
    /// Folders of the newest and the best checkpoint.
    pub latest: Option<String>,
    /// That of the best.
    pub best: Option<String>,
}

impl Summary {
    /// Reads the run.
    ///
    /// # Errors
    ///
    /// When configuration or metrics cannot be read.
    pub fn of(run: &RunDir) -> Result<Self> {
        let pointer = |name: &str| {
            let text = std::fs::read_to_string(run.path().join(name)).ok()?;
            Some(text.trim().to_owned())
        };
        Ok(Self {
            path: run.path().display().to_string(),
            config: run.config()?,
            epochs: history::read(run)?,
            latest: pointer("latest"),
            best: pointer("best"),
        })
    }

    /// The number at a path such as `/test/elbo` of the last epoch that has one.
    pub fn last(&self, pointer: &str) -> Option<f64> {
        self.epochs.iter().rev().find_map(|epoch| epoch.pointer(pointer)?.as_f64())
    }

    /// Epochs done.
    pub fn done(&self) -> u64 {
        self.epochs.last().and_then(|epoch| epoch.get("epoch")?.as_u64()).unwrap_or(0)
    }

    /// Seconds over all epochs.
    pub fn seconds(&self) -> f64 {
        self.epochs.iter().filter_map(|epoch| epoch.get("seconds")?.as_f64()).sum::<f64>().abs()
    }

    /// For other programs.
    ///
    /// # Errors
    ///
    /// When the configuration has no JSON form.
    pub fn to_json(&self) -> Result<Value> {
        Ok(json!({
            "run": self.path,
            "epochs": self.done(),
            "latest": self.latest,
            "best": self.best,
            "last": self.epochs.last(),
            "seconds": self.seconds(),
            "config": serde_json::to_value(&self.config)?,
        }))
    }
}

/// The runs in a folder by name, and what was wrong with those that cannot be read.
///
/// # Errors
///
/// When the folder cannot be listed.
pub fn all(folder: &std::path::Path) -> Result<(Vec<Summary>, Vec<String>)> {
    use anyhow::Context;
    let list = || -> std::io::Result<Vec<std::path::PathBuf>> {
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
    };
    let mut paths = list().with_context(|| {
        format!(
            "listing {}: `hvae train` makes runs, by default under checkpoints/",
            folder.display()
        )
    })?;
    paths.sort();
    let (mut runs, mut broken) = (Vec::new(), Vec::new());
    for path in paths.into_iter().filter(|path| path.join("config.toml").is_file()) {
        match RunDir::open(&path).and_then(|run| Summary::of(&run)) {
            Ok(summary) => runs.push(summary),
            Err(error) => broken.push(format!("{}: {error:#}", path.display())),
        }
    }
    Ok((runs, broken))
}
