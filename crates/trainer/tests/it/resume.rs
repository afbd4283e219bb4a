//! Runs that are killed, out of disk space or out of patience, and how they resume.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::common::{Folder, assert_same_run, metrics, newest, read, skipped, stderr, train};
use hvae::run::{CheckpointChoice, RunDir};
use hvae::training::new_model;
use hvae_runtime::rng;
use hvae_runtime::rng::Stream;
use rand::RngExt;

/// Kills in all.
const KILLS: usize = 60;

/// A run that uses everything of a checkpoint: averaged weights, two best, some within epochs.
fn rich(name: &str) -> Vec<&str> {
    let mut arguments = train(name, "480", "8");
    for setting in [
        "training.ema_decay=0.9",
        "training.checkpoint_every=4",
        "training.keep_best=2",
        "training.keep_checkpoints=2",
        "training.evaluate_every=2",
    ] {
        arguments.extend(["--set", setting]);
    }
    arguments
}

/// Loads the checkpoints that the run's pointers name; whether there is one.
fn pointers_load(run: &Path) -> bool {
    if !run.join("latest").exists() {
        return false;
    }
    let run = RunDir::open(run).unwrap();
    let config = run.config().unwrap();
    let fresh = || new_model(&config, &burn::tensor::Device::flex()).unwrap();
    run.load_model(CheckpointChoice::Latest, &config, fresh()).unwrap();
    if run.path().join("best").exists() {
        run.load_model(CheckpointChoice::Best, &config, fresh()).unwrap();
    }
    true
}

/// SIGKILL at random moments, from the first millisecond to late in training. A killed and resumed
/// run ends with the same bits as one that was not killed.
#[test]
fn killed_at_any_moment_a_run_loses_only_the_steps_since_its_checkpoint() {
    let folder = Folder::new();
    folder.ok(&rich("straight"));
    let straight = folder.path("checkpoints/straight");
    let mut rng = rng::generator(7, Stream::Starts, 0);
    let (mut kills, mut number) = (0, 0);
    while kills < KILLS {
        number += 1;
        let name = format!("killed-{number}");
        let run = folder.path(&format!("checkpoints/{name}"));
        let shown = format!("checkpoints/{name}");
        loop {
            let arguments = if pointers_load(&run) {
                vec!["train", "--resume", &shown, "--threads", "1"]
            } else {
                // What is left of it, if anything, does not stand in the way.
                rich(&name)
            };
            let mut command = folder.command(&arguments);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            let mut child = command.spawn().unwrap();
            // After enough kills the last run may finish.
            if kills < KILLS {
                std::thread::sleep(Duration::from_millis(rng.random_range(0..250)));
                let _ = child.kill();
            }
            let status = child.wait().unwrap();
            match status.code() {
                Some(0) => break,
                Some(code) => panic!("{arguments:?} ended with {code}"),
                None => kills += 1,
            }
        }
        assert_same_run(&straight, &run);
        assert_eq!(read(&straight.join("best")), read(&run.join("best")));
    }
}

/// A limit on the size of files simulates a full disk.
#[test]
fn a_full_disk_is_an_error_and_the_last_checkpoint_stays() {
    let folder = Folder::new();
    folder.ok(&train("straight", "320", "3"));
    folder.ok(&train("full", "320", "1"));
    let run = folder.path("checkpoints/full");
    let before = read(&run.join("latest"));
    let program = env!("CARGO_BIN_EXE_hvae");
    let script = format!(
        "trap '' XFSZ; ulimit -f 40; \
         exec {program} train --resume checkpoints/full --epochs 3 --threads 1"
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script]).current_dir(folder.path("."));
    let output = command.output().unwrap();
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("writ") && !text.contains("panicked"), "{text}");
    assert_eq!(read(&run.join("latest")), before, "{text}");
    assert!(pointers_load(&run));
    folder.ok(&["train", "--resume", "checkpoints/full", "--epochs", "3", "--threads", "1"]);
    assert_same_run(&folder.path("checkpoints/straight"), &run);
}

