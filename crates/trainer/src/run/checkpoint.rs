//! Checkpoints: versioned, checked when read. A [`RunDir`](crate::run::RunDir) keeps them.
//!
//! ```text
//! <run>/step-00000469/{model.safetensors, ema.safetensors, moment1.safetensors,
//!                      moment2.safetensors, state.json}
//! ```

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use hvae_model::Vae;
use serde::{Deserialize, Serialize};

use crate::config::RunConfig;
use crate::run::metrics::EpochSums;
use hvae_runtime::{files, tensors};

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

impl Checkpoint {
    /// Writes its files into `folder`, and hands back the state as it is written there.
    pub(crate) fn write(self, folder: &Path) -> Result<TrainingState> {
        let Self { model, average, moments, mut state } = self;
        VERSION.clone_into(&mut state.version);
        crate::COMMIT.clone_into(&mut state.commit);
        let average = average.map(|average| (AVERAGE, average));
        let moments = MOMENTS.into_iter().zip(moments);
        state.sha256.clear();
        for (file, module) in [(MODEL, model)].into_iter().chain(average).chain(moments) {
            ensure!(tensors::is_finite(&module), "{file} would hold numbers that are not finite");
            let bytes = tensors::to_bytes(&module)?;
            state.sha256.insert(file.to_owned(), files::hex_sha256(&bytes));
            write(&folder.join(file), &bytes)?;
        }
        let json = serde_json::to_vec_pretty(&state).context("writing state.json")?;
        write(&folder.join(STATE), &json)?;
        Ok(state)
    }

    /// Reads the whole checkpoint in `folder`, with `moments` tensors of the optimizer; `like`
    /// gives the shapes.
    pub(crate) fn read(folder: &Path, like: &Vae, moments: usize) -> Result<Self> {
        let state = read_state(folder)?;
        let load = |file| load_module(folder, file, &state, like.clone());
        let averaged = state.config.training.averages();
        Ok(Self {
            model: load(MODEL)?,
            average: averaged.then(|| load(AVERAGE)).transpose()?,
            moments: MOMENTS.into_iter().take(moments).map(load).collect::<Result<_>>()?,
            state,
        })
    }
}

/// Reads the weights of the checkpoint in `folder`, whose state is `state`, into `model`: averaged
/// ones if the run has them.
pub(crate) fn read_model(folder: &Path, state: &TrainingState, model: Vae) -> Result<Vae> {
    let averaged = state.config.training.averages();
    let file = if averaged { AVERAGE } else { MODEL };
    load_module(folder, file, state, model)
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))
}

/// Where training stood at the checkpoint.
pub(crate) fn read_state(checkpoint: &Path) -> Result<TrainingState> {
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

    let state: TrainingState =
        serde_json::from_value(value).with_context(|| format!("{} is damaged", path.display()))?;
    Ok(TrainingState { format: FORMAT, ..state })
}

/// Reads the tensors of `file` into `module`: every one of them, none besides, all finite, and those within
/// a layer symmetric.
fn load_module(checkpoint: &Path, file: &str, state: &TrainingState, module: Vae) -> Result<Vae> {
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
    from_bytes(&path, bytes, module)
}

/// `module` with the tensors in the `bytes` of the safetensors file `path`: every one of them, none
/// besides, all finite, and within a layer symmetric.
pub(crate) fn from_bytes(path: &Path, bytes: Vec<u8>, module: Vae) -> Result<Vae> {
    let shown = path.display();
    let module = tensors::from_bytes(bytes, module)
        .with_context(|| format!("{shown} does not fit the configuration of the run"))?;
    ensure!(tensors::is_finite(&module), "{shown} holds numbers that are not finite");
    for (side, network) in module.networks() {
        network.check_couplings().with_context(|| format!("in the {side} of {shown}"))?;
    }
    Ok(module)
}
