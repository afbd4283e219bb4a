//! The same work on different devices, and on several of them, gives the same numbers.
//!
//! What a build has is tested, the rest is skipped: `cargo test --release --workspace --features
//! wgpu,ndarray,remote --test devices` tests most. Where no adapter works, wgpu is skipped aloud.
//!
//! Tolerances. All devices compute in f32 and add up in another order, which moves a sum of n
//! numbers by about `sqrt(n) 6e-8` of its size: 2e-6 here. Equilibria are sought to 1e-6, so that a
//! sample which stops a sweep earlier or later moves by no more than that. The contrast of two
//! equilibria divides such differences by the nudge, 0.02. Losses therefore agree to 1e-4 and
//! pixels to 1e-3; both would be off by far more after a single wrong step. Inception's features pass
//! through some 50 layers of such sums, 1e-6 to 1e-5 together: they agree to 1e-4 in norm.
#![recursion_limit = "256"]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing test should panic")]
#![cfg_attr(
    any(feature = "wgpu", feature = "ndarray", feature = "remote"),
    allow(clippy::print_stderr, reason = "what is skipped must be told")
)]

mod common;
#[cfg(feature = "remote")]
#[path = "devices/remote.rs"]
mod remote;
#[cfg(feature = "wgpu")]
#[path = "devices/wgpu.rs"]
mod wgpu;

use std::path::Path;

use common::Folder;
#[cfg(any(feature = "wgpu", feature = "remote"))]
use common::stderr;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
#[cfg(any(feature = "wgpu", feature = "ndarray"))]
use burn::tensor::TensorData;
use burn::tensor::{Device, Tensor};
use hvae::config::RunConfig;
use hvae::data::{Split, Verbosity};
#[cfg(any(feature = "wgpu", feature = "ndarray"))]
use hvae::evaluation::inception::{
    Depth, Inception,
    conv::{Conv, Stored},
    map::FeatureMap,
};
use hvae::images::Images;
use hvae::rng::{self, Stream};
use hvae::training::workers::{Drawn, Workers};
use hvae_model::{Kind, Phases, StepLosses, Vae};

/// One member of the family of every sort: two networks, none that relaxes, one dense network.
#[cfg(any(feature = "wgpu", feature = "ndarray"))]
const KINDS: [&str; 3] = ["h-vae", "f-vae", "tdh-vae"];

/// A tiny run. Batches are all of one size: a device times its kernels anew for every shape.
fn train<'a>(kind: &'a str, name: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["train", "--quiet", "--dataset", "synthetic", "--epochs", "1"];
    arguments.extend(["--train-images", "320", "--test-images", "32", "--batch-size", "32"]);
    arguments.extend(["--set", "model.hidden=[24]", "--set", "model.latent=4"]);
    arguments.extend(["--set", "ep.tolerance=1e-6", "--set", "ep.nudged_tolerance=1e-6"]);
    arguments.extend(["--set", "ep.check_every=5", "--set", "training.warmup_steps=2"]);
    arguments.extend(["--model", kind, "--name", name]);
    arguments.extend(more);
    arguments
}

