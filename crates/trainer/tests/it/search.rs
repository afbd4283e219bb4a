//! `hvae search` from the command line: studies that are stopped, killed, shared and continued.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use hvae_runtime::rng::{self, Stream};
use rand::RngExt;
use serde_json::Value;

use crate::common::{Folder, assert_same_run, metrics, read, stderr};

/// A space of little models on few images.
const SPACE: &str = r#"
[settings]
"data.dataset" = "synthetic"
"data.train_images" = 64
"data.validation_images" = 20
"model.hidden" = [12]
"model.latent" = 3
"training.batch_size" = 32

[budget]
trials = 8
epochs = 4
rungs = [1, 2]
eta = 2

[sampler]
startup = 3

[parameters."training.learning_rate"]
kind = "log"
low = 1e-4
high = 1e-2

[parameters."model.visible_gain"]
kind = "linear"
low = 60.0
high = 200.0

[parameters."training.optimizer"]
kind = "choice"
values = ["adam", "sgd"]

[parameters."training.momentum"]
kind = "step"
low = 0.0
high = 0.9
step = 0.1
when = { "training.optimizer" = "sgd" }
"#;

fn folder() -> Folder {
    let folder = Folder::new();
    std::fs::write(folder.path("space.toml"), SPACE).unwrap();
    folder
}

/// The trials of a study without what depends on the clock.
fn trials(study: &Path) -> Vec<Value> {
    let text = String::from_utf8(read(&study.join("trials.jsonl"))).unwrap();
    let parse = |line: &str| {
        let mut trial: Value = serde_json::from_str(line).unwrap();
        assert!(trial.as_object_mut().unwrap().remove("seconds").is_some());
        trial
    };
    text.lines().map(parse).collect()
}

/// Every trial has ended, its run has each of its epochs once, and so has the journal.
fn assert_whole(study: &Path, count: usize) {
    let trials = trials(study);
    assert_eq!(trials.len(), count);
    for (trial, number) in trials.iter().zip(1..) {
        assert_eq!(trial["number"], number);
        assert!(["paused", "complete"].contains(&trial["state"].as_str().unwrap()), "{trial}");
        let run = study.join(trial["run"].as_str().unwrap());
        let [told, kept] = [trial["epochs"].as_array().unwrap(), &metrics(&run)];
        let epochs = |of: &[Value]| of.iter().map(|e| e["epoch"].as_u64().unwrap()).collect();
        let (told, kept): (Vec<u64>, Vec<u64>) = (epochs(told), epochs(kept));
        assert_eq!(told, (1..=trial["until"].as_u64().unwrap()).collect::<Vec<_>>());
        assert_eq!(told, kept);
    }
    let complete = trials.iter().filter(|trial| trial["state"] == "complete").count();
    assert!((1..count).contains(&complete), "{complete} of {count} went all the way");
}

fn search<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [&["search", "--threads", "1"], arguments].concat()
}

