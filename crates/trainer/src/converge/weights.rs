//! The weights of trained networks on the disk.
//!
//! ```text
//! <out>/weights/<recipe>/{training.json, epoch-03.safetensors, squares-03.safetensors, largest-03.safetensors}
//! ```
//!
//! Weights after each epoch that is needed, the optimizer's state after the last one done, and the
//! recipe with what training reported. Every file is named by its epoch, and `training.json`, written
//! after them, by one rename, says which epochs count: a kill leaves the last whole epoch in force.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use hvae_model::chn_ham::{LayeredNetwork, Form};
use serde::{Deserialize, Serialize};

use crate::COMMIT;
use crate::converge::plan::Recipe;
use crate::optimizer::Optimizer;
use hvae_runtime::{files, tensors, terminal};

pub(super) const TRAINING: &str = "training.json";
/// What Madam remembers.
pub(super) const MEMORY: [&str; 2] = ["squares", "largest"];
/// Version of the folder's layout and of the training: what another version trained is trained anew.
pub(super) const fn version(form: Form) -> u32 {
    match form {
        Form::Ham => 2,
        Form::Chn => 3,
    }
}

/// What one epoch reported, means over its steps.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Epoch {
    /// `|s_L - y|^2 / 2` of the training images as they came.
    pub loss: f64,
    /// Percent of them that were classified right.
    pub accuracy: f64,
    /// Steps of the free phase, per sample.
    pub free_steps: f64,
    /// Steps of the adjoint or nudged phases, or iterations that the gradient goes back through, per
    /// sample.
    pub second_steps: f64,
    /// Percent of the samples whose free phase converged.
    pub converged: f64,
    /// Seconds.
    pub seconds: f64,
}

/// A training as `training.json` holds it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Training {
    format: u32,
    /// Commit of the program.
    pub commit: String,
    /// What was asked for.
    pub recipe: Recipe,
    /// The epochs done.
    pub epochs: Vec<Epoch>,
}

impl Training {
    /// One of which no epoch is done.
    pub(super) fn new(recipe: &Recipe) -> Self {
        let format = version(recipe.form);
        Self { format, commit: COMMIT.to_owned(), recipe: recipe.clone(), epochs: Vec::new() }
    }
}

/// The folder of a recipe's weights: under its older name if they are there already.
pub(super) fn folder(out: &Path, recipe: &Recipe) -> PathBuf {
    let weights = out.join("weights");
    let older = weights.join(recipe.name());
    let found = std::fs::read(older.join(TRAINING)).ok();
    let found = found.and_then(|text| serde_json::from_slice::<Training>(&text).ok());
    if found.is_some_and(|found| found.recipe == *recipe) {
        older
    } else {
        weights.join(recipe.folder())
    }
}

/// The training in `folder`, if there is one; none of an older version.
///
/// # Errors
///
/// When it is damaged, or not that of `recipe`, or lacks some of the weights `needed`, as far as it
/// went: nothing is trained over it.
pub(super) fn resume(folder: &Path, recipe: &Recipe, needed: &[u16]) -> Result<Option<Training>> {
    /// All that every version has.
    #[derive(Deserialize)]
    struct Head {
        format: u32,
    }
    const ANEW: &str = "--fresh trains anew in its place";
    let (path, now) = (folder.join(TRAINING), version(recipe.form));
    let shown = path.display();
    let text = match std::fs::read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        read => read.with_context(|| format!("reading {shown}"))?,
    };
    let damaged = || format!("{shown} is damaged; {ANEW}");
    let Head { format } = serde_json::from_slice(&text).with_context(damaged)?;
    ensure!(format <= now, "{shown} is of format {format}, this program knows {now}; {ANEW}");
    let found = serde_json::from_slice::<Training>(&text);
    if let Some(difference) = found.as_ref().ok().and_then(|found| recipe.difference(&found.recipe))
    {
        bail!(
            "{} holds weights of another training, with {difference}: choose another --out; {ANEW}",
            folder.display()
        );
    }
    if format < now {
        terminal::line(&format!(
            "{} is from an older version, which trained in another way: anew",
            folder.display()
        ));
        return Ok(None);
    }
    let found = found.with_context(damaged)?;
    let done = found.epochs.len() as u16;
    for &epoch in needed.iter().filter(|&&epoch| epoch <= done) {
        let weights = epoch_path(folder, epoch);
        ensure!(weights.is_file(), "{} is missing; {ANEW}", weights.display());
    }
    Ok(Some(found))
}

pub(super) fn save_epoch(
    folder: &Path,
    model: &LayeredNetwork,
    madam: &Optimizer,
    training: &Training,
    needed: &[u16],
) -> Result<()> {
    let done = training.epochs.len() as u16;
    save(&epoch_path(folder, done), model)?;
    for (name, memory) in MEMORY.into_iter().zip(madam.state(model).0) {
        save(&file_path(folder, name, done), &memory)?;
    }
    let json = serde_json::to_string_pretty(training)? + "\n";
    files::write(&folder.join(TRAINING), &json)?;
    if done > 1 {
        let old = MEMORY.map(|name| file_path(folder, name, done - 1));
        let weights = (!needed.contains(&(done - 1))).then(|| epoch_path(folder, done - 1));
        for path in old.into_iter().chain(weights) {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("removing {}", path.display()));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// The weights of a recipe after an epoch, in the folder `out`.
pub fn path(out: &Path, recipe: &Recipe, epoch: u16) -> PathBuf {
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
        .with_context(|| format!("{shown} does not hold this network; train anew with --fresh"))
}