#[cfg(unix)]
#[test]
fn a_read_only_folder_is_an_error_that_names_it() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    let closed = folder.path("closed");
    std::fs::create_dir(&closed).unwrap();
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(&folder.path("."), 0o755);
    mode(&closed, 0o555);
    let mut arguments = train("run", "64", "1");
    arguments.extend(["--runs", "closed"]);
    let may_write = std::fs::write(closed.join("probe"), "").is_ok();
    let output = if may_write {
        // Permissions do not apply to the superuser: run as nobody.
        let _ = std::fs::remove_file(closed.join("probe"));
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        command.arg(env!("CARGO_BIN_EXE_hvae")).args(&arguments);
        let output = command.current_dir(folder.path(".")).output();
        match output {
            Ok(output) if !stderr(&output).contains("setpriv") => output,
            other => {
                let reason = format!("cannot drop the superuser's rights here: {other:?}");
                return skipped("rights", &reason);
            }
        }
    } else {
        folder.run(&arguments)
    };
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("closed/run") && text.contains("ermission"), "{text}");
    assert_eq!(std::fs::read_dir(&closed).unwrap().count(), 0);
}

#[test]
fn out_of_patience_a_run_ends_and_says_how_to_continue() {
    let folder = Folder::new();
    let mut arguments = train("run", "128", "9");
    // The learning rate is too small to change a weight: no evaluation beats the first.
    arguments.extend(["--learning-rate", "1e-30", "--patience", "2"]);
    let output = folder.run(&arguments);
    let text = stderr(&output);
    assert!(output.status.success() && text.contains("--patience"), "{text}");
    let run = folder.path("checkpoints/run");
    assert_eq!(metrics(&run).len(), 3);
    let output = folder.run(&["train", "--resume", "checkpoints/run", "--epochs", "20"]);
    assert!(output.status.success() && stderr(&output).contains("stopped after 3 epochs"));
    assert_eq!(metrics(&run).len(), 3);
    folder.ok(&["train", "--resume", "checkpoints/run", "--patience", "4", "--threads", "1"]);
    assert_eq!(metrics(&run).len(), 5);
}

#[test]
fn epochs_without_an_evaluation_have_no_validation_loss() {
    let folder = Folder::new();
    let mut arguments = train("run", "128", "5");
    arguments.extend(["--set", "training.evaluate_every=2"]);
    folder.ok(&arguments);
    let run = folder.path("checkpoints/run");
    let evaluated: Vec<bool> = metrics(&run).iter().map(|m| !m["test"].is_null()).collect();
    assert_eq!(evaluated, [false, true, false, true, true], "every second, and the last");
    let table = String::from_utf8(read(&run.join("metrics.csv"))).unwrap();
    let header: Vec<&str> = table.lines().next().unwrap().split(',').collect();
    let column = header.iter().position(|name| *name == "test.elbo").unwrap();
    let cells: Vec<bool> =
        table.lines().skip(1).map(|l| l.split(',').nth(column).unwrap().is_empty()).collect();
    assert_eq!(cells, [true, false, true, false, false]);
    assert!(!run.join("samples/epoch-0001.png").exists());
    assert!(run.join("samples/epoch-0002.png").exists());
}

#[test]
fn sgd_resumes_exactly() {
    let folder = Folder::new();
    let sgd = |name, epochs| {
        let mut arguments = train(name, "320", epochs);
        for setting in
            ["training.optimizer=sgd", "training.schedule=linear", "training.learning_rate=1e-4"]
        {
            arguments.extend(["--set", setting]);
        }
        folder.ok(&arguments);
    };
    sgd("long", "3");
    sgd("short", "1");
    folder.ok(&["train", "--resume", "checkpoints/short", "--epochs", "3", "--threads", "1"]);
    let (long, short) = (folder.path("checkpoints/long"), folder.path("checkpoints/short"));
    assert_same_run(&long, &short);
    assert!(!newest(&long).join("moment2.safetensors").exists(), "its state is one velocity");
    let error = |m: &serde_json::Value| m["test"]["reconstruction_error"].as_f64().unwrap();
    let metrics = metrics(&long);
    assert!(error(&metrics[2]) < error(&metrics[0]), "no learning: {metrics:?}");
}

#[test]
fn averaged_weights_are_exported() {
    let folder = Folder::new();
    let mut arguments = train("run", "320", "2");
    arguments.extend(["--set", "training.ema_decay=0.99"]);
    folder.ok(&arguments);
    let run = RunDir::open(&folder.path("checkpoints/run")).unwrap();
    let checkpoint = newest(run.path());
    let [model, average] =
        ["model.safetensors", "ema.safetensors"].map(|file| read(&checkpoint.join(file)));
    assert!(model != average, "the average is over many steps");
    folder.ok(&["export", "checkpoints/run", "--out", "m.safetensors"]);
    folder.ok(&["import", "m.safetensors", "--name", "copy", "--set", "training.epochs=1"]);
    let copy = read(&newest(&folder.path("checkpoints/copy")).join("model.safetensors"));
    assert!(copy == average, "the average is exported");
}
