//! A summary of a run, read from its folder.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::config::RunConfig;
use crate::run::choice::CheckpointChoice;
use crate::run::dir::RunDir;
use crate::run::history;
use crate::run::metrics::EpochMetrics;

/// The scores of a run in its folder, by the defaults of `hvae eval`.
const SCORES: &str = "evaluation.json";

/// Configuration, metrics and checkpoints of a run.
#[derive(Debug, Clone)]
pub struct Summary {
    pub(crate) path: String,
    pub(crate) config: RunConfig,
    pub(crate) epochs: Vec<EpochMetrics>,
    pub(crate) latest: Option<String>,
    pub(crate) best: Option<String>,
    /// What `hvae eval` found, by the names of its files: with its defaults first.
    pub(crate) scores: Vec<(String, Value)>,
}

impl Summary {
    /// Reads the run.
    pub fn of(run: &RunDir) -> Result<Self> {
        let pointer = |choice: CheckpointChoice| {
            let text = std::fs::read_to_string(run.path().join(choice.to_string())).ok()?;
            Some(text.trim().to_owned())
        };
        Ok(Self {
            path: run.path().display().to_string(),
            config: run.config()?,
            epochs: history::read(run)?,
            latest: pointer(CheckpointChoice::Latest),
            best: pointer(CheckpointChoice::Best),
            scores: scores(run.path()),
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

    /// FID of samples of the prior, if `hvae eval` was run with its defaults.
    pub(crate) fn fid(&self) -> Option<f64> {
        let (_, scores) = self.scores.first().filter(|(name, _)| name == SCORES)?;
        scores.pointer("/prior/fid")?.as_f64()
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
            "fid": self.fid(),
            "seconds": self.seconds(),
            "config": serde_json::to_value(&self.config)?,
        }))
    }
}

/// The files of `hvae eval` in a run's folder; other programs' and broken ones are left out.
fn scores(folder: &Path) -> Vec<(String, Value)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let is_scores = |name: &String| {
        name.strip_suffix(".json").is_some_and(|stem| stem.starts_with("evaluation"))
    };
    let mut names: Vec<_> = names.filter(is_scores).collect();
    names.sort_by_key(|name| (name != SCORES, name.clone()));
    let read = |name: String| {
        let bytes = std::fs::read(folder.join(&name)).ok()?;
        Some((name, serde_json::from_slice(&bytes).ok()?))
    };
    names.into_iter().filter_map(read).collect()
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
    for path in paths.into_iter().filter(|path| path.is_dir() && may_be_a_run(path)) {
        match RunDir::open(&path).and_then(|run| Summary::of(&run)) {
            Ok(summary) => runs.push(summary),
            Err(error) => errors.push(format!("{}: {error:#}", path.display())),
        }
    }
    Ok((runs, errors))
}

/// Whether a folder is a run, or has lost its configuration, or cannot be read.
fn may_be_a_run(path: &Path) -> bool {
    let has = |name| path.join(name).exists();
    let names = ["config.toml", "latest", "metrics.jsonl"];
    names.into_iter().any(has) || std::fs::read_dir(path).is_err()
}
