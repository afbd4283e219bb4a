//! A run's folder: its lock, its checkpoints, and which of them is the newest and the best.
//!
//! ```text
//! <run>/config.toml  metrics.jsonl  latest  best  samples/  reconstructions/  step-00000469/
//! ```

pub mod checkpoint;
pub mod environment;
pub mod exchange;
pub mod history;
pub mod metrics;
pub mod summary;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use hvae_model::Vae;

use crate::config::RunConfig;
use crate::run::checkpoint::{Checkpoint, TrainingState};
use hvae_runtime::files;

/// Which checkpoint of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Which {
    /// The newest.
    Latest,
    /// The one with the lowest test loss.
    Best,
}

/// A run's folder.
#[derive(Debug, Clone)]
pub struct RunDir {
    path: PathBuf,
    /// Held by a process that trains in the folder; the system drops it with the process.
    lock: Option<Arc<File>>,
}

impl RunDir {
    /// The folder `path`, which must hold a run.
    ///
    /// # Errors
    ///
    /// When there is no run in it.
    pub fn open(path: &Path) -> Result<Self> {
        // Without a slash at the end, which would stand doubled in messages.
        let run = Self { path: path.components().collect(), lock: None };
        if !run.config_path().is_file() {
            let usual = Path::new("checkpoints").join(path);
            let hint = if path.is_relative() && usual.join("config.toml").is_file() {
                format!("Is {} meant?", usual.display())
            } else {
                "`hvae train` makes runs, by default under checkpoints/".to_owned()
            };
            bail!("{} is not a run: it has no config.toml. {hint}", path.display());
        }
        Ok(run)
    }

    /// A new run with this configuration in the folder `path`, which must not exist; locked.
    ///
    /// # Errors
    ///
    /// When the folder exists or cannot be made.
    pub fn create(path: &Path, config: &RunConfig) -> Result<Self> {
        Self::require_new(path)?;
        let create = || {
            path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
            std::fs::create_dir(path)
        };
        create().with_context(|| format!("creating {}", path.display()))?;
        let run = Self { path: path.to_owned(), lock: None }.locked()?;
        let written = config.to_toml().and_then(|text| run.write_text("config.toml", &text));
        if let Err(error) = written {
            run.discard();
            return Err(error);
        }
        Ok(run)
    }

    /// The same run, for this process alone to train in; tidied of what killed processes left.
    ///
    /// # Errors
    ///
    /// When another process trains in it.
    pub fn locked(mut self) -> Result<Self> {
        self.lock = files::lock_folder(&self.path)?.map(Arc::new);
        for folder in
            [self.path.clone(), self.path.join("samples"), self.path.join("reconstructions")]
        {
            files::remove_stale_scratch(&folder)?;
        }
        Ok(self)
    }

    /// Refuses a folder that exists: a run is never written over.
    ///
    /// # Errors
    ///
    /// When `path` exists.
    pub fn require_new(path: &Path) -> Result<()> {
        let shown = path.display();
        let is_run = path.join("config.toml").is_file();
        let resume = if is_run {
            format!("resume it with `hvae train --resume {shown}`, or ")
        } else {
            String::new()
        };
        ensure!(!path.exists(), "{shown} exists already; {resume}choose another --name");
        Ok(())
    }

    /// Takes back a run that could not begin.
    pub fn discard(self) {
        // What cannot be removed is in nobody's way but a new run's of the same name.
        let _ = std::fs::remove_dir_all(&self.path);
    }

    /// The first of `<parent>/<prefix>-001`, `-002`, ... that does not exist.
    pub fn next_free(parent: &Path, prefix: &str) -> PathBuf {
        (1_u32..=u32::MAX)
            .map(|n| parent.join(format!("{prefix}-{n:03}")))
            .find(|path| !path.exists())
            .expect("not every number is taken")
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The configuration file.
    pub fn config_path(&self) -> PathBuf {
        self.path.join("config.toml")
    }

    /// The run's configuration.
    ///
    /// # Errors
    ///
    /// When it cannot be read or is not valid.
    pub fn config(&self) -> Result<RunConfig> {
        RunConfig::resolve(Some(&self.config_path()), &[])
    }

    /// Writes `text` to the file `name` of the run, whole or not at all.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn write_text(&self, name: &str, text: &str) -> Result<()> {
        files::write(&self.path.join(name), text)
    }

    /// Saves a checkpoint, points `latest` (and `best`) at it, and removes those no longer kept.
    ///
    /// # Errors
    ///
    /// When a file cannot be written; the checkpoints before are then untouched.
    pub fn save(&self, checkpoint: Checkpoint, keep: usize) -> Result<()> {
        let name = step_name(checkpoint.state.step);
        let scratch = files::scratch_dir_in(&self.path)?;
        let state = checkpoint.write(scratch.path())?;
        files::publish_dir(scratch, &self.path.join(&name))?;
        // In this order: what `best` names is never beyond `latest`, where it would be made again.
        self.write_text("latest", &format!("{name}\n"))?;
        self.point_at_best(&state)?;
        let mut steps = self.steps()?;
        steps.sort_unstable_by(|a, b| b.cmp(a));
        let best = |step: usize| state.best.iter().any(|&(_, s)| s == step);
        steps.iter().skip(keep).filter(|&&s| !best(s)).try_for_each(|&s| self.remove(s))
    }

