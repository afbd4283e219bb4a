//! Files of a training.
//!
//! ```text
//! <out>/weights/<recipe>/training.json
//! <out>/weights/<recipe>/{epoch,squares,largest}-03.safetensors
//! ```
//!
//! Weights after each epoch that is needed, the optimizer's state after the last one, and the
//! recipe with the training curve. Every file name contains its epoch. `training.json`, written
//! last and atomically, lists the valid epochs, so that a killed process loses at most one epoch.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use hvae_model::chn_ham::LayeredNetwork;
use hvae_runtime::{files, tensors};
use serde::{Deserialize, Serialize};

use crate::{COMMIT, converge::plan::Recipe, optimizer::Optimizer};

pub(super) const TRAINING: &str = "training.json";
/// File names of Madam's state.
pub(super) const OPTIMIZER_STATE: [&str; 2] = ["squares", "largest"];
/// Version of the folder's layout and of the training.
pub(super) const FORMAT: u32 = 1;

/// Means over the steps of an epoch.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct EpochStats {
    /// `|s_L - y|^2 / 2` of the training images, each before its own step.
    pub(super) loss: f64,
    pub(super) accuracy: f64,
    /// Iterations of the free phase per sample.
    pub(super) free_iterations: f64,
    /// Iterations of the adjoint or nudged phases, or unrolled iterations, per sample.
    pub(super) second_iterations: f64,
    /// Percent of the samples whose free phase converged.
    pub(super) converged: f64,
    pub(super) seconds: f64,
}

/// The contents of `training.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Training {
    format: u32,
    commit: String,
    pub(super) recipe: Recipe,
    pub(super) epochs: Vec<EpochStats>,
}

impl Training {
    pub(super) fn new(recipe: &Recipe) -> Self {
        let recipe = recipe.clone();
        Self { format: FORMAT, commit: COMMIT.to_owned(), recipe, epochs: Vec::new() }
    }
}

/// The folder of a recipe's weights.
pub(super) fn folder(out: &Path, recipe: &Recipe) -> PathBuf {
    out.join("weights").join(recipe.folder())
}

/// The training in `folder`, if there is one.
pub(super) fn resume(folder: &Path, recipe: &Recipe, needed: &[u16]) -> Result<Option<Training>> {
    /// The field that every version has.
    #[derive(Deserialize)]
    struct Head {
        format: u32,
    }
    const REMEDY: &str = "--fresh replaces it";
    let path = folder.join(TRAINING);
    let shown = path.display();
    if !files::is_present(&path)? {
        return Ok(None);
    }
    let text = std::fs::read(&path).with_context(|| format!("reading {shown}"))?;
    let corrupt = || format!("{shown} is corrupt; {REMEDY}");
    let Head { format } = serde_json::from_slice(&text).with_context(corrupt)?;
    ensure!(format == FORMAT, "{shown} has format {format}, not {FORMAT}; {REMEDY}");
    let found: Training = serde_json::from_slice(&text).with_context(corrupt)?;
    if let Some(difference) = recipe.difference(&found.recipe) {
        bail!(
            "{} holds the weights of another training, with {difference}: choose another --out, \
             or {REMEDY}",
            folder.display()
        );
    }
    let done = found.epochs.len() as u16;
    for &epoch in needed.iter().filter(|&&epoch| epoch <= done) {
        let weights = epoch_path(folder, epoch);
        ensure!(weights.is_file(), "{} is missing; {REMEDY}", weights.display());
    }
    Ok(Some(found))
}

/// Writes the last epoch of `training` and removes files that are no longer needed.
pub(super) fn save_epoch(
    folder: &Path,
    model: &LayeredNetwork,
    madam: &Optimizer,
    training: &Training,
    needed: &[u16],
) -> Result<()> {
    let done = training.epochs.len() as u16;
    save(&epoch_path(folder, done), model)?;
    for (name, memory) in OPTIMIZER_STATE.into_iter().zip(madam.state(model).0) {
        save(&file_path(folder, name, done), &memory)?;
    }
    let json = serde_json::to_string_pretty(training)? + "\n";
    files::write(&folder.join(TRAINING), &json)?;
    if done > 1 {
        let old = OPTIMIZER_STATE.map(|name| file_path(folder, name, done - 1));
        let weights = (!needed.contains(&(done - 1))).then(|| epoch_path(folder, done - 1));
        for path in old.into_iter().chain(weights).filter(|path| path.exists()) {
            std::fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
        }
    }
    Ok(())
}

/// The file of a recipe's weights after an epoch, in the folder `out`.
pub(crate) fn path(out: &Path, recipe: &Recipe, epoch: u16) -> PathBuf {
    epoch_path(&folder(out, recipe), epoch)
}

pub(super) fn epoch_path(folder: &Path, epoch: u16) -> PathBuf {
    file_path(folder, "epoch", epoch)
}

pub(super) fn file_path(folder: &Path, name: &str, epoch: u16) -> PathBuf {
    folder.join(format!("{name}-{epoch:02}.safetensors"))
}

fn save(path: &Path, model: &LayeredNetwork) -> Result<()> {
    files::write(path, &tensors::to_bytes(model)?)
}

pub(super) fn load(path: &Path, model: LayeredNetwork) -> Result<LayeredNetwork> {
    let shown = path.display();
    let bytes = std::fs::read(path).with_context(|| format!("reading {shown}"))?;
    tensors::from_bytes(bytes, model)
        .with_context(|| format!("{shown} does not hold this network; --fresh replaces it"))
}
