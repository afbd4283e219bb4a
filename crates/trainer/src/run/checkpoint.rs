//! Checkpoints: versioned, verified when read. A [`RunDir`](crate::run::dir::RunDir) manages them.
//!
//! ```text
//! <run>/step-00000469/{model.safetensors, ema.safetensors, moment1.safetensors,
//!                      moment2.safetensors, state.json}
//! ```

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result, ensure};
use burn::module::Module;
use hvae_model::{HopfieldPrior, PriorConfig, PriorKind, Vae};
use hvae_runtime::{files, tensors};
use serde::{Deserialize, Serialize};

use crate::{config::RunConfig, run::sums::EpochSums};

/// Version of the layout of a checkpoint. In format 1 `state.json` had no sum.
const FORMAT: u32 = 2;
/// The key of `state.json` that holds the SHA-256 of all others.
const SUM: &str = "sha256_of_state";
const MODEL: &str = "model.safetensors";
const AVERAGE: &str = "ema.safetensors";
const MOMENTS: [&str; 2] = ["moment1.safetensors", "moment2.safetensors"];
const STATE: &str = "state.json";

/// The state of training, besides weights and moments.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingState {
    /// Version of the checkpoint's layout; version and commit of the program that wrote it.
    pub(crate) format: u32,
    pub(crate) version: String,
    pub(crate) commit: String,
    pub(crate) step: usize,
    pub(crate) epoch: usize,
    /// Steps taken in the current epoch.
    pub(crate) step_in_epoch: usize,
    /// Optimizer steps, as the bias correction of Adam counts them.
    pub(crate) optimizer_steps: usize,
    /// Steps taken when a learned prior began, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) prior_begun: Option<usize>,
    /// Evaluations since the lowest validation loss.
    pub(crate) stale: usize,
    /// Sums over the current epoch.
    pub(crate) sums: EpochSums,
    /// The checkpoints of lowest validation loss so far, from the lowest; as many as are kept.
    pub(crate) best: Vec<Ranked>,
    pub(crate) config: RunConfig,
    /// SHA-256 of each file of tensors.
    pub(crate) sha256: BTreeMap<String, String>,
}

/// A checkpoint in memory.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    pub(crate) model: Vae,
    pub(crate) average: Option<Vae>,
    /// The optimizer's state, each in the shape of the model: at most two.
    pub(crate) moments: Vec<Vae>,
    pub(crate) state: TrainingState,
}

/// A step and its validation loss.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ranked {
    /// The negative ELBO.
    pub(crate) loss: f64,
    pub(crate) step: usize,
}

impl TrainingState {
    /// Records the validation loss at this step: the `keep` lowest are kept.
    pub(crate) fn rank(&mut self, loss: f64, keep: usize) {
        let improved = self.best.first().is_none_or(|lowest| loss < lowest.loss);
        self.stale = if improved { 0 } else { self.stale + 1 };
        let place = self.best.partition_point(|other| other.loss <= loss);
        self.best.insert(place, Ranked { loss, step: self.step });
        self.best.truncate(keep);
    }

    /// The state before the first step.
    pub(crate) fn new(config: RunConfig) -> Self {
        Self { format: FORMAT, config, ..Self::default() }
    }
}

impl Checkpoint {
    /// Writes its files into `folder`; returns the state as it is written there.
    pub(crate) fn write(self, folder: &Path) -> Result<TrainingState> {
        let Self { model, average, moments, mut state } = self;
        env!("CARGO_PKG_VERSION").clone_into(&mut state.version);
        crate::COMMIT.clone_into(&mut state.commit);
        let average = average.map(|average| (AVERAGE, average));
        let moments = MOMENTS.into_iter().zip(moments);
        let write = |file: &str, bytes: &[u8]| {
            let path = folder.join(file);
            std::fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))
        };
        state.sha256.clear();
        for (file, module) in [(MODEL, model)].into_iter().chain(average).chain(moments) {
            ensure!(tensors::is_finite(&module), "{file} would hold numbers that are not finite");
            let bytes = tensors::to_bytes(&module)?;
            state.sha256.insert(file.to_owned(), files::hex_sha256(&bytes));
            write(file, &bytes)?;
        }
        state.format = FORMAT;
        let mut value = serde_json::to_value(&state).context("writing state.json")?;
        value[SUM] = sum(&value).into();
        let json = serde_json::to_vec_pretty(&value).context("writing state.json")?;
        write(STATE, &json)?;
        Ok(state)
    }

    /// The checkpoint in `folder`, with models like `like` and `moments` states of the optimizer.
    pub(crate) fn read(folder: &Path, like: &Vae, moments: usize) -> Result<Self> {
        let state = read_state(folder)?;
        // All others have the parameters of the model, under the same ids.
        let model = load_module(folder, MODEL, &state, like.clone())?;
        let load = |file| load_module(folder, file, &state, model.clone());
        let averaged = state.config.training.averages();
        Ok(Self {
            average: averaged.then(|| load(AVERAGE)).transpose()?,
            moments: MOMENTS.into_iter().take(moments).map(load).collect::<Result<_>>()?,
            model,
            state,
        })
    }
}

