//! Trains a run as it was requested by flags or by another command.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result};
use burn::tensor::Device;
use hvae_data::{dataset::Dataset, images::Images};
use hvae_model::Vae;
use hvae_runtime::{interrupt, terminal};

use crate::cli::global::{DEFAULT_DEVICE, Global};
use crate::cli::new_run::Target;
use crate::commands::context::{Context, Ended};
use crate::config::RunConfig;
use crate::observers::Observer;
use crate::observers::progress_bar::ProgressBar;
use crate::observers::tensorboard::{self, TensorBoard};
use crate::observers::trace::Trace;
use crate::observers::tui::{Tui, Ui};
use crate::run::dir::RunDir;
use crate::run::environment::{self, Environment};
use crate::run::origin::Origin;
use crate::training;
use crate::training::memory::MemoryEstimate;
use crate::training::trainer::{Finished, Trainer, TrainingRequest};

/// What may change when a run is resumed.
#[derive(Default)]
pub(in crate::commands) struct Resumed {
    pub(in crate::commands) epochs: Option<usize>,
    pub(in crate::commands) patience: Option<usize>,
    /// The new place of the same images.
    pub(in crate::commands) dataset: Option<Dataset>,
}

/// The run at `path`, and its configuration with these changes. One without a checkpoint is new.
pub(in crate::commands) fn resume(
    path: &Path,
    changes: Resumed,
) -> Result<(Target, RunConfig, Option<Origin>)> {
    let run = RunDir::open(path)?;
    let mut config = run.config()?;
    let RunConfig { training, data, .. } = &mut config;
    training.epochs = changes.epochs.unwrap_or(training.epochs);
    training.patience = changes.patience.or(training.patience);
    data.dataset = match changes.dataset {
        Some(dataset) => dataset.absolute(),
        None => environment::dataset(&run, &data.dataset)?,
    };
    if run.is_unstarted() {
        let shown = run.path().display();
        terminal::line(&format!("{shown} ended before its first checkpoint: it starts again"));
        let origin = Origin::of(&run)?;
        return Ok((Target::New(run.path().to_owned()), config, origin));
    }
    // Before images are read and a model is built.
    run.require_own(&config)?;
    Ok((Target::Existing(run), config, None))
}

pub(in crate::commands) struct RunRequest {
    pub(in crate::commands) config: RunConfig,
    pub(in crate::commands) target: Target,
    /// Where the first weights of a new run are from.
    pub(in crate::commands) origin: Option<Origin>,
    /// Each batch is split over them; the first holds the weights.
    pub(in crate::commands) devices: Vec<Device>,
    /// Their names in `--devices`; empty for the one of `--device`.
    pub(in crate::commands) device_names: Vec<String>,
    pub(in crate::commands) ui: Option<Ui>,
    pub(in crate::commands) trace_device: bool,
    pub(in crate::commands) tensorboard: bool,
}

/// Trains a run until it is complete or interrupted; also returns its folder.
pub(in crate::commands) fn start(request: RunRequest, cx: &Context) -> Result<(Ended, PathBuf)> {
    let RunRequest { config, target, origin, devices, device_names, .. } = request;
    let mut observers = vec![progress(request.ui)?];
    let given = cx.global.data_dir.as_deref();
    let data_dir = match (&target, &origin) {
        (Target::Existing(run), _) => environment::data_dir(given, run)?,
        (_, Some(origin)) => environment::data_dir(given, &RunDir::open(&origin.run)?)?,
        _ => given.map(Path::to_owned),
    };
    let images = load(&config, data_dir.as_ref(), &devices[0])?;
    MemoryEstimate::of(&config).require(&devices[0])?;
    interrupt::ask_first()?;
    let names =
        if device_names.is_empty() { cx.global.device.clone() } else { device_names.join(",") };
    let (dataset, folder) = (&config.data.dataset, data_dir.as_deref());
    let sets = images.each_ref().map(Images::set);
    let environment = Environment::current(names, dataset, folder, sets);
    let weights = origin.as_ref().map(|origin| first_weights(origin, &config, &devices[0]));
    let weights = weights.transpose()?;
    let resumed = matches!(target, Target::Existing(_));
    let run = target.open(&config, origin.as_ref())?;
    if request.trace_device {
        observers.push(Box::new(Trace::default()));
    }
    // Resumed without the flag, a run that has event files would have a hole in its curves.
    if request.tensorboard || run.path().join(tensorboard::FOLDER).is_dir() {
        observers.push(Box::new(TensorBoard::new(run.path())));
    }
    let shown = run.path().display().to_string();
    let request = TrainingRequest { config, images, devices, environment, observers, weights };
    let mut trainer =
        if resumed { Trainer::resume(run, request) } else { Trainer::create(run, request) }?;
    if trainer.is_complete() {
        terminal::line(&complete(&trainer, &shown));
        terminal::result(&shown);
        return Ok((Ended::Done, trainer.run().path().to_owned()));
    }
    terminal::line(&match &origin {
        _ if resumed => format!("resuming at step {} in {shown}", trainer.state().step),
        Some(origin) => format!("training in {shown}, from the weights of {origin}"),
        None => format!("training in {shown}"),
    });
    let finished = trainer.train()?;
    let shown = trainer.run().path().display().to_string();
    terminal::result(&shown);
    if matches!(finished, Finished::Interrupted) {
        let command = resume_command(&cx.global, &device_names, &shown);
        let step = trainer.state().step;
        terminal::line(&format!("saved at step {step}; resume with: {command}"));
        return Ok((Ended::Interrupted, trainer.run().path().to_owned()));
    }
    if trainer.is_out_of_patience() {
        terminal::line(&complete(&trainer, &shown));
    }
    terminal::line(&format!("done; see {shown}/samples, or `hvae sample {shown}`"));
    Ok((Ended::Done, trainer.run().path().to_owned()))
}