    /// Points `best` at the best checkpoint that `state` knows of; none if it knows none.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn point_at_best(&self, state: &TrainingState) -> Result<()> {
        let path = self.path.join("best");
        match state.best.first() {
            Some((_, step)) => self.write_text("best", &format!("{}\n", step_name(*step))),
            None if files::is_present(&path)? => {
                std::fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))
            }
            None => Ok(()),
        }
    }

    /// Removes the checkpoints beyond `step`: those of a process that was killed before `latest`
    /// named them, or from which the user has gone back.
    ///
    /// # Errors
    ///
    /// When one cannot be removed.
    pub fn remove_after(&self, step: usize) -> Result<()> {
        self.steps()?.into_iter().filter(|&s| s > step).try_for_each(|s| self.remove(s))
    }

    /// Removes a checkpoint, at once under its own name.
    fn remove(&self, step: usize) -> Result<()> {
        let path = self.path.join(step_name(step));
        let scratch = files::scratch_dir_in(&self.path)?;
        std::fs::rename(&path, scratch.path().join("old"))
            .with_context(|| format!("removing the checkpoint {}", path.display()))
    }

    /// The names of the checkpoints, from the oldest.
    ///
    /// # Errors
    ///
    /// When the folder cannot be listed.
    pub fn checkpoints(&self) -> Result<Vec<String>> {
        let mut steps = self.steps()?;
        steps.sort_unstable();
        Ok(steps.into_iter().map(step_name).collect())
    }

    fn steps(&self) -> Result<Vec<usize>> {
        let mut steps = Vec::new();
        let entries = std::fs::read_dir(&self.path)
            .with_context(|| format!("listing {}", self.path.display()))?;
        for entry in entries {
            let name = entry?.file_name();
            let step = name.to_str().and_then(|n| n.strip_prefix("step-")?.parse().ok());
            // A person's copy under a name such as `step-5` is none of ours.
            steps.extend(step.filter(|&step| name.to_str() == Some(&step_name(step))));
        }
        Ok(steps)
    }

    /// The newest checkpoint's folder, or the best one's.
    ///
    /// # Errors
    ///
    /// When the run has none yet.
    pub fn checkpoint_path(&self, which: Which) -> Result<PathBuf> {
        let name = match which {
            Which::Latest => "latest",
            Which::Best => "best",
        };
        let pointer = self.path.join(name);
        if !pointer.exists() {
            let shown = self.path.display();
            let steps = self.checkpoints().unwrap_or_default();
            ensure!(
                which == Which::Latest || steps.is_empty(),
                "{shown} has no best checkpoint; the newest is the default"
            );
            ensure!(
                steps.is_empty(),
                "{} is missing, which names the newest checkpoint",
                pointer.display()
            );
            bail!("{shown} has no checkpoint yet");
        }
        let text = std::fs::read_to_string(&pointer)
            .with_context(|| format!("reading {}", pointer.display()))?;
        let name = text.trim();
        let is_step =
            name.strip_prefix("step-").is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()));
        ensure!(
            is_step,
            "{} is damaged: it should hold one line such as step-00000469",
            pointer.display()
        );
        Ok(self.path.join(name))
    }

    /// Loads weights into `model` from the newest or best checkpoint, averaged ones if the run has
    /// them; returns where training stood. `config` is the run's own configuration.
    ///
    /// # Errors
    ///
    /// When files are missing, altered, or do not fit the model, or hold numbers that are not
    /// finite; the message names the file. When `config` is of another model than the weights were
    /// learnt under.
    pub fn load_model(
        &self,
        which: Which,
        config: &RunConfig,
        model: Vae,
    ) -> Result<(Vae, TrainingState)> {
        let find = || {
            let folder = self.checkpoint_path(which)?;
            Ok((checkpoint::read_state(&folder)?, folder))
        };
        let (state, folder) = find().map_err(|error| self.with_others(which, error))?;
        self.require_unchanged(config.model_change_since(&state.config)?)?;
        let model = checkpoint::read_model(&folder, &state, model);
        Ok((model.map_err(|error| self.with_others(which, error))?, state))
    }

    /// Refuses to use a checkpoint when its configuration has seen a `change`.
    ///
    /// # Errors
    ///
    /// When there is one.
    pub fn require_unchanged(&self, change: Option<String>) -> Result<()> {
        let Some(change) = change else { return Ok(()) };
        bail!(
            "{} has changed since the checkpoint was made: {change}. Change it back, or begin a new run",
            self.config_path().display()
        )
    }

    /// Refuses a configuration that is not that of the newest checkpoint; whether that can be used is not
    /// asked here.
    ///
    /// # Errors
    ///
    /// When there is a change besides those that a run may see.
    pub fn require_own(&self, config: &RunConfig) -> Result<()> {
        let folder = self.checkpoint_path(Which::Latest);
        match folder.and_then(|folder| checkpoint::read_state(&folder)) {
            Ok(state) => self.require_unchanged(config.change_since(&state.config)?),
            Err(_) => Ok(()),
        }
    }

    /// `error`, and how to fall back on another checkpoint than the newest if there is one.
    fn with_others(&self, which: Which, error: anyhow::Error) -> anyhow::Error {
        if which == Which::Best {
            return error;
        }
        let names = self.checkpoints().unwrap_or_default();
        let pointer = self.path.join("latest");
        let hint = format!(
            "cannot use the checkpoint. The run holds {}; to go back to one, write its name into {}",
            names.join(", "),
            pointer.display()
        );
        if names.len() > 1 { error.context(hint) } else { error }
    }

    /// Loads the newest checkpoint whole, with `moments` tensors of the optimizer; `like` gives the
    /// shapes.
    ///
    /// # Errors
    ///
    /// As [`Self::load_model`].
    pub fn load(&self, like: &Vae, moments: usize) -> Result<Checkpoint> {
        let load = || Checkpoint::read(&self.checkpoint_path(Which::Latest)?, like, moments);
        load().map_err(|error| self.with_others(Which::Latest, error))
    }
}

fn step_name(step: usize) -> String {
    format!("step-{step:08}")
}
