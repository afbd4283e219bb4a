//! Options of every command.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use hvae_runtime::interrupt;
use hvae_runtime::terminal::{self, Verbosity};

use crate::cli::values;

/// Default of `--device`.
pub const DEFAULT_DEVICE: &str = "cpu";

/// Options of every command.
#[derive(Debug, Args)]
pub struct Global {
    /// Name of the device to compute on, see docs/devices.md.
    #[arg(help = "Device to compute on: auto, cpu, ndarray, wgpu[:i], vulkan[:i], cuda[:i] or \
        remote:<host>:<port>[/i]; `hvae devices` lists yours")]
    #[arg(long, global = true, value_name = "DEVICE", default_value = DEFAULT_DEVICE, value_parser = values::device)]
    pub device: String,
    /// Accept a GPU emulated in software, such as lavapipe: slow, for tests
    #[arg(long, global = true)]
    pub allow_software: bool,
    /// CPU threads [default: one per core]
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// Folder with the files of MNIST or Fashion-MNIST; missing files are downloaded into it
    /// [default: the folder that the run was trained from, else datasets/mnist or
    /// datasets/fashion-mnist]
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// No progress and no messages, only results, warnings and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// More messages: which files are read and written, and how long it takes
    #[arg(short, long, global = true)]
    pub verbose: bool,
}

impl Global {
    /// Sets up terminal, threads and signal handlers of this process.
    pub(crate) fn apply(&self) -> Result<()> {
        terminal::set_verbosity(match (self.quiet, self.verbose) {
            (true, _) => Verbosity::Quiet,
            (false, true) => Verbosity::Verbose,
            (false, false) => Verbosity::Normal,
        });
        if let Some(threads) = self.threads {
            let cores = std::thread::available_parallelism().map_or(usize::MAX / 4, usize::from);
            if usize::from(threads) > 4 * cores {
                terminal::warning(&format!(
                    "--threads {threads} on {cores} cores: the threads will wait for each other"
                ));
            }
            rayon::ThreadPoolBuilder::new()
                .num_threads(threads.into())
                .build_global()
                .context("setting the number of threads")?;
        }
        interrupt::install()
    }
}