/// Starts a search without waiting for it.
fn spawn(folder: &Folder, arguments: &[&str]) -> Child {
    let mut command = folder.command(&search(arguments));
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn a_killed_study_goes_on_as_if_it_had_not_been() {
    let folder = folder();
    let text = folder.ok(&search(&["space.toml", "--name", "straight"]));
    let straight = folder.path("searches/straight");
    assert_whole(&straight, 8);
    let best = text.lines().nth_back(1).unwrap();
    assert!(best.starts_with("the best: hvae train --config searches/straight/runs/"), "{text}");
    let page = String::from_utf8(read(&straight.join("report.html"))).unwrap();
    let headings = ["Parallel coordinates", "Importance", "The two that matter most", "trial 1"];
    assert!(headings.iter().all(|heading| page.contains(heading)), "{page}");
    assert!(!page.contains("<script") && !page.contains("http://"), "{page}");

    // A full disk, simulated by a limit on the size of files, ends it and is no fault of the trial.
    let program = env!("CARGO_BIN_EXE_hvae");
    let line = search(&["space.toml", "--name", "killed"]).join(" ");
    let script = format!("trap '' XFSZ; ulimit -f 40; exec {program} {line}");
    let mut command = std::process::Command::new("sh");
    let output = command.args(["-c", &script]).current_dir(folder.path(".")).output().unwrap();
    let text = stderr(&output);
    assert!(output.status.code() == Some(1) && text.contains("continues from here"), "{text}");
    let mut rng = rng::generator(3, Stream::Starts, 0);
    for kill in 0.. {
        let mut child = spawn(&folder, &["space.toml", "--name", "killed"]);
        if kill < 12 {
            std::thread::sleep(Duration::from_millis(rng.random_range(0..400)));
            let _ = child.kill();
        }
        match child.wait().unwrap().code() {
            Some(0) => break,
            Some(code) => panic!("ended with {code}"),
            None => {}
        }
    }
    let killed = folder.path("searches/killed");
    assert_eq!(trials(&straight), trials(&killed));
    for trial in trials(&straight) {
        let run = trial["run"].as_str().unwrap();
        assert_same_run(&straight.join(run), &killed.join(run));
    }
    // Nothing is left to do, and more trials can be had.
    let more = folder.ok(&search(&["searches/killed", "--trials", "9", "--json"]));
    let more: Value = serde_json::from_str(&more).unwrap();
    assert_eq!(more["trials"].as_array().unwrap().len(), 9);
    folder.ok(&search(&["searches/killed", "--confirm", "2"]));
    let page = String::from_utf8(read(&killed.join("report.html"))).unwrap();
    assert!(page.contains("other seeds") && page.contains("(2)"), "{page}");
    let before = &trials(&straight)[..];
    let numbers = |t: &Value| (t["number"].clone(), t["parameters"].clone());
    assert!(trials(&killed)[..8].iter().map(numbers).eq(before.iter().map(numbers)));
}

#[test]
fn a_trial_that_pauses_ends_with_the_bits_of_one_that_does_not() {
    let folder = folder();
    folder.ok(&search(&["space.toml", "--name", "rungs", "--trials", "1"]));
    folder.ok(&search(&["space.toml", "--name", "whole", "--trials", "1", "--rungs", "none"]));
    let run = |study: &str| folder.path(&format!("searches/{study}/runs/trial-0001"));
    assert_eq!(metrics(&run("rungs")).len(), 4);
    assert_same_run(&run("rungs"), &run("whole"));
    // It is a run like any other.
    let config = run("rungs").join("config.toml").display().to_string();
    folder.ok(&["train", "--config", &config, "--name", "plain", "--threads", "1"]);
    assert_same_run(&run("rungs"), &folder.path("checkpoints/plain"));
}

#[test]
fn two_processes_lose_nothing_and_do_nothing_twice() {
    let folder = folder();
    let mut rng = rng::generator(4, Stream::Starts, 0);
    let join = || spawn(&folder, &["--join", "space.toml", "--name", "shared"]);
    let mut workers = [join(), join()];
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(rng.random_range(20..200)));
        let worker = &mut workers[rng.random_range(0..2)];
        let _ = worker.kill();
        worker.wait().unwrap();
        *worker = join();
    }
    for mut worker in workers {
        assert!(worker.wait().unwrap().success());
    }
    assert_whole(&folder.path("searches/shared"), 8);
}

#[test]
fn a_study_is_searched_by_others_only_if_they_join() {
    let folder = folder();
    let mut first = spawn(&folder, &["space.toml", "--trials", "200"]);
    let journal = folder.path("searches/space/runs/trial-0001/latest");
    while !journal.exists() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let text = folder.fails(1, &search(&["searches/space"]));
    assert!(text.contains("--join"), "{text}");
    // The first Ctrl-C saves.
    let pid = first.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert_eq!(first.wait().unwrap().code(), Some(130));
    let text = folder.fails(1, &search(&["space.toml", "--epochs", "9"]));
    assert!(text.contains("other budget") && text.contains("--name"), "{text}");
    let text = folder.fails(2, &search(&["searches/space", "--epochs", "9"]));
    assert!(text.contains("only --trials can change"), "{text}");
}

