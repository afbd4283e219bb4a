//! A run's folder: its lock, and its newest and best checkpoints.
//!
//! ```text
//! <run>/config.toml  metrics.jsonl  latest  best  samples/  reconstructions/  step-00000469/
//! ```

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail, ensure};
use hvae_model::Vae;
use hvae_runtime::{files, terminal};
use serde::de::DeserializeOwned;

use crate::config::RunConfig;
use crate::run::checkpoint::{self, Checkpoint, TrainingState};
use crate::run::choice::CheckpointChoice;
use crate::run::place;

/// The file that says where first weights are from, see [`Origin`](crate::run::Origin).
pub(super) const ORIGIN: &str = "origin.json";

/// A run's folder.
#[derive(Debug, Clone)]
pub struct RunDir {
    path: PathBuf,
    /// Held by a process that trains in the folder; the system releases it with the process.
    lock: Option<Arc<File>>,
}

impl RunDir {
    /// The folder `path`, which must hold a run.
    pub fn open(path: &Path) -> Result<Self> {
        // Without a trailing slash, which messages would double.
        let run = Self { path: path.components().collect(), lock: None };
        if !run.config_path().is_file() {
            let usual = Path::new("checkpoints").join(path);
            let hint = if path.is_relative() && usual.join("config.toml").is_file() {
                format!("Did you mean {}?", usual.display())
            } else {
                "`hvae train` creates runs, by default under checkpoints/".to_owned()
            };
            bail!("{} is not a run: it has no config.toml. {hint}", path.display());
        }
        Ok(run)
    }

    /// A new run with this configuration in the folder `path`, which must not exist, or hold a run
    /// without a checkpoint; locked. `origin` says where its first weights are from.
    pub fn create(path: &Path, config: &RunConfig, origin: Option<&str>) -> Result<Self> {
        Self::require_new(path)?;
        std::fs::create_dir_all(path).with_context(|| format!("creating {}", path.display()))?;
        let run = Self { path: path.to_owned(), lock: None }.locked()?;
        // Another process may have trained in it before it was locked.
        Self::require_new(path)?;
        let write = || {
            run.steps()?.into_iter().try_for_each(|step| run.remove(step))?;
            // First, so that a run with a configuration is complete.
            origin.map_or(Ok(()), |origin| run.write_text(ORIGIN, origin))?;
            run.write_text("config.toml", &config.to_toml()?)
        };
        if let Err(error) = write() {
            run.discard();
            return Err(error);
        }
        Ok(run)
    }

    /// The same run, locked for training by this process, without scratch files of killed ones.
    pub fn locked(mut self) -> Result<Self> {
        self.lock = files::lock_folder(&self.path)?.map(Arc::new);
        for folder in
            [self.path.clone(), self.path.join("samples"), self.path.join("reconstructions")]
        {
            files::remove_stale_scratch(&folder)?;
        }
        Ok(self)
    }

    /// Follows a folder that was renamed since it was locked; the new path if it was.
    fn follow(&mut self) -> Result<Option<&Path>> {
        let Some(lock) = &self.lock else { return Ok(None) };
        let Some(new) = place::moved(&self.path, lock)? else { return Ok(None) };
        let (old, shown) = (self.path.display(), new.display());
        terminal::line(&format!("{old} was renamed: training continues in {shown}"));
        self.path = new;
        Ok(Some(&self.path))
    }

    /// Writes into the folder of the run, wherever that is; once more if it was renamed meanwhile,
    /// with `true` for the repetition.
    pub(crate) fn in_place(
        &mut self,
        mut write: impl FnMut(&Self, bool) -> Result<()>,
    ) -> Result<()> {
        let mut again = false;
        loop {
            self.follow()?;
            let (written, old) = (write(self, again), self.path.clone());
            let moved = self.follow();
            if let Ok(None) = moved {
                return written;
            }
            place::remove_stray(&old);
            moved?;
            again = true;
        }
    }

    /// Whether the run ended before its first checkpoint.
    pub(crate) fn is_unstarted(&self) -> bool {
        place::is_unstarted(&self.path)
    }

