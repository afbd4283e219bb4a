//! `hvae train`.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use burn::tensor::Device;

use crate::checkpoint::RunDir;
use crate::cli::{DEFAULT_DATA_DIR, DEFAULT_DEVICE, Global, TrainArgs};
use crate::config::RunConfig;
use crate::data::Split;
use crate::device::{self, open};
use crate::images::Images;
use crate::training::trace::Trace;
use crate::training::watch::Bar;
use crate::training::{Finished, Trainer};
use crate::{interrupt, report};

use super::Ended;

pub(super) fn run(args: &TrainArgs, global: &Global, device: Device) -> Result<Ended> {
    let (target, config) = if let Some(path) = &args.resume {
        let (run, config) = resumed(path, args.epochs)?;
        (Target::Existing(run), config)
    } else {
        let mut changes = overrides(args);
        if args.config.is_none() && !device::is_host(&device) {
            // Whoever says otherwise, says so later.
            changes.insert(0, format!("ep.check_every={}", device::QUIET_CHECK_EVERY));
        }
        let config = RunConfig::resolve(args.config.as_deref(), &changes)?;
        (new_target(args)?, config)
    };
    let load =
        |split| Images::load(&config.data, split, &global.data_dir, global.verbosity(), &device);
    let images = [load(Split::Train)?, load(Split::Test)?];
    interrupt::install()?;
    let resume = matches!(target, Target::Existing(_));
    let run = match target {
        Target::Existing(run) => run.locked()?,
        Target::New(path) => RunDir::create(&path, &config)?,
        Target::Numbered => create_numbered(&args.runs, &config)?,
    };
    let shown = run.path().display().to_string();
    let toml = config.to_toml()?;
    let mut trainer = Trainer::new(run.clone(), config, images, device.clone())?;
    if args.devices.len() > 1 {
        let others = args.devices[1..].iter().map(|name| open(name, global.allow_software));
        let devices: Result<Vec<_>> = std::iter::once(Ok(device)).chain(others).collect();
        trainer.split_over(devices?)?;
    }
    if resume {
        trainer.restore()?;
        run.write_text("config.toml", &toml)?;
    } else {
        // From here on the run can be resumed, whatever happens to this process.
        if let Err(error) = trainer.save() {
            run.discard();
            return Err(error);
        }
    }
    if trainer.is_complete() {
        let epochs = trainer.state().epoch;
        report::line(&format!("{shown} has all its {epochs} epochs; --epochs N goes on"));
        report::result(&shown);
        return Ok(Ended::Done);
    }
    let step = trainer.state().step;
    let doing =
        if resume { format!("resuming at step {step} in") } else { "training in".to_owned() };
    report::line(&format!("{doing} {shown}"));
    trainer.watch(Box::new(Bar::default()));
    if args.trace_device {
        trainer.watch(Box::new(Trace::default()));
    }
    let finished = trainer.train()?;
    report::result(&shown);
    match finished {
        Finished::Complete => {
            report::line(&format!("done; see {shown}/samples, or `hvae sample {shown}`"));
            Ok(Ended::Done)
        }
        Finished::Interrupted => {
            let step = trainer.state().step;
            let command = resume_command(global, &args.devices, &shown);
            report::line(&format!("saved at step {step}; go on with: {command}"));
            Ok(Ended::Interrupted)
        }
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
    if global.data_dir != Path::new(DEFAULT_DATA_DIR) {
        words.extend(["--data-dir".to_owned(), global.data_dir.display().to_string()]);
    }
    if let Some(threads) = global.threads {
        words.extend(["--threads".to_owned(), threads.to_string()]);
    }
    let quote = |w: String| if w.contains(' ') { format!("'{w}'") } else { w };
    words.into_iter().map(quote).collect::<Vec<_>>().join(" ")
}

/// The run to train.
enum Target {
    Existing(RunDir),
    New(PathBuf),
    /// A new one under the next free number.
    Numbered,
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

fn new_target(args: &TrainArgs) -> Result<Target> {
    let Some(name) = &args.name else { return Ok(Target::Numbered) };
    let plain = !name.is_empty() && !name.contains(['/', '\\']) && name != "." && name != "..";
    ensure!(plain, "--name {name}: must be a plain folder name");
    let path = args.runs.join(name);
    RunDir::require_new(&path)?;
    Ok(Target::New(path))
}

/// The run at `path` and its configuration, with `epochs` in all if given.
fn resumed(path: &Path, epochs: Option<usize>) -> Result<(RunDir, RunConfig)> {
    let run = RunDir::open(path)?;
    let mut config = run.config()?;
    if let Some(epochs) = epochs {
        ensure!(epochs > 0, "--epochs 0: must be at least 1");
        config.training.epochs = epochs;
    }
    Ok((run, config))
}

/// The flags as overrides; flags win over --set.
fn overrides(args: &TrainArgs) -> Vec<String> {
    let mut overrides = args.set.clone();
    let mut add = |key: &str, value: Option<String>| {
        overrides.extend(value.map(|v| format!("{key}={v}")));
    };
    let dataset = args.dataset.map(|d| match d {
        crate::config::Dataset::Mnist => "mnist".to_owned(),
        crate::config::Dataset::Synthetic => "synthetic".to_owned(),
    });
    add("model.kind", args.model.clone());
    add("training.epochs", args.epochs.map(|v| v.to_string()));
    add("training.batch_size", args.batch_size.map(|v| v.to_string()));
    add("training.learning_rate", args.learning_rate.map(|v| format!("{v:?}")));
    add("training.seed", args.seed.map(|v| v.to_string()));
    add("data.dataset", dataset);
    add("data.train_images", args.train_images.map(|v| v.to_string()));
    add("data.test_images", args.test_images.map(|v| v.to_string()));
    overrides
}
