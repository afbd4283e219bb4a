//! A summary of a run, read from its folder.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::config::RunConfig;
use crate::run::dir::{CheckpointChoice, RunDir};
use crate::run::history;
use crate::run::metrics::EpochMetrics;

/// Configuration, metrics and checkpoints of a run.
#[derive(Debug, Clone)]
pub(crate) struct Summary {
    pub(crate) path: String,
    pub(crate) config: RunConfig,
    pub(crate) epochs: Vec<EpochMetrics>,
    pub(crate) latest: Option<String>,
    pub(crate) best: Option<String>,
}

impl Summary {
    pub(crate) fn of(run: &RunDir) -> Result<Self> {
        let pointer = |choice: CheckpointChoice| {
            let text = std::fs::read_to_string(run.path().join(choice.name())).ok()?;
            Some(text.trim().to_owned())
        };
        Ok(Self {
            path: run.path().display().to_string(),
            config: run.config()?,
            epochs: history::read(run)?,
            latest: pointer(CheckpointChoice::Latest),
            best: pointer(CheckpointChoice::Best),
        })
    }

    /// The newest value of `metric`, in the last epoch that has one.
    pub(crate) fn last<T>(&self, metric: impl Fn(&EpochMetrics) -> Option<T>) -> Option<T> {
        self.epochs.iter().rev().find_map(metric)
    }

    /// Epochs done.
    pub(crate) fn done(&self) -> usize {
        self.epochs.last().map_or(0, |epoch| epoch.epoch)
    }

    /// Seconds over all epochs.
    pub(crate) fn seconds(&self) -> f64 {
        self.epochs.iter().map(|epoch| epoch.seconds).sum::<f64>().abs()
    }

    /// For other programs.
    pub(crate) fn to_json(&self) -> Result<Value> {
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

/// The runs in a folder by name, and an error message for each that cannot be read.
pub(crate) fn all(folder: &Path) -> Result<(Vec<Summary>, Vec<String>)> {
    let list = || -> std::io::Result<Vec<PathBuf>> {
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
    };
    let shown = folder.display();
    let hint = "`hvae train` creates runs, by default under checkpoints/";
    let mut paths = list().with_context(|| format!("listing {shown}: {hint}"))?;
    paths.sort();
    let (mut runs, mut errors) = (Vec::new(), Vec::new());
    for path in paths.into_iter().filter(|path| path.join("config.toml").is_file()) {
        match RunDir::open(&path).and_then(|run| Summary::of(&run)) {
            Ok(summary) => runs.push(summary),
            Err(error) => errors.push(format!("{}: {error:#}", path.display())),
        }
    }
    Ok((runs, errors))
}
