//! A GPU, or a software adapter.

use std::sync::{Arc, Mutex};

use anyhow::Result;
use clap::Parser;
use hvae::commands::Cli;
use hvae::observers::{Observer, StepEvent};
use hvae::run::RunDir;
use hvae::run::environment::Environment;
use hvae::training::{Trainer, TrainingRequest};
use hvae_device::Transfers;
use hvae_device::fault;

use super::*;
use crate::comparison::{KINDS, compare_features, compare_with_cpu};

/// Whether there is an adapter, hardware or software.
fn adapter(folder: &Folder) -> bool {
    let list = folder.ok(&["devices"]);
    let found = list.lines().any(|l| l.starts_with("wgpu:0"));
    if !found {
        eprintln!(
            "\n*** NOT TESTED: no adapter for wgpu on this machine. `apt install \
             mesa-vulkan-drivers libvulkan1` installs a software adapter. ***\n{list}\n"
        );
    }
    found
}

/// In this process, not in one for each command, so that kernels are compiled once.
fn inside(folder: &Folder, arguments: &[&str]) {
    std::env::set_current_dir(folder.path(".")).unwrap();
    let cli = Cli::try_parse_from(["hvae"].iter().chain(arguments)).unwrap();
    fault::guard(|| cli.run()).unwrap();
}

/// Training counts reads and uploads, too: a second run would take as long on a software adapter.
#[test]
fn wgpu_agrees_with_cpu_and_is_read_rarely() {
    let folder = Folder::new();
    if adapter(&folder) {
        compare_with_cpu(&folder, "wgpu", &KINDS, &|arguments| match arguments {
            ["train", .., "--device", "wgpu", _] => train_counted(&folder, arguments),
            _ => inside(&folder, arguments),
        });
        compare_features(&hvae_device::open("wgpu", true).unwrap(), "wgpu");
    }
}

/// Counts reads of the device and uploads to it after the first step.
#[derive(Debug, Default)]
struct Counts {
    start: Option<Transfers>,
    steps: u64,
    reads: u64,
    uploads: u64,
}

#[derive(Debug, Clone, Default)]
struct Counter(Arc<Mutex<Counts>>);

impl Observer for Counter {
    fn step(&mut self, _event: &StepEvent<'_>) -> Result<()> {
        let (mut counts, now) = (self.0.lock().unwrap(), hvae_device::transfers());
        if let Some(start) = counts.start {
            counts.steps += 1;
            counts.reads = now.reads - start.reads;
            counts.uploads = now.uploads - start.uploads;
        } else {
            counts.start = Some(now);
        }
        Ok(())
    }
}

/// Trains as the command `arguments` says, and checks that a step reads the device only at
/// convergence checks, and uploads only its noise.
fn train_counted(folder: &Folder, arguments: &[&str]) {
    let after = |flag: &str| arguments.windows(2).find(|pair| pair[0] == flag).unwrap()[1];
    let name = after("--name");
    let kind = name.strip_suffix("-device").unwrap();
    let device = hvae_device::open("wgpu", true).unwrap();
    let config = RunConfig::resolve(None, &tiny(kind)).unwrap();
    let images = [Split::Train, Split::Test]
        .map(|split| Images::load(&config.data, split, None, &device))
        .map(Result::unwrap);
    let run = RunDir::create(&folder.path(&format!("checkpoints/{name}")), &config, None).unwrap();
    // With this folder no picture is drawn in the midst of an epoch that takes long.
    std::fs::create_dir(run.path().join("samples")).unwrap();
    let counter = Counter::default();
    let dataset = &config.data.dataset;
    let environment = Environment::current("wgpu".to_owned(), dataset, None, &images);
    let request = TrainingRequest {
        config,
        images,
        devices: vec![device.clone()],
        environment,
        observers: vec![Box::new(counter.clone())],
        weights: None,
    };
    Trainer::create(run, request).unwrap().train().unwrap();
    let counts = counter.0.lock().unwrap();
    assert_eq!(counts.steps, 2);
    // Two free phases of at most six checks, two nudged ones of at most three.
    let checks = if kind == "f-vae" { 0..=2 } else { 4..=18 };
    assert!(checks.contains(&(counts.reads / counts.steps)), "{kind}: {counts:?}");
    assert_eq!(counts.uploads, counts.steps, "{kind}: {counts:?}");
}

#[test]
fn a_missing_adapter_is_an_error_that_names_it() {
    let folder = Folder::new();
    let text =
        folder.fails(1, &["train", "--dry-run", "--dataset", "synthetic", "--device", "wgpu:99"]);
    assert!(text.contains("wgpu:99") || text.contains("no adapter"), "{text}");
    let list = folder.ok(&["devices"]);
    if list.contains("software") && !list.contains("hardware") {
        let text =
            folder.fails(1, &["train", "--dry-run", "--dataset", "synthetic", "--device", "wgpu"]);
        assert!(text.contains("--allow-software"), "{text}");
        assert!(list.contains("`--device auto` takes cpu"), "{list}");
    }
    // Without any driver.
    let mut command =
        folder.command(&["train", "--dry-run", "--dataset", "synthetic", "--device", "wgpu"]);
    for variable in ["VK_ICD_FILENAMES", "VK_DRIVER_FILES", "__EGL_VENDOR_LIBRARY_FILENAMES"] {
        command.env(variable, "/nonexistent");
    }
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(!stderr(&output).contains("panicked"), "{}", stderr(&output));
}
