//! Arguments of the commands that create a run.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::{cli::values::run_name, config::RunConfig, run::dir::RunDir, run::origin::Origin};

/// A new run: its folder and its configuration.
#[derive(Debug, Args)]
pub(crate) struct NewRunArgs {
    /// Folder that holds the runs
    #[arg(long, value_name = "DIR", default_value = "checkpoints")]
    pub(crate) runs: PathBuf,
    /// Name of the run's folder [default: the kind and the next free number, such as h-vae-001]
    #[arg(long, value_parser = run_name)]
    pub(crate) name: Option<String>,
    /// Configuration to start from, such as another run's config.toml
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Change one key of the configuration; may be given many times
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

impl NewRunArgs {
    pub(crate) fn target(&self) -> Result<Target> {
        let Some(name) = &self.name else { return Ok(Target::Numbered(self.runs.clone())) };
        let path = self.runs.join(name);
        RunDir::require_new(&path)?;
        Ok(Target::New(path))
    }
}

/// The run to train.
#[derive(Debug)]
pub(crate) enum Target {
    Existing(RunDir),
    New(PathBuf),
    /// A new one in this folder, with the next free number.
    Numbered(PathBuf),
}

impl Target {
    /// The run, created if it is new, with `origin`; locked.
    pub(crate) fn open(self, config: &RunConfig, origin: Option<&Origin>) -> Result<RunDir> {
        let origin = origin.map(Origin::to_json).transpose()?;
        let origin = origin.as_deref();
        match self {
            Self::Existing(run) => run.locked(),
            Self::New(path) => RunDir::create(&path, config, origin),
            // Another process may take the next free number before the folder is created.
            Self::Numbered(runs) => loop {
                let path = RunDir::next_free(&runs, config.model.kind.name());
                match RunDir::create(&path, config, origin) {
                    Err(_) if path.exists() => {}
                    result => return result,
                }
            },
        }
    }
}