/// The weights of `origin` in a model of this configuration.
fn first_weights(origin: &Origin, config: &RunConfig, device: &Device) -> Result<Vae> {
    let weights = origin.weights(training::new_model(config, device)?);
    weights.with_context(|| format!("cannot start from {origin}"))
}

impl RunRequest {
    /// On one device, with the default observers.
    pub(in crate::commands) fn new(config: RunConfig, target: Target, device: &Device) -> Self {
        Self {
            config,
            target,
            origin: None,
            devices: vec![device.clone()],
            device_names: Vec::new(),
            ui: None,
            trace_device: false,
            tensorboard: false,
        }
    }
}

pub(super) fn load(
    config: &RunConfig,
    folder: Option<&PathBuf>,
    device: &Device,
) -> Result<[Images; 2]> {
    let started = Instant::now();
    let images = Images::load_for_training(&config.data, folder, device)?;
    let ([train, test], monitor) = (images.each_ref().map(Images::len), config.data.monitor());
    let (set, seconds) = (&config.data.dataset, started.elapsed().as_secs_f64());
    terminal::detail(&format!(
        "{train} training and {test} {monitor} images of {set}, read in {seconds:.1} s"
    ));
    Ok(images)
}

fn progress(ui: Option<Ui>) -> Result<Box<dyn Observer>> {
    Ok(if ui == Some(Ui::Tui) {
        Box::new(Tui::new()?)
    } else {
        terminal::set_lines(ui == Some(Ui::Lines));
        Box::new(ProgressBar::default())
    })
}

/// Why a run is complete, and how to train it further.
fn complete(trainer: &Trainer, run: &str) -> String {
    let state = trainer.state();
    let (epoch, stale, monitor) = (state.epoch, state.stale, state.config.data.monitor());
    if trainer.is_out_of_patience() {
        format!(
            "{run} stopped after {epoch} epochs: the {monitor} loss has not fallen for {stale} \
             evaluations; continue with a larger --patience N"
        )
    } else {
        format!("{run} has completed its {epoch} epochs; continue with --epochs N")
    }
}

/// The command that resumes a run: this program as it was called, with the options that matter.
fn resume_command(global: &Global, devices: &[String], run: &str) -> String {
    let program = std::env::args().next().unwrap_or_else(|| "hvae".to_owned());
    let mut words = vec![program, "train".to_owned(), "--resume".to_owned(), run.to_owned()];
    if !devices.is_empty() {
        words.extend(["--devices".to_owned(), devices.join(",")]);
    } else if global.device != DEFAULT_DEVICE {
        words.extend(["--device".to_owned(), global.device.clone()]);
    }
    if global.allow_software {
        words.push("--allow-software".to_owned());
    }
    if let Some(folder) = &global.data_dir {
        words.extend(["--data-dir".to_owned(), folder.display().to_string()]);
    }
    if let Some(threads) = global.threads {
        words.extend(["--threads".to_owned(), threads.to_string()]);
    }
    let quote = |word: String| if word.contains(' ') { format!("'{word}'") } else { word };
    words.into_iter().map(quote).collect::<Vec<_>>().join(" ")
}
