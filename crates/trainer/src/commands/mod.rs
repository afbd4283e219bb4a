//! One file per command.

mod about;
mod classifier;
mod compare;
mod converge;
mod denoise;
mod dry_run;
mod eval;
mod exchange;
mod fid;
mod gradcheck;
mod interpolate;
mod manifold;
mod phase;
mod reconstruct;
mod relax;
mod report;
mod runs;
mod sample;
mod serve;
mod show;
mod train;
mod weights;

use std::path::Path;

use anyhow::{Context, Result};
use burn::tensor::{Device, Tensor};
use hvae_model::{PhaseSettings, Vae};

use crate::cli::{Cli, Command, Global};
use crate::config::RunConfig;
use crate::figures::picture;
use crate::run::environment;
use crate::run::{RunDir, Which};
use crate::training;
use hvae_data::images::{Images, SIDE};
use hvae_data::{Split, Verbosity};
use hvae_runtime::{files, interrupt, terminal};

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
    terminal::set_quiet(global.quiet);
    terminal::set_verbose(global.verbose);
    if let Some(threads) = global.threads {
        let cores = std::thread::available_parallelism().map_or(usize::MAX / 4, usize::from);
        if usize::from(threads) > 4 * cores {
            terminal::warning(&format!(
                "--threads {threads} on {cores} cores: they will wait for each other"
            ));
        }
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads.into())
            .build_global()
            .context("setting the number of threads")?;
    }
    interrupt::install()?;
    // With several devices the first one stands for them all.
    let first = match &cli.command {
        Command::Train(args) => args.devices.first().unwrap_or(&global.device),
        _ => &global.device,
    };
    let device = hvae_device::open(first, global.allow_software)?;
    let done = |()| Ended::Done;
    match cli.command {
        Command::Interpolate(args) => interpolate::run(&args, &global, &device).map(done),
        Command::Manifold(args) => manifold::run(&args, &global, &device).map(done),
        Command::Denoise(args) => denoise::run(&args, &global, &device).map(done),
        Command::Relax(args) => relax::run(&args, &device).map(done),
        Command::Runs(args) => runs::run(&args).map(done),
        Command::Show(args) => show::run(&args).map(done),
        Command::Report(args) => report::run(&args, &global, &device).map(done),
        Command::Export(args) => exchange::export(&args, &device).map(done),
        Command::Import(args) => exchange::import(&args, &device).map(done),
        Command::Completions(args) => about::completions(&args).map(done),
        Command::Man(args) => about::man(&args).map(done),
        Command::Train(args) => train::run(&args, &global, device),
        Command::Gradcheck(args) => gradcheck::run(&args, &global, &device).map(|()| Ended::Done),
        Command::Converge(args) => converge::run(&args, &global, &device),
        Command::Phase(args) => phase::run(&args, &global, &device).map(|()| Ended::Done),
        Command::Sample(args) => sample::run(&args, &global, &device).map(|()| Ended::Done),
        Command::Fid(args) => fid::run(&args, &global, &device).map(|()| Ended::Done),
        Command::Compare(args) => compare::run(&args, &global, &device),
        Command::Eval(args) => eval::run(&args, &global, &device).map(|()| Ended::Done),
        Command::Weights(args) => weights::run(&args, &global, &device).map(|()| Ended::Done),
        Command::Classifier(args) => classifier::run(&args, &global, &device),
        Command::Reconstruct(args) => {
            reconstruct::run(&args, &global, &device).map(|()| Ended::Done)
        }
        Command::Devices => {
            terminal::result(&hvae_device::list());
            Ok(Ended::Done)
        }
        Command::Serve(args) => serve::run(&args, &global).map(done),
    }
}

impl Global {
    pub(crate) fn verbosity(&self) -> Verbosity {
        if self.quiet { Verbosity::Quiet } else { Verbosity::Normal }
    }
}

/// A trained model with what it takes to use it.
struct Trained {
    run: RunDir,
    checkpoint: Which,
    model: Vae,
    config: RunConfig,
    phases: PhaseSettings,
}

fn load(run: &Path, which: Which, device: &Device) -> Result<Trained> {
    let run = RunDir::open(run)?;
    let config = run.config()?;
    let phases = training::phases(&config.ep, device)?;
    let fresh = training::new_model(&config, SIDE * SIDE, device)?;
    let (model, _) = run.load_model(which, &config, fresh)?;
    Ok(Trained { run, checkpoint: which, model, config, phases })
}

/// What a path's ending asks for.
enum Output {
    Png,
    Gif,
    Npz,
    Folder,
}

fn output(path: &Path) -> Output {
    if path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/") {
        return Output::Folder;
    }
    let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase());
    match ending.as_deref() {
        Some("png") => Output::Png,
        Some("npz") => Output::Npz,
        Some("gif") => Output::Gif,
        // The flags take no other ending.
        _ => Output::Folder,
    }
}

/// Refuses a place that cannot be written, before any work.
fn require(path: &Path, output: &Output) -> Result<()> {
    match output {
        Output::Folder => picture::require_folder(path),
        _ => files::require_writable(path),
    }
}

/// What is said of a folder in the place of a file.
fn cannot_write(path: &Path, endings: &str) -> anyhow::Error {
    anyhow::anyhow!("--out {}: this command writes a {endings}, no folder", path.display())
}

/// The run's test images.
fn test_images(trained: &Trained, global: &Global, device: &Device) -> Result<Images> {
    images(trained, Split::Test, global, device)
}

/// The run's training images.
fn training_images(trained: &Trained, global: &Global, device: &Device) -> Result<Images> {
    images(trained, Split::Train, global, device)
}

fn images(trained: &Trained, split: Split, global: &Global, device: &Device) -> Result<Images> {
    let data_dir = environment::data_dir(global.data_dir.as_deref(), &trained.run)?;
    Images::load(&trained.config.data, split, &data_dir, global.verbosity(), device)
}

/// The posterior means of the first of `images`, at most so many, `[images, latent]`.
fn means(trained: &Trained, images: &Images, most: usize) -> Result<Tensor<2>> {
    let batches = most.div_ceil(training::EVALUATION_BATCH);
    let mut means = Vec::new();
    for batch in images.batches(training::EVALUATION_BATCH).take(batches) {
        means.push(trained.model.encode(batch, &trained.phases)?.0.mean);
    }
    Ok(Tensor::cat(means, 0))
}

/// The images of `latents` (`[rows, latent]`), pixel after pixel, with values in `[0, 1]`.
fn decoded(trained: &Trained, latents: &[f32], device: &Device) -> Result<Vec<f32>> {
    training::decode(&trained.model, latents, &trained.phases, device)
}