    /// Refuses a folder that exists: a run is never overwritten, unless it has no checkpoint.
    pub fn require_new(path: &Path) -> Result<()> {
        let shown = path.display();
        let is_run = path.join("config.toml").is_file();
        let resume = format!("resume it with `hvae train --resume {shown}`, or ");
        let resume = if is_run { &resume } else { "" };
        let is_free = !path.exists() || place::is_unstarted(path);
        ensure!(is_free, "{shown} exists already; {resume}choose another --name");
        Ok(())
    }

    /// Removes a new run that could not start.
    pub fn discard(self) {
        // A file that cannot be removed is only in the way of a new run of the same name.
        let _ = std::fs::remove_dir_all(&self.path);
    }

    /// The first of `<parent>/<prefix>-001`, `-002`, ... that does not exist.
    pub fn next_free(parent: &Path, prefix: &str) -> PathBuf {
        (1_u32..=u32::MAX)
            .map(|n| parent.join(format!("{prefix}-{n:03}")))
            .find(|path| !path.exists())
            .expect("some number is free")
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
    pub fn config(&self) -> Result<RunConfig> {
        RunConfig::resolve(Some(&self.config_path()), &[])
    }

    /// Writes `text` to the file `name` of the run, atomically.
    pub fn write_text(&self, name: &str, text: &str) -> Result<()> {
        files::write(&self.path.join(name), text)
    }

    /// What the JSON file `name` of the run holds, which it can do without; `None` if it is absent.
    pub(super) fn read_json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let path = self.path.join(name);
        let shown = path.display();
        let text = match std::fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            read => read.with_context(|| format!("reading {shown}"))?,
        };
        let corrupt = || format!("{shown} is corrupt; delete it to continue without it");
        serde_json::from_slice(&text).map(Some).with_context(corrupt)
    }

    /// Saves a checkpoint, points `latest` (and `best`) at it, and removes those that need not be
    /// kept. After an error the earlier checkpoints are unchanged.
    pub(crate) fn save(&self, checkpoint: Checkpoint, keep: usize) -> Result<()> {
        let name = step_name(checkpoint.state.step);
        let scratch = files::scratch_dir_in(&self.path)?;
        let state = checkpoint.write(scratch.path())?;
        files::publish_dir(scratch, &self.path.join(&name))?;
        // In this order: `best` must not name a step after `latest`, which resuming would repeat.
        self.write_text("latest", &format!("{name}\n"))?;
        self.point_at_best(&state)?;
        let steps = self.steps()?.into_iter().rev();
        let best = |step: usize| state.best.iter().any(|best| best.step == step);
        steps.skip(keep).filter(|&s| !best(s)).try_for_each(|s| self.remove(s))
    }

    /// Points `best` at the best checkpoint in `state`, or removes the pointer without one.
    pub fn point_at_best(&self, state: &TrainingState) -> Result<()> {
        let path = self.path.join("best");
        match state.best.first() {
            Some(best) => self.write_text("best", &format!("{}\n", step_name(best.step))),
            None if files::is_present(&path)? => {
                std::fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))
            }
            None => Ok(()),
        }
    }

    /// Removes the checkpoints after `step`: those of a process that was killed before `latest`
    /// named them, or those that the user has gone back from.
    pub fn remove_after(&self, step: usize) -> Result<()> {
        self.steps()?.into_iter().filter(|&s| s > step).try_for_each(|s| self.remove(s))
    }

    /// Removes a checkpoint; its name disappears atomically.
    fn remove(&self, step: usize) -> Result<()> {
        let path = self.path.join(step_name(step));
        let scratch = files::scratch_dir_in(&self.path)?;
        std::fs::rename(&path, scratch.path().join("old"))
            .with_context(|| format!("removing the checkpoint {}", path.display()))
    }

    /// The names of the checkpoints, from the oldest.
    pub fn checkpoints(&self) -> Result<Vec<String>> {
        Ok(self.steps()?.into_iter().map(step_name).collect())
    }

    /// Their steps, in order.
    fn steps(&self) -> Result<Vec<usize>> {
        let mut steps = Vec::new();
        let entries = std::fs::read_dir(&self.path)
            .with_context(|| format!("listing {}", self.path.display()))?;
        for entry in entries {
            let name = entry?.file_name();
            let step = name.to_str().and_then(|n| n.strip_prefix("step-")?.parse().ok());
            // A copy that a user named, such as `step-5`, is not ours.
            steps.extend(step.filter(|&step| name.to_str() == Some(&step_name(step))));
        }
        steps.sort_unstable();
        Ok(steps)
    }

    /// The newest checkpoint's folder, or the best one's.
    pub fn checkpoint_path(&self, choice: CheckpointChoice) -> Result<PathBuf> {
        let (name, shown) = (choice.to_string(), self.path.display());
        let pointer = self.path.join(&name);
        if !pointer.exists() {
            let steps = self.checkpoints().unwrap_or_default();
            if let CheckpointChoice::Step(_) = choice {
                bail!("{shown} has no checkpoint {name}; it has {}", steps.join(", "));
            }
            ensure!(
                choice == CheckpointChoice::Latest || steps.is_empty(),
                "{shown} has no best checkpoint; the newest is the default"
            );
            ensure!(
                steps.is_empty(),
                "{} is missing, the file that names the newest checkpoint",
                pointer.display()
            );
            bail!("{shown} has no checkpoint yet; `hvae train --resume {shown}` starts it");
        }
        if let CheckpointChoice::Step(_) = choice {
            return Ok(pointer);
        }
        let shown = pointer.display();
        let text = std::fs::read_to_string(&pointer).with_context(|| format!("reading {shown}"))?;
        let name = text.trim();
        let step = name.strip_prefix("step-");
        ensure!(
            step.is_some_and(|step| step.bytes().all(|b| b.is_ascii_digit())),
            "{shown} is corrupt: it should hold one line such as step-00000469"
        );
        Ok(self.path.join(name))
    }

    /// Loads weights into `model` from the newest or best checkpoint, averaged ones if the run has
    /// them; also returns the state of training. `config` is the run's own configuration.
    pub fn load_model(
        &self,
        choice: CheckpointChoice,
        config: &RunConfig,
        model: Vae,
    ) -> Result<(Vae, TrainingState)> {
        let find = || {
            let folder = self.checkpoint_path(choice)?;
            Ok((checkpoint::read_state(&folder)?, folder))
        };
        let (state, folder) = find().map_err(|error| self.with_alternatives(choice, error))?;
        self.require_unchanged(config.model_change_since(&state.config)?)?;
        let model = checkpoint::read_model(&folder, &state, model);
        Ok((model.map_err(|error| self.with_alternatives(choice, error))?, state))
    }

    /// Refuses to use a checkpoint when there is a `change` of its configuration.
    pub fn require_unchanged(&self, change: Option<String>) -> Result<()> {
        let Some(change) = change else { return Ok(()) };
        bail!(
            "{} has changed since the checkpoint was saved: {change}. Change it back, or start a \
             new run",
            self.config_path().display()
        )
    }

    /// Refuses a configuration that is not that of the newest checkpoint, if that can be read.
    pub fn require_own(&self, config: &RunConfig) -> Result<()> {
        let folder = self.checkpoint_path(CheckpointChoice::Latest);
        let Ok(state) = folder.and_then(|f| checkpoint::read_state(&f)) else { return Ok(()) };
        self.require_unchanged(config.change_since(&state.config)?)
    }

    /// `error`, and how to go back to an earlier checkpoint than the newest if there is one.
    fn with_alternatives(&self, choice: CheckpointChoice, error: anyhow::Error) -> anyhow::Error {
        let names = self.checkpoints().unwrap_or_default();
        if choice != CheckpointChoice::Latest || names.len() < 2 {
            return error;
        }
        let (names, pointer) = (names.join(", "), self.path.join("latest"));
        let pointer = pointer.display();
        anyhow!("{error:#}. The run has {names}; to go back to one, write its name into {pointer}")
    }

    /// The newest checkpoint, with models like `like` and `moments` states of the optimizer.
    pub(crate) fn load(&self, like: &Vae, moments: usize) -> Result<Checkpoint> {
        let latest = CheckpointChoice::Latest;
        let load = || Checkpoint::read(&self.checkpoint_path(latest)?, like, moments);
        load().map_err(|error| self.with_alternatives(latest, error))
    }
}

fn step_name(step: usize) -> String {
    CheckpointChoice::Step(step).to_string()
}
