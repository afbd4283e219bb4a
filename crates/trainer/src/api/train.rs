//! A run, trained under a configuration.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;

use anyhow::{Context as _, Result};
use clap::CommandFactory;

use crate::cli::Cli;
use crate::cli::global::Global;
use crate::cli::new_run::NewRunArgs;
use crate::commands::context::{Context, Ended};
use crate::commands::train::start::{RunRequest, resume, start};
use crate::commands::train::{check_every, warn_without_effect};
use crate::config::{Changes, RunConfig};
use crate::observers::observer::Observer;

/// Where training computes and reads, and who watches it.
#[derive(Debug)]
pub struct Training {
    /// Name of the device.
    pub device: String,
    /// Folder of MNIST or Fashion-MNIST, if not the usual one.
    pub data_dir: Option<PathBuf>,
    /// Called at every step and epoch.
    pub observers: Vec<Box<dyn Observer>>,
}

/// A run to be created.
#[derive(Debug)]
pub struct NewRun {
    /// Folder that holds the runs.
    pub runs: PathBuf,
    /// Name of the run's folder; by default the kind and the next free number.
    pub name: Option<String>,
    /// The configuration as TOML; what it leaves out is that of the preset.
    pub config: String,
}

impl Training {
    /// Trains a new run. Its folder, and whether the caller's request to stop ended it early.
    ///
    /// # Errors
    ///
    /// For a configuration that cannot work, images that cannot be read, and files that cannot be
    /// written.
    pub fn create(self, new: NewRun) -> Result<(PathBuf, bool)> {
        let cx = self.context();
        let NewRun { runs, name, config } = new;
        let (config_file, set) = (None, Vec::new());
        let target = NewRunArgs { runs, name, config: config_file, set }.target()?;
        let changes = Changes { check_every: check_every(cx.device()?), ..Changes::default() };
        let config = RunConfig::parse_with(&config, "the configuration", &changes)?;
        warn_without_effect(&config);
        self.run(RunRequest::new(config, target, cx.device()?), &cx)
    }

    /// Continues the run in the folder `run`, with another number of epochs if that is given.
    ///
    /// # Errors
    ///
    /// As [`Self::create`], and when the run has no usable checkpoint.
    pub fn resume(self, run: &std::path::Path, epochs: Option<usize>) -> Result<(PathBuf, bool)> {
        let cx = self.context();
        let (target, config) = resume(run, epochs, None)?;
        self.run(RunRequest::new(config, target, cx.device()?), &cx)
    }

    fn context(&self) -> Context {
        let global = Global {
            device: self.device.clone(),
            allow_software: false,
            threads: None,
            data_dir: self.data_dir.clone(),
            quiet: true,
            verbose: false,
        };
        Context::new(global, Cli::command)
    }

    fn run(self, request: RunRequest, cx: &Context) -> Result<(PathBuf, bool)> {
        let folder = Rc::new(RefCell::new(None));
        let told = Rc::clone(&folder);
        let request = RunRequest {
            observers: self.observers,
            announce: Box::new(move |run| *told.borrow_mut() = Some(PathBuf::from(run))),
            ..request
        };
        let ended = start(request, cx)?;
        let folder = folder.take().context("a run that was trained has a folder")?;
        Ok((folder, ended == Ended::Interrupted))
    }
}