/// The last line of a run's metrics.
fn metrics(run: &Path) -> serde_json::Value {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

/// Largest relative difference of the losses of two runs.
fn losses_apart(a: &Path, b: &Path) -> f64 {
    let (a, b) = (metrics(a), metrics(b));
    let loss = |m: &serde_json::Value, part: &str, name: &str| m[part][name].as_f64().unwrap();
    let mut apart = 0.0_f64;
    for part in ["train", "test"] {
        for name in ["reconstruction_error", "kl", "elbo"] {
            let (a, b) = (loss(&a, part, name), loss(&b, part, name));
            assert!(a.is_finite() && a.abs() > 0.0, "{part} {name}: {a}");
            apart = apart.max((a - b).abs() / a.abs());
        }
    }
    apart
}

/// Trains, samples and observes phases on `device` and on the CPU, and compares.
#[cfg(any(feature = "wgpu", feature = "ndarray", feature = "remote"))]
fn compare_with_cpu(folder: &Folder, device: &str, kinds: &[&str]) {
    let on = ["--device", device, "--allow-software"];
    for kind in kinds {
        let (here, there) = (format!("{kind}-cpu"), format!("{kind}-device"));
        folder.ok(&train(kind, &here, &[]));
        folder.ok(&train(kind, &there, &on));
        let (here, there) = (format!("checkpoints/{here}"), format!("checkpoints/{there}"));
        let apart = losses_apart(&folder.path(&here), &folder.path(&there));
        eprintln!("{kind} on {device}: losses differ by {apart:.1e}");
        assert!(apart < 1e-4, "{kind} on {device}: losses differ by {apart:.1e}");

        // The weights that the CPU has learnt, decoded on both.
        let pixels = |out: &str, more: &[&str]| {
            let mut arguments = vec!["sample", &here, "--quiet", "--count", "32", "--out", out];
            arguments.extend(more);
            folder.ok(&arguments);
            match hvae::npz::load(&folder.path(out), "images").unwrap().values {
                hvae::npz::Values::F32(pixels) => pixels,
                other => panic!("pixels are float32, not {other:?}"),
            }
        };
        let (a, b) = (pixels("cpu.npz", &[]), pixels("device.npz", &on));
        let apart = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert_eq!(a.len(), b.len());
        assert!(apart < 1e-3, "{kind} on {device}: pixels differ by {apart:.1e}");
    }
    let phase = |out: &str, more: &[&str]| {
        let mut arguments = vec!["phase", "--quiet", "--patterns", "random", "--count", "4"];
        arguments.extend([
            "--dimension",
            "8",
            "--betas",
            "2",
            "--starts",
            "8",
            "--max-steps",
            "40",
        ]);
        arguments.extend(["--out", out]);
        arguments.extend(more);
        folder.ok(&arguments);
        let text = std::fs::read(folder.path(out).join("report.json")).unwrap();
        let report: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let points = report["sweep"].as_array().unwrap().clone();
        points
            .iter()
            .flat_map(|p| p["families"].as_array().unwrap().clone())
            .map(|f| f["energy"][1].as_f64().unwrap())
            .collect::<Vec<f64>>()
    };
    let (a, b) = (phase("phase-cpu", &[]), phase("phase-device", &on));
    assert!(!a.is_empty() && a.len() == b.len());
    for (a, b) in a.iter().zip(&b) {
        assert!((a - b).abs() < 1e-4 * a.abs().max(1.0), "energies {a} and {b}");
    }
}

/// Inception with weights that are drawn, the same on every device.
#[cfg(any(feature = "wgpu", feature = "ndarray"))]
fn inception(device: &Device) -> Inception {
    let mut layer = 0;
    Inception::new(&mut |_, shape| {
        layer += 1;
        let [to, from, height, width] = shape.weight();
        let inputs = from * height * width;
        let size = (2.0 / inputs as f32).sqrt();
        let drawn = rng::normal(1, Stream::Noise, layer, to * inputs);
        let stored = Stored {
            weight: drawn.into_iter().map(|w| w * size).collect(),
            scale: vec![1.0; to],
            shift: vec![0.1; to],
            mean: vec![0.0; to],
            variance: vec![1.0; to],
        };
        Ok(Conv::fold(&stored, shape, device))
    })
    .unwrap()
}

/// Inception's features of two small images on `device` and on the CPU.
#[cfg(any(feature = "wgpu", feature = "ndarray"))]
fn compare_features(device: &Device, name: &str) {
    // The smallest images that all its pools leave something of.
    const SIDE: usize = 75;
    let images = rng::uniform(1, Stream::Binarisation, 0, 2 * 3 * SIDE * SIDE);
    let features = |device: &Device| {
        let images = TensorData::new(images.clone(), [2, 3, SIDE, SIDE]);
        let images = Tensor::<4>::from_data(images, device).mul_scalar(2.0).sub_scalar(1.0);
        inception(device).forward(&images, Depth::D2048).means().unwrap()
    };
    let (a, b) = (features(&Device::flex()), features(device));
    assert_eq!((a.len(), b.len()), (2 * 2048, 2 * 2048));
    let norm = |v: &mut dyn Iterator<Item = f32>| v.map(|x| x * x).sum::<f32>().sqrt();
    let apart = norm(&mut a.iter().zip(&b).map(|(a, b)| a - b)) / norm(&mut a.iter().copied());
    eprintln!("Inception on {name}: features differ by {apart:.1e}");
    assert!(apart < 1e-4, "Inception on {name}: features differ by {apart:.1e}");
}

#[test]
fn what_is_not_there_is_a_sentence() {
    let folder = Folder::new();
    let list = folder.ok(&["devices"]);
    for name in ["cpu", "ndarray", "wgpu", "vulkan", "cuda", "remote"] {
        assert!(list.contains(name), "{list}");
    }
    let takes = list.lines().last().unwrap();
    assert!(takes.contains("`--device auto` takes"), "{takes}");
    let text = folder.fails(2, &["sample", "run", "--device", "tpu"]);
    assert!(text.contains("wgpu[:i]"), "{text}");
    for (name, built) in [
        ("ndarray", cfg!(feature = "ndarray")),
        ("wgpu", cfg!(feature = "wgpu")),
        ("vulkan", cfg!(feature = "vulkan")),
        ("cuda", cfg!(feature = "cuda")),
        ("remote:localhost:1", cfg!(feature = "remote")),
    ] {
        if !built {
            let text = folder.fails(1, &["sample", "run", "--device", name]);
            let feature = name.split(':').next().unwrap();
            let command = format!("cargo build --release --features {feature}");
            assert!(text.contains(&command), "{text}");
        }
    }
    if !cfg!(feature = "remote") {
        let text = folder.fails(1, &["serve"]);
        assert!(text.contains("cargo build --release --features remote"), "{text}");
    }
    // The second device is looked at before anything else is done.
    let text = folder.fails(1, &train("h-vae", "run", &["--devices", "cpu,wgpu:99"]));
    assert!(text.contains("wgpu"), "{text}");
    assert!(!folder.path("checkpoints").exists());
}

fn flat(model: &Vae, gradients: &GradientsParams) -> Vec<f32> {
    struct Flat<'a>(&'a GradientsParams, Vec<f32>);
    impl ModuleVisitor for Flat<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let gradient = self.0.get::<D>(param.id).unwrap();
            self.1.extend(gradient.into_data().try_to_vec::<f32>().unwrap());
        }
    }
    let mut flat = Flat(gradients, Vec::new());
    model.visit(&mut flat);
    flat.1
}

