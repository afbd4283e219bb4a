//! What every command is given, and how it ends.

use std::cell::OnceCell;

use anyhow::Result;
use burn::tensor::Device;
use hvae_data::{Split, config::DataConfig, images::Images};

use crate::cli::global::Global;
use crate::run::dir::RunDir;
use crate::run::environment;
use crate::training::Finished;

/// A command of the program.
pub trait Run {
    /// Runs it.
    fn run(self, cx: &Context) -> Result<Ended>;
}

/// How a command ended, if not with an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It is done.
    Done,
    /// The user interrupted it.
    Interrupted,
}

impl From<Finished> for Ended {
    fn from(finished: Finished) -> Self {
        match finished {
            Finished::Complete => Self::Done,
            Finished::Interrupted => Self::Interrupted,
        }
    }
}

/// The options of every command, and the device that they name.
#[derive(Debug)]
pub struct Context {
    /// The options.
    pub global: Global,
    device: OnceCell<Device>,
    program: fn() -> clap::Command,
}

impl Context {
    /// Under these options; `program` defines the command line.
    pub(crate) fn new(global: Global, program: fn() -> clap::Command) -> Self {
        Self { global, device: OnceCell::new(), program }
    }

    /// The definition of the command line.
    pub(crate) fn program(&self) -> clap::Command {
        (self.program)()
    }

    /// The device of `--device`, opened when it is first asked for.
    pub(crate) fn device(&self) -> Result<&Device> {
        if let Some(device) = self.device.get() {
            return Ok(device);
        }
        let device = self.open(&self.global.device)?;
        Ok(self.device.get_or_init(|| device))
    }

    /// The device called `name`.
    pub(crate) fn open(&self, name: &str) -> Result<Device> {
        hvae_device::open(name, self.global.allow_software)
    }

    /// The images of `data` on the device, read from `--data-dir` or else from the default folder.
    pub(crate) fn images(&self, data: &DataConfig, split: Split) -> Result<Images> {
        Images::load(data, split, self.global.data_dir.as_ref(), self.device()?)
    }

    /// The images that `run` is trained or tested on.
    pub(crate) fn images_of(
        &self,
        run: &RunDir,
        data: &DataConfig,
        split: Split,
    ) -> Result<Images> {
        environment::images(run, data, split, self.global.data_dir.as_deref(), self.device()?)
    }
}
