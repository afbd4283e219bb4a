//! A run, trained as it was requested by flags, by another command or by another program.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result};
use burn::tensor::Device;
use hvae_data::{dataset::Dataset, images::Images, in_memory::ArrayImages};
use hvae_model::Vae;
use hvae_runtime::terminal::Bar;
use hvae_runtime::{interrupt, terminal};

use crate::cli;
use crate::cli::global::{DEFAULT_DEVICE, Global};
use crate::cli::new_run::{NewRunArgs, Target};
use crate::config::{Changes, RunConfig, Usage};
use crate::observers::Observer;
use crate::observers::progress_bar::ProgressBar;
use crate::observers::tensorboard::{self, TensorBoard};
use crate::observers::trace::Trace;
use crate::observers::tui::{Tui, Ui};
use crate::run::dir::RunDir;
use crate::run::environment::{self, Environment};
use crate::run::origin::Origin;
use crate::training;
use crate::training::DEFERRED_CHECK_EVERY;
use crate::training::memory::MemoryEstimate;
use crate::training::trainer::{Finished, Trainer, TrainingRequest};

/// Synthetic sets of at least this many images show a spinner: drawing them takes seconds.
const MANY_DRAWN: usize = 200_000;

/// What may change when a run is resumed.
#[derive(Default)]
pub(crate) struct Resumed {
    pub(crate) epochs: Option<usize>,
    pub(crate) patience: Option<usize>,
    /// The new place of the same images.
    pub(crate) dataset: Option<Dataset>,
}

/// The run at `path`, and its configuration with these changes. One without a checkpoint is new.
pub(crate) fn resume(path: &Path, changes: Resumed) -> Result<(Target, RunConfig, Option<Origin>)> {
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

pub(crate) struct RunRequest {
    pub(crate) config: RunConfig,
    pub(crate) target: Target,
    /// Where the first weights of a new run are from.
    pub(crate) origin: Option<Origin>,
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
    pub(crate) announce: fn(&str),
}

/// Trains a run until it is complete or interrupted; also returns its folder.
pub(crate) fn start(request: RunRequest, global: &Global) -> Result<(Finished, PathBuf)> {
    let RunRequest { config, target, origin, devices, device_names, announce, .. } = request;
    let mut observers = request.observers;
    observers.push(progress(request.ui)?);
    let given = global.data_dir.as_deref();
    let data_dir = match (&target, &origin) {
        (Target::Existing(run), _) => environment::data_dir(given, run)?,
        (_, Some(origin)) => environment::data_dir(given, &RunDir::open(&origin.run)?)?,
        _ => given.map(Path::to_owned),
    };
    let images = load(&config, data_dir.as_ref(), &devices[0])?;
    MemoryEstimate::of(&config).require(&devices[0])?;
    interrupt::ask_first()?;
    let names =
        if device_names.is_empty() { global.device.clone() } else { device_names.join(",") };
    let (dataset, folder) = (&config.data.dataset, data_dir.as_deref());
    let environment = Environment::current(names, dataset, folder, &images);
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
        announce(&shown);
        return Ok((Finished::Complete, trainer.run().path().to_owned()));
    }
    terminal::line(&match &origin {
        _ if resumed => format!("resuming at step {} in {shown}", trainer.state().step),
        Some(origin) => format!("training in {shown}, from the weights of {origin}"),
        None => format!("training in {shown}"),
    });
    let finished = trainer.train()?;
    let shown = trainer.run().path().display().to_string();
    announce(&shown);
    if matches!(finished, Finished::Interrupted) {
        let command = command(&["train", "--resume", &shown], global, &device_names);
        let step = trainer.state().step;
        terminal::line(&format!("saved at step {step}; resume with: {command}"));
        return Ok((finished, trainer.run().path().to_owned()));
    }
    if trainer.is_out_of_patience() {
        terminal::line(&complete(&trainer, &shown));
    }
    terminal::line(&format!("done; see {shown}/samples, or `hvae sample {shown}`"));
    Ok((finished, trainer.run().path().to_owned()))
}