/// The number of parameters against the ELBO, on a grid, with a known point and a constraint.
#[test]
fn two_objectives_have_a_front_and_a_grid_is_tried_once() {
    let folder = Folder::new();
    let (head, _) = SPACE.split_once("[budget]").unwrap();
    let space = format!(
        "enqueue = [{{ \"model.hidden\" = 8, \"model.latent\" = 2 }}]
        {}
        [objectives]
        \"validation.elbo\" = \"maximise\"
        parameters = \"minimise\"
        [budget]
        epochs = 1
        [sampler]
        kind = \"grid\"
        levels = 3
        [constraints]
        max_parameters = 40000
        [parameters.\"model.hidden\"]
        kind = \"int\"
        low = 8
        high = 32
        [parameters.\"model.latent\"]
        kind = \"int\"
        low = 2
        high = 3",
        head.replace("\"model.hidden\" = [12]\n", "").replace("\"model.latent\" = 3\n", "")
    );
    std::fs::write(folder.path("grid.toml"), space).unwrap();
    let text = folder.ok(&search(&["grid.toml", "--json", "grid.json"]));
    let trials = trials(&folder.path("searches/grid"));
    // Of 3 x 2 points those with 32 hidden units have too many parameters.
    let points: Vec<String> = trials.iter().map(|t| t["parameters"].to_string()).collect();
    assert_eq!(points.len(), 4, "{points:?}");
    assert_eq!(points[0], r#"{"model.hidden":8,"model.latent":2}"#);
    assert!((1..4).all(|at| !points[..at].contains(&points[at])), "{points:?}");
    // By name: parameters, then the ELBO.
    let values = |trial: &Value| {
        let values = trial["epochs"][0]["values"].as_array().unwrap();
        [values[0].as_f64().unwrap(), values[1].as_f64().unwrap()]
    };
    let all: Vec<[f64; 2]> = trials.iter().map(values).collect();
    let is_beaten = |a: &[f64; 2]| all.iter().any(|b| b != a && b[0] <= a[0] && b[1] >= a[1]);
    let front = all.iter().filter(|a| !is_beaten(a)).count();
    let result: Value = serde_json::from_slice(&read(&folder.path("grid.json"))).unwrap();
    assert_eq!(result["best"].as_array().unwrap().len(), front, "{text}");
    let page = String::from_utf8(read(&folder.path("searches/grid/report.html"))).unwrap();
    assert!(page.contains("Pareto front"));
}

#[test]
fn a_damaged_study_is_named_and_left_as_it_is() {
    let folder = folder();
    folder.ok(&search(&["space.toml", "--trials", "2", "--rungs", "none", "--epochs", "1"]));
    let study = folder.path("searches/space");
    for (file, damage, expected) in [
        ("trials.jsonl", "{\"number\":1,\"st", "line 1 is corrupt"),
        ("trials.jsonl", "\n", "line 1 is corrupt"),
        ("space.toml", "[budget]\ntrials = 0\n", "budget.trials = 0"),
        ("space.toml", "[parameters", "line 1"),
    ] {
        let whole = read(&study.join(file));
        std::fs::write(study.join(file), damage).unwrap();
        let text = folder.fails(1, &search(&["searches/space", "--trials", "3"]));
        assert!(text.contains(file) && text.contains(expected), "{file}: {text}");
        assert_eq!(read(&study.join(file)), damage.as_bytes());
        std::fs::write(study.join(file), whole).unwrap();
    }
    folder.ok(&search(&["searches/space", "--trials", "3"]));
    assert_eq!(trials(&study).len(), 3);
}

#[test]
fn failed_trials_are_recorded_and_the_search_goes_on() {
    let folder = folder();
    // Most of these learning rates are far too large.
    let wild = SPACE.replace("high = 1e-2", "high = 1e30").replace("[1, 2]", "[]");
    std::fs::write(folder.path("wild.toml"), wild.replace("epochs = 4", "epochs = 1")).unwrap();
    let output = folder.run(&search(&["wild.toml"]));
    assert!(output.status.success(), "{}", stderr(&output));
    let trials = trials(&folder.path("searches/wild"));
    let failed: Vec<&Value> = trials.iter().filter(|t| t["state"] == "failed").collect();
    assert!(trials.len() == 8 && !failed.is_empty() && failed.len() < 8, "{trials:?}");
    assert!(failed.iter().all(|trial| !trial["reason"].as_str().unwrap().is_empty()));
    let nowhere = ["space.toml", "--name", "nowhere", "--set", "data.dataset=./nowhere/"];
    let text = folder.fails(1, &search(&nowhere));
    assert!(text.contains("nowhere") && self::trials(&folder.path("searches/nowhere")).is_empty());
    let mistaken = SPACE.replace("training.momentum", "training.momentun");
    std::fs::write(folder.path("mistaken.toml"), mistaken).unwrap();
    let text = folder.fails(1, &search(&["mistaken.toml"]));
    assert!(text.contains("mistaken.toml") && text.contains("momentun"), "{text}");
    assert!(!folder.path("searches/mistaken").exists());
}
