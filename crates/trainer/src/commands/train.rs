//! `hvae train`.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;
use burn::tensor::Device;

use crate::cli::runs::NewRunArgs;
use crate::cli::{DEFAULT_DEVICE, Global, TrainArgs};
use crate::config::RunConfig;
use crate::observers::observer::Observer;
use crate::observers::progress_bar::ProgressBar;
use crate::observers::tensorboard::TensorBoard;
use crate::observers::trace::Trace;
use crate::observers::tui::{Tui, Ui};
use crate::run::RunDir;
use crate::run::environment;
use crate::run::environment::Environment;
use crate::training::memory::MemoryEstimate;
use crate::training::{Finished, Trainer, TrainingRequest};
use hvae_data::images::Images;
use hvae_device::open;
use hvae_runtime::{interrupt, terminal};

use crate::commands::{Ended, dry_run};

pub(super) fn run(args: &TrainArgs, global: &Global, device: Device) -> Result<Ended> {
    let (target, config) = if let Some(path) = &args.resume {
        let (run, config) = resumed(path, args)?;
        (Target::Existing(run), config)
    } else {
        let config = configuration(args, hvae_device::is_host(&device))?;
        if config.model.visible_reach.is_some() && !config.model.kind.is_dense() {
            let kind = config.model.kind.name();
            terminal::warning(&format!(
                "model.visible_reach does nothing with model.kind = {kind}, which has no couplings \
                 among pixels"
            ));
        }
        (new_target(&args.new)?, config)
    };
    let devices = all_devices(&device, args, global)?;
    let mut observers = vec![progress(args)?];
    let data_dir = match &target {
        Target::Existing(run) => environment::data_dir(global.data_dir.as_deref(), run)?,
        _ => global.data_dir.clone(),
    };
    let started = Instant::now();
    let images = Images::load_for_training(&config.data, &data_dir, global.verbosity(), &device)?;
    terminal::detail(&format!(
        "{} training and {} {} images of {}, read in {:.1} s",
        images[0].len(),
        images[1].len(),
        config.data.watched(),
        config.data.dataset,
        started.elapsed().as_secs_f64()
    ));
    if args.dry_run {
        return dry_run::run(&config, &images, &devices).map(|()| Ended::Done);
    }
    MemoryEstimate::of(&config, images[0].set().pixels()).require(&device)?;
    interrupt::ask_first()?;
    let name = if args.devices.is_empty() { global.device.clone() } else { args.devices.join(",") };
    let (dataset, folder) = (&config.data.dataset, data_dir.as_deref());
    let environment = Environment::current(name, dataset, folder, images[0].set());
    let resume = matches!(target, Target::Existing(_));
    let run = target.open(&config)?;
    let shown = run.path().display().to_string();
    if args.trace_device {
        observers.push(Box::new(Trace::default()));
    }
    if args.tensorboard {
        observers.push(Box::new(TensorBoard::new(run.path())));
    }
    let request = TrainingRequest { config, images, devices, environment, observers };
    let mut trainer =
        if resume { Trainer::resume(run, request) } else { Trainer::create(run, request) }?;
    if trainer.is_complete() {
        terminal::line(&complete(&trainer, &shown));
        terminal::result(&shown);
        return Ok(Ended::Done);
    }
    let step = trainer.state().step;
    let action =
        if resume { format!("resuming at step {step} in") } else { "training in".to_owned() };
    terminal::line(&format!("{action} {shown}"));
    let finished = trainer.train()?;
    terminal::result(&shown);
    Ok(tell_end(finished, &trainer, (args, global), &shown))
}

/// `first`, and those of `--devices` after it.
fn all_devices(first: &Device, args: &TrainArgs, global: &Global) -> Result<Vec<Device>> {
    let others = args.devices.iter().skip(1).map(|name| open(name, global.allow_software));
    std::iter::once(Ok(first.clone())).chain(others).collect()
}

/// The observer that shows progress.
fn progress(args: &TrainArgs) -> Result<Box<dyn Observer>> {
    Ok(match args.ui {
        Some(Ui::Tui) if !args.dry_run => Box::new(Tui::new()?),
        ui => {
            terminal::set_lines(ui == Some(Ui::Lines));
            Box::new(ProgressBar::default())
        }
    })
}

