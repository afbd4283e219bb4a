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

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

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
use tempfile::TempDir;

/// One member of the family of every sort: two networks, none that relaxes, one dense network.
#[cfg(any(feature = "wgpu", feature = "ndarray"))]
const KINDS: [&str; 3] = ["h-vae", "f-vae", "tdh-vae"];

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hvae"));
        command.current_dir(self.0.path()).args(arguments).env("HVAE_MNIST_MIRRORS", "");
        command
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs what must fail with a sentence; gives it.
    fn fails(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {text}");
        assert!(!text.contains("panicked") && !text.contains("stack backtrace"), "{text}");
        text
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

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
    let text = folder.fails(&["sample", "run", "--device", "tpu"]);
    assert!(text.contains("wgpu[:i]"), "{text}");
    for (name, built) in [
        ("ndarray", cfg!(feature = "ndarray")),
        ("wgpu", cfg!(feature = "wgpu")),
        ("vulkan", cfg!(feature = "vulkan")),
        ("cuda", cfg!(feature = "cuda")),
        ("remote:localhost:1", cfg!(feature = "remote")),
    ] {
        if !built {
            let text = folder.fails(&["sample", "run", "--device", name]);
            let feature = name.split(':').next().unwrap();
            let command = format!("cargo build --release --features {feature}");
            assert!(text.contains(&command), "{text}");
        }
    }
    if !cfg!(feature = "remote") {
        let text = folder.fails(&["serve"]);
        assert!(text.contains("cargo build --release --features remote"), "{text}");
    }
    // The second device is looked at before anything else is done.
    let text = folder.fails(&train("h-vae", "run", &["--devices", "cpu,wgpu:99"]));
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

#[cfg(feature = "wgpu")]
mod wgpu {
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

    #[test]
    fn wgpu_agrees_with_cpu() {
        let folder = Folder::new();
        if adapter(&folder) {
            compare_with_cpu(&folder, "wgpu", &KINDS);
            compare_features(&hvae::device::open("wgpu", true).unwrap(), "wgpu");
        }
    }

    /// A step reads the device at convergence checks, not otherwise.
    #[test]
    fn the_hot_loop_is_quiet() {
        let folder = Folder::new();
        if !adapter(&folder) {
            return;
        }
        // Four phases of at most 6 (free) and 3 (nudged) checks.
        assert!(traced(&folder, "h-vae") <= 18.0);
        traced(&folder, "tdh-vae");
    }

    /// Trains, and gives the reads per step. Noise is all that is uploaded.
    fn traced(folder: &Folder, kind: &str) -> f64 {
        let mut arguments = train(kind, kind, &["--trace-device", "--allow-software"]);
        arguments.retain(|a| *a != "--quiet");
        arguments.extend(["--device", "wgpu"]);
        let output = folder.command(&arguments).output().unwrap();
        let text = stderr(&output);
        assert!(output.status.success(), "{text}");
        let line = text.lines().find(|l| l.contains("reads of the device")).unwrap();
        let number = |before: &str| -> f64 {
            let words: Vec<&str> = line.split([' ', ',']).filter(|w| !w.is_empty()).collect();
            let at = words.iter().position(|w| *w == before).unwrap();
            words[at - 1].parse().unwrap()
        };
        eprintln!("{line}");
        assert!(number("uploads") <= 1.0, "{line}");
        assert!(number("kernel") > 0.0, "{line}");
        number("reads")
    }

    #[test]
    fn what_a_gpu_cannot_do_is_a_sentence() {
        let folder = Folder::new();
        let text = folder.fails(&["sample", "run", "--device", "wgpu:99"]);
        assert!(text.contains("wgpu:99") || text.contains("no adapter"), "{text}");
        let list = folder.ok(&["devices"]);
        if list.contains("software") && !list.contains("hardware") {
            let text = folder.fails(&["sample", "run", "--device", "wgpu"]);
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
}

#[cfg(feature = "remote")]
mod remote {
    use std::net::{TcpListener, TcpStream};
    use std::process::{Child, Stdio};
    use std::time::{Duration, Instant};

    use super::*;

    /// `hvae serve`, ended with the test.
    struct Server(Child, u16);

    impl Server {
        fn start(folder: &Folder, devices: &str, token: Option<&str>) -> Self {
            // Free now, and most likely still free in a moment.
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let port_text = port.to_string();
            let mut command =
                folder.command(&["serve", "--port", &port_text, "--devices", devices]);
            if let Some(token) = token {
                command.env("HVAE_TOKEN", token);
            }
            let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            let server = Self(child, port);
            let started = Instant::now();
            while TcpStream::connect(("127.0.0.1", port)).is_err() {
                assert!(started.elapsed() < Duration::from_secs(30), "the server does not answer");
                std::thread::sleep(Duration::from_millis(50));
            }
            server
        }

        fn device(&self, index: usize) -> String {
            format!("remote:127.0.0.1:{}/{index}", self.1)
        }
    }

    impl Drop for Server {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn a_remote_device_agrees_with_cpu() {
        let folder = Folder::new();
        let server = Server::start(&folder, "cpu", None);
        compare_with_cpu(&folder, &server.device(0), &["h-vae"]);
    }

    #[test]
    fn a_run_on_two_remote_devices_is_that_on_one() {
        let folder = Folder::new();
        let servers = [Server::start(&folder, "cpu", None), Server::start(&folder, "cpu", None)];
        let devices = format!("{},{}", servers[0].device(0), servers[1].device(0));
        folder.ok(&train("h-vae", "one", &[]));
        folder.ok(&train("h-vae", "two", &["--devices", &devices]));
        let run = |name: &str| folder.path("checkpoints").join(name);
        let apart = losses_apart(&run("one"), &run("two"));
        assert!(apart < 1e-4, "{apart:.1e}");
    }

    #[test]
    fn who_cannot_be_reached_or_refuses_is_a_sentence() {
        let folder = Folder::new();
        let server = Server::start(&folder, "cpu", Some("a password"));
        let text = folder.fails(&["sample", "run", "--device", &server.device(0)]);
        assert!(text.contains("HVAE_TOKEN"), "{text}");
    }

    /// The checkpoint before the loss is good, and the run goes on from it elsewhere.
    #[test]
    fn a_lost_worker_is_an_error_that_leaves_the_checkpoint_good() {
        let folder = Folder::new();
        let mut server = Server::start(&folder, "cpu", None);
        let devices = format!("cpu,{}", server.device(0));
        let mut arguments = train("h-vae", "run", &["--devices", &devices]);
        let long = arguments.iter().position(|a| *a == "1").unwrap();
        arguments[long] = "1000";
        let mut child = folder
            .command(&arguments)
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let run = folder.path("checkpoints").join("run");
        let started = Instant::now();
        while !run.join("metrics.jsonl").exists() {
            assert!(started.elapsed() < Duration::from_secs(120), "no epoch came to an end");
            assert!(child.try_wait().unwrap().is_none(), "training has ended by itself");
            std::thread::sleep(Duration::from_millis(50));
        }
        server.0.kill().unwrap();
        server.0.wait().unwrap();
        let killed = Instant::now();
        while child.try_wait().unwrap().is_none() {
            assert!(killed.elapsed() < Duration::from_secs(180), "the loss is not noticed");
            std::thread::sleep(Duration::from_millis(100));
        }
        let output = child.wait_with_output().unwrap();
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains("checkpoint is still good") || text.contains("is good"), "{text}");
        assert!(!text.contains("panicked"), "{text}");
        eprintln!("{text}");
        let done = metrics(&run)["epoch"].as_u64().unwrap();
        let epochs = (done + 1).to_string();
        let run = run.to_str().unwrap().to_owned();
        folder.ok(&["train", "--quiet", "--resume", &run, "--epochs", &epochs]);
        assert_eq!(metrics(Path::new(&run))["epoch"].as_u64().unwrap(), done + 1);
    }
}