impl TrainingState {
    /// The file of the weights that are used: averaged ones if the run has them.
    pub(super) fn weights_file(&self) -> &'static str {
        if self.config.training.averages() { AVERAGE } else { MODEL }
    }
}

/// The weights of the checkpoint in `folder`, averaged ones if the run has them.
pub(crate) fn read_model(folder: &Path, state: &TrainingState, model: Vae) -> Result<Vae> {
    load_module(folder, state.weights_file(), state, model)
}

/// The SHA-256 of a value as text without spaces, keys sorted.
fn sum(value: &serde_json::Value) -> String {
    files::hex_sha256(value.to_string().as_bytes())
}

/// The state of training at the checkpoint.
pub(crate) fn read_state(checkpoint: &Path) -> Result<TrainingState> {
    let path = checkpoint.join(STATE);
    let text =
        std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let corrupt = || format!("{} is corrupt", path.display());
    let mut value: serde_json::Value = serde_json::from_str(&text).with_context(corrupt)?;
    let format = value["format"].as_u64();
    ensure!(
        format.is_some_and(|format| (1..=FORMAT.into()).contains(&format)),
        "{}: checkpoint format {}, but this program reads formats 1 to {FORMAT}",
        path.display(),
        format.map_or("missing".to_owned(), |f| f.to_string())
    );
    let expected = value.as_object_mut().and_then(|fields| fields.remove(SUM));
    let is_whole = format == Some(1) || expected == Some(sum(&value).into());
    ensure!(is_whole, "{} is corrupt: it is not as it was saved", path.display());
    serde_json::from_value(value).with_context(corrupt)
}

/// Reads the tensors of `file` into `module`, see [`from_bytes`].
fn load_module(checkpoint: &Path, file: &str, state: &TrainingState, module: Vae) -> Result<Vae> {
    let path = checkpoint.join(file);
    let shown = path.display();
    let bytes = std::fs::read(&path).with_context(|| format!("reading {shown}"))?;
    let expected = state.sha256.get(file);
    let found = files::hex_sha256(&bytes);
    ensure!(
        expected == Some(&found),
        "{shown} is corrupt: its SHA-256 is {found}, but {} in state.json",
        expected.map_or("missing", String::as_str)
    );
    from_bytes(&path, bytes, module, &state.config.prior)
}

/// `module` with the tensors in the `bytes` of the safetensors file `path`: exactly its tensors,
/// all finite, and couplings within a layer symmetric.
pub(crate) fn from_bytes(
    path: &Path,
    bytes: Vec<u8>,
    mut module: Vae,
    prior: &PriorConfig,
) -> Result<Vae> {
    let shown = path.display();
    let has_prior = tensors::names(&bytes)?.iter().any(|name| name.starts_with("prior."));
    ensure!(
        !has_prior || prior.kind == PriorKind::Hopfield,
        "{shown} holds a Hopfield prior, but the configuration has prior.kind = standard"
    );
    let zeros = || {
        let device = module.encoder.devices().into_iter().next().unwrap_or_default();
        HopfieldPrior::zeros(prior.patterns, module.latent(), &device)
    };
    module.prior = has_prior.then(|| module.prior.clone().unwrap_or_else(zeros));
    let module = tensors::from_bytes(bytes, module)
        .with_context(|| format!("{shown} does not fit the configuration of the run"))?;
    ensure!(tensors::is_finite(&module), "{shown} holds numbers that are not finite");
    for (side, network) in module.networks() {
        network.check_couplings().with_context(|| format!("in the {side} of {shown}"))?;
    }
    Ok(module)
}