/// Splitting a batch changes the order of sums and nothing else: the workers agree on `beta`.
#[test]
fn gradients_of_a_split_batch_are_those_of_the_whole() {
    for kind in Kind::ALL.map(Kind::name) {
        compare_split(kind, &[]);
    }
    compare_split("h-vae", &["model.likelihood=bernoulli", "data.binarise=true"]);
    compare_split("tdh-vae", &["model.likelihood=bernoulli", "model.sigma=0.3"]);
}

fn compare_split(kind: &str, more: &[&str]) {
    let case = format!("{kind} {more:?}");
    let kind = format!("model.kind={kind}");
    let overrides =
        [kind.as_str(), "model.hidden=[24]", "model.latent=4", "data.dataset=synthetic"];
    let overrides = [&overrides[..], &["data.train_images=64", "ep.tolerance=1e-6"], more].concat();
    let overrides: Vec<String> = overrides.into_iter().map(str::to_owned).collect();
    let config = RunConfig::resolve(None, &overrides).unwrap();
    let device = Device::flex();
    let images = Images::load(&config.data, Split::Train, None, Verbosity::Quiet, &device).unwrap();
    let model = hvae::training::new_model(&config, images.set().pixels(), &device).unwrap();
    // As small as this, a tied network that was drawn at random may have no equilibrium.
    let model = model.limited();
    // Not a multiple of the number of workers, and in another order than the set's.
    let rows: Vec<usize> = (0..31).map(|i| (i * 7) % 64).collect();
    let binarise = config.data.binarise;
    let drawn = Drawn {
        noise: rng::normal(1, Stream::Noise, 0, rows.len() * model.latent()),
        coins: binarise
            .then(|| rng::uniform(1, Stream::Binarisation, 0, rows.len() * model.pixels())),
    };
    let phases = Phases::new(&config.ep).unwrap();
    let on_device = hvae::images::upload(drawn.noise.clone(), model.latent(), &device);
    let mut batch = images.gather(images.order(&rows));
    if binarise {
        batch = hvae::images::binarised(batch, 1, Stream::Binarisation, 0);
    }
    let whole = model.training_step(batch, on_device, 1.0, &phases).unwrap();
    let expected = flat(&model, &whole.gradients);
    let size = expected.iter().map(|g| g * g).sum::<f32>().sqrt();
    assert!(size > 0.0, "{case}");
    let StepLosses::Known(losses) = whole.losses else { panic!("a step on the CPU reads them") };
    for count in [1, 2, 3, 40] {
        let workers = Workers::new(vec![device.clone(); count], &images, &config.ep).unwrap();
        let split = workers.step(&model, &rows, &drawn, 1.0).unwrap();
        let found = flat(&model, &split.gradients);
        let apart = expected.iter().zip(&found).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt();
        // With one beta per part, two parts are 1e-3 apart.
        assert!(apart < 3e-5 * size, "{case}, {count} workers: {:.1e}", apart / size);
        let StepLosses::Known(found) = split.losses else { panic!("workers read their losses") };
        for (a, b) in losses.iter().zip(found) {
            assert!((a - b).abs() < 1e-5 * a.abs(), "{case}, {count} workers: {a} {b}");
        }
        if kind != "model.kind=f-vae" {
            assert_eq!(split.outcomes.encoder_free.len(), rows.len());
            assert_eq!(split.outcomes.decoder_nudged.len(), 2 * rows.len());
        }
    }
}

