//! Trains a run as it was requested by flags or by another command.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;
use burn::tensor::Device;
use hvae_data::images::Images;
use hvae_runtime::{interrupt, terminal};

use crate::cli;
use crate::cli::global::{DEFAULT_DEVICE, Global};
use crate::cli::new_run::Target;
use crate::commands::context::{Context, Ended};
use crate::config::RunConfig;
use crate::observers::observer::Observer;
use crate::observers::progress_bar::ProgressBar;
use crate::observers::tensorboard::TensorBoard;
use crate::observers::trace::Trace;
use crate::observers::tui::{Tui, Ui};
use crate::run::dir::RunDir;
use crate::run::environment::{self, Environment};
use crate::training::memory::MemoryEstimate;
use crate::training::trainer::{Finished, Trainer, TrainingRequest};

/// The run at `path`, and its configuration with the number of epochs and the patience given.
pub(crate) fn resume(
    path: &Path,
    epochs: Option<usize>,
    patience: Option<usize>,
) -> Result<(Target, RunConfig)> {
    let run = RunDir::open(path)?;
    let mut config = run.config()?;
    config.training.epochs = epochs.unwrap_or(config.training.epochs);
    config.training.patience = patience.or(config.training.patience);
    // Before images are read and a model is built.
    run.require_own(&config)?;
    Ok((Target::Existing(run), config))
}

pub(crate) struct RunRequest {
    pub(crate) config: RunConfig,
    pub(crate) target: Target,
    /// Each batch is split over them; the first holds the weights.
    pub(crate) devices: Vec<Device>,
    /// Their names in `--devices`; empty for the one of `--device`.
    pub(crate) device_names: Vec<String>,
    pub(crate) ui: Option<Ui>,
    pub(crate) trace_device: bool,
    pub(crate) tensorboard: bool,
    /// Called at every step and epoch, besides those that the other fields ask for.
    pub(crate) observers: Vec<Box<dyn Observer>>,
    /// Told the run's folder.
    pub(crate) announce: Box<dyn Fn(&str)>,
}

/// Trains a run until it is complete or interrupted.
pub(crate) fn start(request: RunRequest, cx: &Context) -> Result<Ended> {
    let RunRequest { config, target, devices, device_names, announce, .. } = request;
    let mut observers = request.observers;
    observers.push(progress(request.ui)?);
    let data_dir = match &target {
        Target::Existing(run) => environment::data_dir(cx.global.data_dir.as_deref(), run)?,
        _ => cx.global.data_dir.clone(),
    };
    let images = load(&config, data_dir.as_ref(), &devices[0])?;
    MemoryEstimate::of(&config).require(&devices[0])?;
    interrupt::ask_first()?;
    let names =
        if device_names.is_empty() { cx.global.device.clone() } else { device_names.join(",") };
    let (dataset, folder) = (&config.data.dataset, data_dir.as_deref());
    let environment = Environment::current(names, dataset, folder, images[0].set());
    let resumed = matches!(target, Target::Existing(_));
    let run = target.open(&config)?;
    let shown = run.path().display().to_string();
    if request.trace_device {
        observers.push(Box::new(Trace::default()));
    }
    if request.tensorboard {
        observers.push(Box::new(TensorBoard::new(run.path())));
    }
    let request = TrainingRequest { config, images, devices, environment, observers };
    let mut trainer =
        if resumed { Trainer::resume(run, request) } else { Trainer::create(run, request) }?;
    if trainer.is_complete() {
        terminal::line(&complete(&trainer, &shown));
        announce(&shown);
        return Ok(Ended::Done);
    }
    terminal::line(&if resumed {
        format!("resuming at step {} in {shown}", trainer.state().step)
    } else {
        format!("training in {shown}")
    });
    let finished = trainer.train()?;
    announce(&shown);
    if matches!(finished, Finished::Interrupted) {
        let command = resume_command(&cx.global, &device_names, &shown);
        let step = trainer.state().step;
        terminal::line(&format!("saved at step {step}; resume with: {command}"));
        return Ok(Ended::Interrupted);
    }
    if trainer.is_out_of_patience() {
        terminal::line(&complete(&trainer, &shown));
    }
    terminal::line(&format!("done; see {shown}/samples, or `hvae sample {shown}`"));
    Ok(Ended::Done)
}

impl RunRequest {
    /// On one device, with the default observers.
    pub(crate) fn new(config: RunConfig, target: Target, device: &Device) -> Self {
        Self::on(config, target, vec![device.clone()])
    }

    /// On these devices, with the default observers.
    pub(crate) fn on(config: RunConfig, target: Target, devices: Vec<Device>) -> Self {
        Self {
            config,
            target,
            devices,
            device_names: Vec::new(),
            ui: None,
            trace_device: false,
            tensorboard: false,
            observers: Vec::new(),
            announce: Box::new(terminal::result),
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
    let mut words = vec![cli::program(), "train".to_owned(), "--resume".to_owned(), run.to_owned()];
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