fn tell_end(
    finished: Finished,
    trainer: &Trainer,
    (args, global): (&TrainArgs, &Global),
    run: &str,
) -> Ended {
    match finished {
        Finished::Complete => {
            if trainer.is_out_of_patience() {
                terminal::line(&complete(trainer, run));
            }
            terminal::line(&format!("done; see {run}/samples, or `hvae sample {run}`"));
            Ended::Done
        }
        Finished::Interrupted => {
            let step = trainer.state().step;
            let command = resume_command(global, &args.devices, run);
            terminal::line(&format!("saved at step {step}; go on with: {command}"));
            Ended::Interrupted
        }
    }
}

/// Why a run needs no more training, and what would go on with it.
fn complete(trainer: &Trainer, run: &str) -> String {
    let state = trainer.state();
    if trainer.is_out_of_patience() {
        format!(
            "{run} has ended after {} epochs: the {} loss has not fallen for {} evaluations; a \
             larger --patience N goes on",
            state.epoch,
            state.config.data.watched(),
            state.stale
        )
    } else {
        format!("{run} has all its {} epochs; --epochs N goes on", state.epoch)
    }
}

/// What to type to go on: this program as it was called, with the options that matter.
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
    let quote = |w: String| if w.contains(' ') { format!("'{w}'") } else { w };
    words.into_iter().map(quote).collect::<Vec<_>>().join(" ")
}

/// The run to train.
pub(super) enum Target {
    Existing(RunDir),
    New(PathBuf),
    /// A new one in this folder, under the next free number.
    Numbered(PathBuf),
}

impl Target {
    /// The run, made if it is new; locked.
    pub(super) fn open(self, config: &RunConfig) -> Result<RunDir> {
        match self {
            Self::Existing(run) => run.locked(),
            Self::New(path) => RunDir::create(&path, config),
            Self::Numbered(runs) => create_numbered(&runs, config),
        }
    }
}

/// The next free number may be taken by another process before the folder is made.
fn create_numbered(runs: &Path, config: &RunConfig) -> Result<RunDir> {
    loop {
        let path = RunDir::next_free(runs, config.model.kind.name());
        match RunDir::create(&path, config) {
            Err(_) if path.join("config.toml").exists() => {}
            result => return result,
        }
    }
}

/// Where a new run goes.
pub(super) fn new_target(args: &NewRunArgs) -> Result<Target> {
    let Some(name) = &args.name else { return Ok(Target::Numbered(args.runs.clone())) };
    let path = args.runs.join(name);
    RunDir::require_new(&path)?;
    Ok(Target::New(path))
}

/// The run at `path` and its configuration, with the epochs and patience that the flags ask for.
fn resumed(path: &Path, args: &TrainArgs) -> Result<(RunDir, RunConfig)> {
    let run = RunDir::open(path)?;
    let mut config = run.config()?;
    if let Some(epochs) = args.epochs {
        config.training.epochs = epochs as usize;
    }
    if let Some(patience) = args.patience {
        config.training.patience = Some(patience as usize);
    }
    // Before images are read and a model is made under it.
    run.require_own(&config)?;
    Ok((run, config))
}

/// The configuration of a new run, on the host or on another device.
pub(super) fn configuration(args: &TrainArgs, host: bool) -> Result<RunConfig> {
    RunConfig::resolve(args.new.config.as_deref(), &overrides(args, host))
}

/// The flags as overrides; flags win over --set.
fn overrides(args: &TrainArgs, host: bool) -> Vec<String> {
    let mut overrides = Vec::new();
    if args.new.config.is_none() && !host {
        // Whoever says otherwise, says so later.
        overrides.push(format!("ep.check_every={}", crate::training::phases::DEFERRED_CHECK_EVERY));
    }
    overrides.extend(args.new.set.iter().cloned());
    let mut add = |key: &str, value: Option<String>| {
        overrides.extend(value.map(|v| format!("{key}={v}")));
    };
    let quoted = |text: String| toml::Value::String(text).to_string();
    let dataset = args.dataset.clone().map(|d| quoted(d.absolute().to_string()));
    add("model.kind", args.model.clone());
    add("training.epochs", args.epochs.map(|v| v.to_string()));
    add("training.patience", args.patience.map(|v| v.to_string()));
    add("training.batch_size", args.batch_size.map(|v| v.to_string()));
    add("training.learning_rate", args.learning_rate.map(|v| format!("{v:?}")));
    add("training.seed", args.seed.map(|v| v.to_string()));
    add("data.dataset", dataset);
    add("data.train_images", args.train_images.map(|v| v.to_string()));
    add("data.test_images", args.test_images.map(|v| v.to_string()));
    overrides
}
