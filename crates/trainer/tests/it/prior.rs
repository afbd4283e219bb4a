//! Priors that are learned: training, resuming, sampling, what is refused.

use crate::common::{Folder, assert_same_run, metrics, train};

/// A run whose prior begins within its first epoch.
fn learned<'a>(name: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = train(name, "480", "2");
    for setting in [
        "prior.kind=hopfield",
        "prior.patterns=24",
        "prior.start=7",
        "training.ema_decay=0.9",
        "training.checkpoint_every=4",
        "training.keep_checkpoints=20",
    ] {
        arguments.extend(["--set", setting]);
    }
    arguments.extend(more);
    arguments
}

#[test]
fn a_run_with_a_learned_prior_resumes_exactly_and_samples_from_its_patterns() {
    let folder = Folder::new();
    folder.ok(&learned("whole", &[]));
    let last = metrics(&folder.path("checkpoints/whole")).pop().unwrap();
    let in_use = last["prior"]["in_use"].as_f64().unwrap();
    assert!((1.0..=24.0).contains(&in_use), "{last}");
    let cosine = last["gradient_check"]["cosine"].as_f64().unwrap();
    assert!(cosine > 0.999, "{last}");

    // From before the prior begins, and from after.
    for step in ["4", "12"] {
        let name = format!("from-{step}");
        folder.ok(&learned(&name, &[]));
        let run = folder.path(&format!("checkpoints/{name}"));
        std::fs::write(run.join("latest"), format!("step-{step:0>8}\n")).unwrap();
        folder.ok(&["train", "--resume", &format!("checkpoints/{name}")]);
        assert_same_run(&folder.path("checkpoints/whole"), &run);
    }

    let run = "checkpoints/whole";
    let list = folder.ok(&["prototypes", run, "--count", "5", "--columns", "5"]);
    // Besides the line that names the picture.
    let second = list.lines().filter_map(|line| line.split_whitespace().nth(1));
    let weights: Vec<f64> = second.map(|weight| weight.parse().unwrap()).collect();
    assert_eq!(weights.len(), 5);
    assert!(weights.is_sorted_by(|a, b| a >= b) && weights[4] > 0.0, "{list}");
    let shown: serde_json::Value =
        serde_json::from_str(&folder.ok(&["prototypes", run, "--count", "5", "--json"])).unwrap();
    assert!((shown[0]["weight"].as_f64().unwrap() - weights[0]).abs() < 1e-5, "{shown}");
    folder.ok(&["sample", run, "--count", "4"]);
    folder.ok(&["export", run, "--out", "whole.safetensors"]);
    folder.ok(&["import", "whole.safetensors", "--name", "again"]);
    let samples = |run: &str, out: &str| {
        folder.ok(&["sample", run, "--count", "4", "--out", out]);
        std::fs::read(folder.path(out)).unwrap()
    };
    assert_eq!(samples(run, "a.npz"), samples("checkpoints/again", "b.npz"));
}

#[test]
fn priors_that_cannot_be_are_refused_by_name() {
    let folder = Folder::new();
    for (setting, code, expected) in [
        ("prior.patterns=0", 2, "prior.patterns"),
        ("prior.beta=0", 2, "prior.beta"),
        ("prior.rate=nan", 2, "prior.rate"),
        ("prior.kind=normal", 2, "hopfield"),
        ("prior.patterns=481", 1, "480 training images"),
    ] {
        let text = folder.fails(code, &learned("refused", &["--set", setting]));
        assert!(text.contains(expected), "{setting}: {text}");
    }
    folder.ok(&train("plain", "96", "1"));
    let text = folder.fails(1, &["prototypes", "checkpoints/plain"]);
    assert!(text.contains("no learned prior"), "{text}");
    let text = folder.fails(1, &["sample", "checkpoints/plain", "--class", "1"]);
    assert!(text.contains("no learned prior"), "{text}");
    // Weights of one prior under the configuration of another.
    folder.ok(&learned("hopfield", &[]));
    folder.ok(&["export", "checkpoints/hopfield", "--out", "hopfield.safetensors"]);
    for (setting, expected) in
        [("prior.kind=standard", "prior.kind = standard"), ("prior.patterns=12", "patterns")]
    {
        let arguments = ["import", "hopfield.safetensors", "--name", "other", "--set", setting];
        let text = folder.fails(1, &arguments);
        assert!(text.contains(expected), "{setting}: {text}");
    }
}
