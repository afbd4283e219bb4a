//! Checkpoints: whole or absent, versioned, checked when read.
//!
//! ```text
//! <run>/config.toml  metrics.jsonl  latest  best  samples/  reconstructions/
//! <run>/step-00000469/{model.safetensors, ema.safetensors, moment1.safetensors,
//!                      moment2.safetensors, state.json}
//! ```

mod older;

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use burn::module::{Module, ModuleVisitor, Param};
use burn::store::{ModuleStore, SafetensorsStore};
use burn::tensor::Tensor;
use hvae_model::Vae;
use serde::{Deserialize, Serialize};

use crate::config::RunConfig;
use crate::files;
use crate::metrics::EpochSums;

/// Version of the layout of a checkpoint, and the oldest that can be read.
const FORMAT: u32 = 2;
const OLDEST_FORMAT: u32 = 1;
const MODEL: &str = "model.safetensors";
const AVERAGE: &str = "ema.safetensors";
const MOMENTS: [&str; 2] = ["moment1.safetensors", "moment2.safetensors"];
const STATE: &str = "state.json";

/// Version of this program.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Where training stands, besides weights and moments.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingState {
    /// Version of the checkpoint's layout.
    pub format: u32,
    /// Version of the program that wrote it.
    pub version: String,
    /// Commit of the program that wrote it.
    pub commit: String,
    /// Steps taken in all.
    pub step: usize,
    /// Epochs finished.
    pub epoch: usize,
    /// Steps taken in the epoch under way.
    pub step_in_epoch: usize,
    /// Optimizer steps, as the bias correction of Adam counts them.
    pub optimizer_steps: usize,
    /// Evaluations since the lowest test loss.
    #[serde(default)]
    pub stale: usize,
    /// Sums over the epoch under way.
    pub sums: EpochSums,
    /// Lowest test losses (negative ELBO) so far and the steps they belong to, from the lowest; as
    /// many as are kept.
    pub best: Vec<(f64, usize)>,
    /// The configuration, seed included.
    pub config: RunConfig,
    /// SHA-256 of each file of tensors.
    pub sha256: BTreeMap<String, String>,
}

/// A checkpoint in memory.
#[derive(Debug)]
pub struct Checkpoint {
    /// Weights.
    pub model: Vae,
    /// Averaged weights, if the run has them.
    pub average: Option<Vae>,
    /// What the optimizer remembers, each in the shape of the model: at most two.
    pub moments: Vec<Vae>,
    /// Where training stands.
    pub state: TrainingState,
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
        ensure!(
            run.config_path().is_file(),
            "{} is not a run: it has no config.toml. `hvae train` makes runs, by default under checkpoints/",
            path.display()
        );
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
        // Where folders cannot be opened or locked at all, training goes on without.
        if let Ok(handle) = File::open(&self.path) {
            if matches!(handle.try_lock(), Err(TryLockError::WouldBlock)) {
                bail!("{} is being trained by another process", self.path.display());
            }
            self.lock = Some(Arc::new(handle));
        }
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
        ensure!(
            !path.exists(),
            "{} exists already; resume it with `hvae train --resume {}`, or choose another --name",
            path.display(),
            path.display()
        );
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
        let path = self.config_path();
        // What is wrong with the file is told below.
        let table = std::fs::read_to_string(&path).ok().and_then(|text| text.parse().ok());
        let before = table.map(|table| older::settings_before(&table)).unwrap_or_default();
        RunConfig::resolve(Some(&path), &before)
    }

    /// Writes `text` to the file `name` of the run, whole or not at all.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn write_text(&self, name: &str, text: &str) -> Result<()> {
        files::write_atomically(&self.path.join(name), |file| {
            Ok(std::io::Write::write_all(file, text.as_bytes())?)
        })
    }

    /// Saves a checkpoint, points `latest` (and `best`) at it, and removes those no longer kept.
    ///
    /// # Errors
    ///
    /// When a file cannot be written; the checkpoints before are then untouched.
    pub fn save(&self, checkpoint: Checkpoint, keep: usize) -> Result<()> {
        let Checkpoint { model, average, moments, mut state } = checkpoint;
        VERSION.clone_into(&mut state.version);
        crate::COMMIT.clone_into(&mut state.commit);
        let name = step_name(state.step);
        let scratch = files::scratch_dir_in(&self.path)?;
        let average = average.map(|average| (AVERAGE, average));
        let moments = MOMENTS.into_iter().zip(moments);
        state.sha256.clear();
        for (file, module) in [(MODEL, model)].into_iter().chain(average).chain(moments) {
            ensure!(is_finite(&module), "{file} would hold numbers that are not finite");
            let bytes = to_bytes(&module)?;
            state.sha256.insert(file.to_owned(), files::hex_sha256(&bytes));
            write(&scratch.path().join(file), &bytes)?;
        }
        let json = serde_json::to_vec_pretty(&state).context("writing state.json")?;
        write(&scratch.path().join(STATE), &json)?;
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
            let step: Option<usize> =
                name.to_str().and_then(|n| n.strip_prefix("step-")?.parse().ok());
            steps.extend(step);
        }
        Ok(steps)
    }

    /// The newest checkpoint's folder, or the best one's.
    ///
    /// # Errors
    ///
    /// When the run has none yet.
    pub fn checkpoint_path(&self, which: Which) -> Result<PathBuf> {
        let pointer = self.path.join(match which {
            Which::Latest => "latest",
            Which::Best => "best",
        });
        if !pointer.exists() {
            bail!("{} has no checkpoint yet", self.path.display());
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
    /// them; returns where training stood.
    ///
    /// # Errors
    ///
    /// When files are missing, altered, or do not fit the model, or hold numbers that are not
    /// finite; the message names the file.
    pub fn load_model(&self, which: Which, model: Vae) -> Result<(Vae, TrainingState)> {
        let load = || {
            let path = self.checkpoint_path(which)?;
            let state = read_state(&path)?;
            let averaged = state.config.training.ema_decay.is_some();
            let file = if averaged { AVERAGE } else { MODEL };
            Ok((load_module(&path, file, &state, model)?, state))
        };
        load().map_err(|error| self.with_others(error))
    }

    /// `error`, and how to fall back on another checkpoint if there is one.
    fn with_others(&self, error: anyhow::Error) -> anyhow::Error {
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
        let load = || {
            let path = self.checkpoint_path(Which::Latest)?;
            let state = read_state(&path)?;
            let load = |file| load_module(&path, file, &state, like.clone());
            let averaged = state.config.training.ema_decay.is_some();
            Ok(Checkpoint {
                model: load(MODEL)?,
                average: averaged.then(|| load(AVERAGE)).transpose()?,
                moments: MOMENTS.into_iter().take(moments).map(load).collect::<Result<_>>()?,
                state,
            })
        };
        load().map_err(|error| self.with_others(error))
    }
}

/// Which checkpoint of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Which {
    /// The newest.
    Latest,
    /// The one with the lowest test loss.
    Best,
}