/// One worker's failure ends the step for all of them, as an error.
#[test]
fn a_failed_worker_is_an_error_and_not_a_wait() {
    let overrides = ["model.hidden=[24]", "model.latent=4", "data.dataset=synthetic"];
    let overrides: Vec<String> = overrides.into_iter().map(str::to_owned).collect();
    let config = RunConfig::resolve(None, &overrides).unwrap();
    let device = Device::flex();
    let images = Images::load(&config.data, Split::Train, None, Verbosity::Quiet, &device).unwrap();
    let model = hvae::training::new_model(&config, images.set().pixels(), &device).unwrap();
    let rows: Vec<usize> = (0..8).collect();
    let mut noise = rng::normal(1, Stream::Noise, 0, rows.len() * model.latent());
    // The second worker alone meets a number that is not one.
    let last = noise.len() - 1;
    noise[last] = f32::NAN;
    let workers = Workers::new(vec![device.clone(), device], &images, &config.ep).unwrap();
    let drawn = Drawn { noise, coins: None };
    let error = workers.step(&model, &rows, &drawn, 1.0).unwrap_err();
    assert!(format!("{error:#}").contains("not a finite number"), "{error:#}");
}

#[test]
fn a_run_on_two_devices_is_that_on_one() {
    let folder = Folder::new();
    for kind in Kind::ALL.map(Kind::name) {
        let (one, two) = (format!("{kind}-one"), format!("{kind}-two"));
        folder.ok(&train(kind, &one, &[]));
        folder.ok(&train(kind, &two, &["--devices", "cpu,cpu"]));
        let run = |name: &str| folder.path("checkpoints").join(name);
        let apart = losses_apart(&run(&one), &run(&two));
        assert!(apart < 1e-4, "{kind}: {apart:.1e}");
    }
}

#[cfg(feature = "ndarray")]
#[test]
fn ndarray_agrees_with_cpu() {
    compare_with_cpu(&Folder::new(), "ndarray", &KINDS);
    compare_features(&hvae::device::open("ndarray", false).unwrap(), "ndarray");
}
