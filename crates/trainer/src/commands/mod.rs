//! One file per command.

mod gradcheck;
mod phase;
mod reconstruct;
mod sample;
mod train;

use std::path::Path;

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use hvae_model::{Phases, Vae};

use crate::checkpoint::{RunDir, Which};
use crate::cli::{Cli, Command, Global};
use crate::config::RunConfig;
use crate::data::Verbosity;
use crate::{device, report, training};

/// How a command ended, if not by an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// All is done.
    Done,
    /// The user stopped it.
    Interrupted,
}

/// Runs the command that the user gave.
///
/// # Errors
///
/// Whatever goes wrong, as a message for the user.
pub fn run(cli: Cli) -> Result<Ended> {
    let global = cli.global;
    report::set_quiet(global.quiet);
    if let Some(threads) = global.threads {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads.into())
            .build_global()
            .context("setting the number of threads")?;
    }
    let open = |name: &str| device::open(name, global.allow_software);
    match &cli.command {
        Command::Devices => {
            report::result(&device::list());
            return Ok(Ended::Done);
        }
        #[cfg(feature = "remote")]
        Command::Serve(args) => {
            let devices = args.devices.iter().map(|name| open(name)).collect::<Result<_>>()?;
            let shown = args.devices.join(", ");
            report::line(&format!("serving {shown} on port {}; Ctrl-C ends it", args.port));
            return device::remote::serve(devices, args.port).map(|()| Ended::Done);
        }
        _ => {}
    }
    // With several devices the first one stands for them all.
    let first = match &cli.command {
        Command::Train(args) => args.devices.first().unwrap_or(&global.device),
        _ => &global.device,
    };
    let device = open(first)?;
    match cli.command {
        Command::Train(args) => train::run(&args, &global, device),
        Command::Gradcheck(args) => gradcheck::run(&args, &global, &device).map(|()| Ended::Done),
        Command::Phase(args) => phase::run(&args, &global, &device).map(|()| Ended::Done),
        Command::Sample(args) => sample::run(&args, &device).map(|()| Ended::Done),
        Command::Reconstruct(args) => {
            reconstruct::run(&args, &global, &device).map(|()| Ended::Done)
        }
        _ => Ok(Ended::Done),
    }
}

impl Global {
    pub(crate) fn verbosity(&self) -> Verbosity {
        if self.quiet { Verbosity::Quiet } else { Verbosity::Normal }
    }
}

/// A trained model with what it takes to use it.
struct Trained {
    model: Vae,
    config: RunConfig,
    phases: Phases,
}

/// Side of the square images of all sets so far.
const SIDE: usize = 28;

fn load(run: &Path, which: Which, device: &Device) -> Result<Trained> {
    let run = RunDir::open(run)?;
    let config = run.config()?;
    let phases = device::phases(&config.ep, device)?;
    let fresh = training::new_model(&config, SIDE * SIDE, device)?;
    let (model, _) = run.load_model(which, fresh)?;
    Ok(Trained { model, config, phases })
}

/// What a path's ending asks for.
enum Output {
    Png,
    Npz,
    Folder,
}

fn output(path: &Path) -> Result<Output> {
    if path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/") {
        return Ok(Output::Folder);
    }
    let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase());
    match ending.as_deref() {
        Some("png") => Ok(Output::Png),
        Some("npz") => Ok(Output::Npz),
        None => Ok(Output::Folder),
        Some(other) => {
            let shown = path.display();
            bail!("--out {shown}: cannot write .{other}; use .png, .npz or a folder ({shown}/)")
        }
    }
}
