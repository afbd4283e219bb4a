//! The same work on different devices, and on several of them, gives the same numbers.
//!
//! Devices that a build lacks are skipped: `cargo test --release --workspace --features
//! wgpu,ndarray,remote --test devices -- --test-threads 1` tests most of them. One test at a time,
//! because those of wgpu run in this process and count its reads and uploads. Without a working
//! adapter, wgpu is skipped with a message.
//!
//! Tolerances. All devices compute in f32 and add in another order, which changes a sum of n
//! numbers by about `sqrt(n) 6e-8` of its size: 2e-6 here. The tolerance of equilibria is 1e-6, so
//! that a sample which stops a sweep earlier or later differs by no more than that. The difference
//! of two equilibria divides such errors by the nudge, 0.02. Losses therefore agree to 1e-4 and
//! pixels to 1e-3; a single wrong step would change both by far more. Inception's features pass
//! through some 50 layers of such sums, 1e-6 to 1e-5 together: they agree to 1e-4 in norm.
#![recursion_limit = "256"]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing test should panic")]
#![cfg_attr(
    any(feature = "wgpu", feature = "ndarray", feature = "remote"),
    allow(clippy::print_stderr, reason = "skipped tests are reported")
)]

use std::path::Path;

use burn::tensor::{Device, Tensor};
use hvae::config::RunConfig;
use hvae_data::Split;
use hvae_data::images::Images;
use hvae_model::Kind;
use hvae_runtime::rng;
use hvae_runtime::rng::Stream;

#[path = "../common/mod.rs"]
mod common;
#[cfg(any(feature = "wgpu", feature = "ndarray", feature = "remote"))]
mod comparison;
#[cfg(feature = "remote")]
mod remote;
mod split;
#[cfg(feature = "wgpu")]
mod wgpu;

use common::Folder;
#[cfg(any(feature = "wgpu", feature = "remote"))]
use common::stderr;

/// The settings of a tiny run. All batches have one size, because a device compiles its kernels for
/// every shape.
fn tiny(kind: &str) -> Vec<String> {
    // One of them has a learned prior, from the first step on.
    let prior = if kind == "h-vae" { "hopfield" } else { "standard" };
    let (kind, prior) = (format!("model.kind={kind}"), format!("prior.kind={prior}"));
    [
        &kind,
        "data.dataset=synthetic",
        "data.train_images=96",
        "data.test_images=32",
        "training.epochs=1",
        "training.batch_size=32",
        "training.warmup_steps=2",
        "model.hidden=[24]",
        "model.latent=4",
        "ep.tolerance=1e-6",
        "ep.nudged_tolerance=1e-6",
        "ep.check_every=5",
        &prior,
        "prior.patterns=8",
        "prior.start=0",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// The command of a tiny run.
fn train<'a>(tiny: &'a [String], name: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["train", "--quiet", "--name", name];
    arguments.extend(tiny.iter().flat_map(|setting| ["--set", setting]));
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

#[test]
fn a_missing_device_is_an_error_that_names_the_remedy() {
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
            let dry_run = ["train", "--dry-run", "--dataset", "synthetic", "--device", name];
            let text = folder.fails(1, &dry_run);
            let feature = name.split(':').next().unwrap();
            let command = format!("cargo build --release --features {feature}");
            assert!(text.contains(&command), "{text}");
        }
    }
    if !cfg!(feature = "remote") {
        let text = folder.fails(1, &["serve"]);
        assert!(text.contains("cargo build --release --features remote"), "{text}");
    }
    // All devices are opened before anything is written.
    let text = folder.fails(1, &train(&tiny("h-vae"), "run", &["--devices", "cpu,wgpu:99"]));
    assert!(text.contains("wgpu"), "{text}");
    assert!(!folder.path("checkpoints").exists());
}

#[cfg(feature = "ndarray")]
#[test]
fn ndarray_agrees_with_cpu() {
    use comparison::{KINDS, compare_features, compare_with_cpu};
    let folder = Folder::new();
    compare_with_cpu(&folder, "ndarray", &KINDS, &|arguments| {
        folder.ok(arguments);
    });
    compare_features(&hvae_device::open("ndarray", false).unwrap(), "ndarray");
}