/// The weights of `origin` in a model of this configuration.
fn first_weights(origin: &Origin, config: &RunConfig, device: &Device) -> Result<Vae> {
    let weights = origin.weights(training::new_model(config, device)?);
    weights.with_context(|| format!("cannot start from {origin}"))
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
            origin: None,
            devices,
            device_names: Vec::new(),
            ui: None,
            trace_device: false,
            tensorboard: false,
            observers: Vec::new(),
            announce: terminal::result,
        }
    }
}

pub(crate) fn load(
    config: &RunConfig,
    folder: Option<&PathBuf>,
    device: &Device,
) -> Result<[Images; 2]> {
    let started = Instant::now();
    let drawn = config.data.train_images.filter(|_| config.data.dataset == Dataset::Synthetic);
    let many = drawn.filter(|count| *count >= MANY_DRAWN);
    let bar = many.map(|count| Bar::spinner(&format!("drawing {count} synthetic images")));
    let images = Images::load_for_training(&config.data, folder, device)?;
    drop(bar);
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

/// The command that goes on with `words`: this program as it was called, with the options that
/// matter.
pub(crate) fn command(words: &[&str], global: &Global, devices: &[String]) -> String {
    let words = words.iter().map(|word| (*word).to_owned());
    let mut words: Vec<String> = [cli::program()].into_iter().chain(words).collect();
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

/// Where training computes and reads, and who watches it.
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
    /// The images in place of the configuration's, to be saved in `runs`.
    pub images: Option<ArrayImages>,
}

impl Training {
    /// Trains a new run. Its folder, and whether the caller's request to stop ended it early.
    pub fn create(self, new: NewRun) -> Result<(PathBuf, bool)> {
        let (global, device) = self.global()?;
        let NewRun { runs, name, config, images } = new;
        let args = NewRunArgs { runs, name, config: None, set: Vec::new() };
        let target = args.target()?;
        let changes = Changes { check_every: check_every(&device), ..Changes::default() };
        let mut config = RunConfig::parse(&config, "the configuration", &changes).map_err(Usage)?;
        if let Some(images) = images {
            config.data.dataset = Dataset::Path(images.save_in(&args.runs)?).absolute();
        }
        warn_without_effect(&config);
        self.run(RunRequest::new(config, target, &device), &global)
    }

    /// Continues the run in the folder `run`, with another number of epochs if that is given.
    pub fn resume(self, run: &Path, epochs: Option<usize>) -> Result<(PathBuf, bool)> {
        let (global, device) = self.global()?;
        let (target, config, origin) = resume(run, Resumed { epochs, ..Resumed::default() })?;
        self.run(RunRequest { origin, ..RunRequest::new(config, target, &device) }, &global)
    }

    fn global(&self) -> Result<(Global, Device)> {
        let global = Global {
            device: self.device.clone(),
            allow_software: false,
            threads: None,
            data_dir: self.data_dir.clone(),
            quiet: true,
            verbose: false,
        };
        let device = hvae_device::open(&global.device, global.allow_software).map_err(Usage)?;
        Ok((global, device))
    }

    fn run(self, request: RunRequest, global: &Global) -> Result<(PathBuf, bool)> {
        let request = RunRequest { observers: self.observers, announce: |_| (), ..request };
        let (finished, folder) = start(request, global)?;
        Ok((folder, finished == Finished::Interrupted))
    }
}

/// Default of `ep.check_every` on `device`, if it is not that of the configuration.
pub(crate) fn check_every(device: &Device) -> Option<usize> {
    (!hvae_device::is_host(device)).then_some(DEFERRED_CHECK_EVERY)
}

pub(crate) fn warn_without_effect(config: &RunConfig) {
    if config.model.visible_reach.is_some() && !config.model.kind.is_dense() {
        let kind = config.model.kind.name();
        terminal::warning(&format!(
            "model.visible_reach has no effect: an {kind} has no couplings between pixels"
        ));
    }
}
