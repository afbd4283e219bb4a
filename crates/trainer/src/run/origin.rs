//! Where the first weights of a run are from, in `origin.json`.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use hvae_model::Vae;
use serde::{Deserialize, Serialize};

use crate::run::checkpoint;
use crate::run::choice::CheckpointChoice;
use crate::run::dir::{ORIGIN, RunDir};

/// The checkpoint that the first weights of a run are from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The folder of the other run.
    pub run: PathBuf,
    /// Training step of its checkpoint.
    pub step: usize,
    /// SHA-256 of the weights' file.
    pub sha256: String,
}

impl Origin {
    /// The checkpoint `choice` of `run`.
    pub(crate) fn at(run: &RunDir, choice: CheckpointChoice) -> Result<Self> {
        let state = checkpoint::read_state(&run.checkpoint_path(choice)?)?;
        let path = std::path::absolute(run.path());
        let sha256 = state.sha256.get(state.weights_file()).cloned().unwrap_or_default();
        Ok(Self { run: path.unwrap_or_else(|_| run.path().to_owned()), step: state.step, sha256 })
    }

    /// Its weights in `model`, which may have other settings but must have the same tensors.
    pub(crate) fn weights(&self, model: Vae) -> Result<Vae> {
        let run = RunDir::open(&self.run)?;
        let choice = CheckpointChoice::Step(self.step);
        let state = checkpoint::read_state(&run.checkpoint_path(choice)?)?;
        let found = state.sha256.get(state.weights_file());
        ensure!(found == Some(&self.sha256), "{self} is not the checkpoint that it was");
        checkpoint::read_model(&run.checkpoint_path(choice)?, &state, model)
    }

    /// Of `run`; `None` if its first weights were random.
    pub fn of(run: &RunDir) -> Result<Option<Self>> {
        run.read_json(ORIGIN)
    }

    /// The content of the file.
    pub(crate) fn to_json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self).context("writing the origin")? + "\n")
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, step {}", self.run.display(), self.step)
    }
}
