//! A GPU, or a program that plays one.

use std::sync::{Arc, Mutex};

use anyhow::Result;
use clap::Parser;
use hvae::cli::Cli;
use hvae::commands;
use hvae::device::fault;
use hvae::run::RunDir;
use hvae::training::Trainer;
use hvae::training::watch::{StepReport, Watch};
use hvae_device::Transfers;

use super::comparison::{KINDS, compare_features, compare_with_cpu};
use super::*;

/// Whether there is an adapter, hardware or not.
fn adapter(folder: &Folder) -> bool {
    let list = folder.ok(&["devices"]);
    let found = list.lines().any(|l| l.starts_with("wgpu:0"));
    if !found {
        eprintln!(
            "\n*** NOT TESTED: no adapter for wgpu on this machine. `apt install \
             mesa-vulkan-drivers libvulkan1` brings one that is a program. ***\n{list}\n"
        );
    }
    found
}

/// In this process, not in one for each command: a GPU's kernels are compiled once for all.
fn inside(folder: &Folder, arguments: &[&str]) {
    std::env::set_current_dir(folder.path(".")).unwrap();
    let cli = Cli::try_parse_from(["hvae"].iter().chain(arguments)).unwrap();
    fault::guard(|| commands::run(cli)).unwrap();
}

#[test]
fn wgpu_agrees_with_cpu() {
    let folder = Folder::new();
    if adapter(&folder) {
        compare_with_cpu(&folder, "wgpu", &KINDS, &|arguments| inside(&folder, arguments));
        compare_features(&hvae::device::open("wgpu", true).unwrap(), "wgpu");
    }
}

/// Counts reads of the device and uploads to it, from the end of the first step on.
#[derive(Debug, Default)]
struct Counts {
    start: Option<Transfers>,
    steps: u64,
    reads: u64,
    uploads: u64,
}

#[derive(Debug, Clone, Default)]
struct Counter(Arc<Mutex<Counts>>);

impl Watch for Counter {
    fn step(&mut self, _report: &StepReport<'_>) -> Result<()> {
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

/// A step reads the device at convergence checks, not otherwise, and sends it its noise alone.
#[test]
fn the_hot_loop_is_quiet() {
    let folder = Folder::new();
    if !adapter(&folder) {
        return;
    }
    let device = hvae::device::open("wgpu", true).unwrap();
    for kind in ["h-vae", "tdh-vae"] {
        let config = RunConfig::resolve(None, &tiny(kind)).unwrap();
        let images = [Split::Train, Split::Test]
            .map(|split| Images::load(&config.data, split, None, Verbosity::Quiet, &device))
            .map(Result::unwrap);
        let run = RunDir::create(&folder.path(kind), &config).unwrap();
        let mut trainer = Trainer::new(run, config, images, device.clone()).unwrap();
        let counter = Counter::default();
        trainer.watch(Box::new(counter.clone()));
        trainer.train().unwrap();
        let counts = counter.0.lock().unwrap();
        assert_eq!(counts.steps, 2);
        // Two free phases of at most six checks, two nudged ones of at most three.
        assert!((4..=18).contains(&(counts.reads / counts.steps)), "{kind}: {counts:?}");
        assert_eq!(counts.uploads, counts.steps, "{kind}: {counts:?}");
    }
}

#[test]
fn what_a_gpu_cannot_do_is_a_sentence() {
    let folder = Folder::new();
    let text = folder.fails(1, &["sample", "run", "--device", "wgpu:99"]);
    assert!(text.contains("wgpu:99") || text.contains("no adapter"), "{text}");
    let list = folder.ok(&["devices"]);
    if list.contains("software") && !list.contains("hardware") {
        let text = folder.fails(1, &["sample", "run", "--device", "wgpu"]);
        assert!(text.contains("--allow-software"), "{text}");
        assert!(list.contains("`--device auto` takes cpu"), "{list}");
    }
    // No driver at all.
    let mut command = folder.command(&["sample", "run", "--device", "wgpu"]);
    for variable in ["VK_ICD_FILENAMES", "VK_DRIVER_FILES", "__EGL_VENDOR_LIBRARY_FILENAMES"] {
        command.env(variable, "/nonexistent");
    }
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(!stderr(&output).contains("panicked"), "{}", stderr(&output));
}