impl TrainingState {
    /// Takes note of the test loss at this step: the `keep` lowest are remembered.
    pub fn rank(&mut self, loss: f64, keep: usize) {
        let improved = self.best.first().is_none_or(|&(lowest, _)| loss < lowest);
        self.stale = if improved { 0 } else { self.stale + 1 };
        let place = self.best.partition_point(|&(other, _)| other <= loss);
        self.best.insert(place, (loss, self.step));
        self.best.truncate(keep);
    }

    /// The state of a run that has not begun.
    pub fn new(config: RunConfig) -> Self {
        Self {
            format: FORMAT,
            version: VERSION.to_owned(),
            commit: crate::COMMIT.to_owned(),
            step: 0,
            epoch: 0,
            step_in_epoch: 0,
            optimizer_steps: 0,
            stale: 0,
            sums: EpochSums::default(),
            best: Vec::new(),
            config,
            sha256: BTreeMap::new(),
        }
    }
}

fn step_name(step: usize) -> String {
    format!("step-{step:08}")
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))
}

pub(crate) fn to_bytes(module: &Vae) -> Result<Vec<u8>> {
    // Metadata come in no fixed order; without them equal tensors give equal files.
    let mut store = SafetensorsStore::from_bytes(None).clear_metadata();
    store.collect_from(module).context("collecting tensors")?;
    store.get_bytes().context("collecting tensors")
}

fn read_state(checkpoint: &Path) -> Result<TrainingState> {
    let path = checkpoint.join(STATE);
    let text =
        std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let mut value: serde_json::Value =
        serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))?;
    let format = value.get("format").and_then(serde_json::Value::as_u64);
    let known = u64::from(OLDEST_FORMAT)..=u64::from(FORMAT);
    ensure!(
        format.is_some_and(|format| known.contains(&format)),
        "{}: checkpoint format {}, but this program reads formats {OLDEST_FORMAT} to {FORMAT}",
        path.display(),
        format.map_or("missing".to_owned(), |f| f.to_string())
    );
    older::upgrade_state(&mut value);
    let state: TrainingState =
        serde_json::from_value(value).with_context(|| format!("{} is damaged", path.display()))?;
    Ok(TrainingState { format: FORMAT, ..state })
}

/// Reads the tensors of `file` into `module`: every one of them, none besides, all finite.
fn load_module(
    checkpoint: &Path,
    file: &str,
    state: &TrainingState,
    mut module: Vae,
) -> Result<Vae> {
    let path = checkpoint.join(file);
    let shown = path.display();
    let bytes = std::fs::read(&path).with_context(|| format!("reading {shown}"))?;
    let expected = state.sha256.get(file);
    let found = files::hex_sha256(&bytes);
    ensure!(
        expected == Some(&found),
        "{shown} has been altered or damaged: its SHA-256 is {found}, state.json says {}",
        expected.map_or("nothing about it", String::as_str)
    );
    from_bytes(&path, bytes, &mut module)?;
    Ok(module)
}

/// Reads the tensors in the `bytes` of the safetensors file `path` into `module`: every one of them,
/// none besides, all finite.
pub(crate) fn from_bytes(path: &Path, bytes: Vec<u8>, module: &mut Vae) -> Result<()> {
    let shown = path.display();
    let mut store = SafetensorsStore::from_bytes(Some(bytes)).allow_partial(false);
    let result = store
        .apply_to(module)
        .with_context(|| format!("{shown} does not fit the configuration of the run"))?;
    ensure!(
        result.errors.is_empty() && result.missing.is_empty() && result.unused.is_empty(),
        "{shown} does not fit the configuration of the run: {result}"
    );
    ensure!(is_finite(module), "{shown} holds numbers that are not finite");
    Ok(())
}

pub(crate) fn is_finite<M: Module>(module: &M) -> bool {
    struct Finite(bool);
    impl ModuleVisitor for Finite {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0 &= param.val().is_finite().all().into_scalar::<bool>();
        }
    }
    let mut finite = Finite(true);
    module.visit(&mut finite);
    finite.0
}
