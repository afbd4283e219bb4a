//! Runs that are moved, renamed, edited, started from others, listed and compared.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use hvae_runtime::npz::{self, Array};
use serde_json::Value;

use crate::common::{Folder, assert_same_run, json, metrics, newest, read, stderr, train};

/// Own images in `name`.
fn images(folder: &Folder, name: &str, shift: u8) {
    std::fs::create_dir_all(folder.path(name).parent().unwrap()).unwrap();
    let pixel = |i: usize| ((i * 7 + i / 784 * 31) % 251) as u8 ^ shift;
    let values: Vec<u8> = (0..80 * 784).map(pixel).collect();
    let array = Array::U8(vec![80, 28, 28], &values);
    npz::save(&folder.path(name), &[("images", array)]).unwrap();
}

/// `train`, on the images in `set`.
fn own<'a>(set: &'a str, name: &'a str, epochs: &'a str) -> Vec<&'a str> {
    let mut arguments = train(name, "64", epochs);
    let at = arguments.iter().position(|word| *word == "synthetic").unwrap();
    arguments[at] = set;
    let at = arguments.iter().position(|word| *word == "--test-images").unwrap();
    arguments.drain(at..at + 2);
    arguments
}

fn resume<'a>(run: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["train", "--threads", "1", "--resume", run][..], more].concat()
}

#[test]
fn a_run_goes_on_where_its_images_were_moved_to() {
    let folder = Folder::new();
    images(&folder, "data/a.npz", 0);
    images(&folder, "data/other.npz", 9);
    folder.ok(&own("data/a.npz", "straight", "3"));
    folder.ok(&own("data/a.npz", "moved", "1"));
    std::fs::rename(folder.path("data/a.npz"), folder.path("b.npz")).unwrap();
    let (run, two) = ("checkpoints/moved", ["--epochs", "2"]);
    let way = "hvae train --resume checkpoints/moved --dataset PATH";
    for command in [resume(run, &two), vec!["reconstruct", run], vec!["eval", run]] {
        let text = folder.fails(1, &command);
        assert!(text.contains(way) && text.contains("data/a.npz"), "{command:?}: {text}");
    }
    let text =
        folder.fails(1, &resume(run, &[&two[..], &["--dataset", "data/other.npz"]].concat()));
    assert!(text.contains("have changed") && text.contains("--from"), "{text}");
    folder.ok(&resume(run, &[&two[..], &["--dataset", "b.npz"]].concat()));
    folder.ok(&["reconstruct", run]);
    // The new place is kept; a finished run takes it, too.
    folder.ok(&resume(run, &["--epochs", "3"]));
    let [straight, moved] = ["checkpoints/straight", run].map(|run| folder.path(run));
    assert_eq!(metrics(&straight), metrics(&moved));
    let weights = |run: &Path| read(&newest(run).join("model.safetensors"));
    assert!(weights(&straight) == weights(&moved));
    std::fs::rename(folder.path("b.npz"), folder.path("c.npz")).unwrap();
    folder.ok(&resume(run, &["--dataset", "c.npz"]));
    folder.ok(&["reconstruct", run]);
}

/// The whole project in another place: the images are found as seen from the run.
#[test]
fn a_project_can_be_moved() {
    let folder = Folder::new();
    images(&folder, "old/a.npz", 0);
    let arguments = own("old/a.npz", "run", "1");
    folder.ok(&[&arguments[..], &["--runs", "old/runs"]].concat());
    std::fs::rename(folder.path("old"), folder.path("new")).unwrap();
    folder.ok(&["reconstruct", "new/runs/run"]);
    folder.ok(&resume("new/runs/run", &["--epochs", "2"]));
}

#[test]
fn a_run_without_a_checkpoint_starts_again() {
    let folder = Folder::new();
    folder.ok(&train("straight", "64", "1"));
    let straight = folder.path("checkpoints/straight");
    let config = read(&straight.join("config.toml"));
    let first = "step-00000000";
    for (name, how) in [
        ("a", train("a", "64", "1")),
        ("b", resume("checkpoints/b", &[])),
        ("c", train("c", "64", "1")),
    ] {
        let run = folder.path(&format!("checkpoints/{name}"));
        std::fs::create_dir_all(&run).unwrap();
        if name != "c" {
            std::fs::write(run.join("config.toml"), &config).unwrap();
            std::fs::create_dir(run.join(first)).unwrap();
        }
        folder.ok(&how);
        assert_same_run(&straight, &run);
    }
    // One that has trained is not.
    folder.fails(1, &train("a", "64", "1"));
}

/// Waits until `is_so`.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_mins(1), "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_run_that_is_renamed_while_it_trains_goes_on_there() {
    let folder = Folder::new();
    folder.ok(&train("straight", "640", "12"));
    let mut command = folder.command(&train("old", "640", "12"));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let [old, new] = ["old", "new"].map(|name| folder.path(&format!("checkpoints/{name}")));
    until("an epoch ends", || old.join("metrics.csv").exists());
    std::fs::rename(&old, &new).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), "checkpoints/new");
    assert!(!old.exists());
    assert_same_run(&folder.path("checkpoints/straight"), &new);
    // Removed, it ends with an error, and nothing is left.
    let mut command = folder.command(&train("gone", "640", "400"));
    child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let gone = folder.path("checkpoints/gone");
    until("an epoch ends", || gone.join("metrics.csv").exists());
    std::fs::rename(&gone, folder.path("trash")).unwrap();
    // Training continues in the renamed folder and may add a file while it is being removed.
    until("it is removed", || std::fs::remove_dir_all(folder.path("trash")).is_ok());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("was removed or moved"), "{}", stderr(&output));
    assert!(!gone.exists());
}

#[test]
fn an_edited_state_is_not_believed() {
    let folder = Folder::new();
    folder.ok(&train("run", "64", "2"));
    let run = folder.path("checkpoints/run");
    let path = newest(&run).join("state.json");
    let whole = String::from_utf8(read(&path)).unwrap();
    for (from, to) in [
        ("\"step\": 4", "\"step\": 400"),
        ("\"epoch\": 2", "\"epoch\": 1"),
        ("\"optimizer_steps\": 4", "\"optimizer_steps\": 3"),
        ("\"learning_rate\": 0.008", "\"learning_rate\": 0.009"),
    ] {
        assert!(whole.contains(from), "{from}: {whole}");
        std::fs::write(&path, whole.replace(from, to)).unwrap();
        for command in
            [resume("checkpoints/run", &["--epochs", "3"]), vec!["sample", "checkpoints/run"]]
        {
            let text = folder.fails(1, &command);
            assert!(text.contains("state.json is corrupt"), "{to}: {text}");
            // The reason is before the advice.
            let at = |part| text.find(part).unwrap();
            assert!(at("is corrupt") < at("to go back to one"), "{text}");
        }
    }
    std::fs::write(&path, &whole).unwrap();
    folder.ok(&resume("checkpoints/run", &["--epochs", "3"]));
}

#[test]
fn a_run_starts_from_the_weights_of_another() {
    let folder = Folder::new();
    folder.ok(&train("base", "64", "2"));
    let base = "checkpoints/base";
    let text = folder.fails(2, &resume(base, &["--learning-rate", "0.1"]));
    assert!(text.contains("--from"), "{text}");
    let more = ["--learning-rate", "0.001", "--epochs", "1", "--name", "fine", "--threads", "1"];
    folder.ok(&[&["train", "--from", base][..], &more].concat());
    let fine = folder.path("checkpoints/fine");
    let config = String::from_utf8(read(&fine.join("config.toml"))).unwrap();
    assert!(
        config.contains("learning_rate = 0.001") && config.contains("hidden = [24]"),
        "{config}"
    );
    let origin = json(&fine.join("origin.json"));
    assert_eq!(origin["step"], 4);
    assert!(folder.ok(&["show", "checkpoints/fine"]).contains("first weights from"));
    // Its first weights are those that the other run is used with.
    let weights = |run: &Path, file: &str| read(&run.join(file));
    let first = weights(&fine, "step-00000000/model.safetensors");
    assert!(first == weights(&newest(&folder.path(base)), "ema.safetensors"));
    // From an earlier step, and a shape that does not fit.
    let earlier =
        ["train", "--from", base, "--checkpoint", "2", "--name", "early", "--epochs", "1"];
    folder.ok(&[&earlier[..], &["--threads", "1"]].concat());
    assert_eq!(json(&folder.path("checkpoints/early/origin.json"))["step"], 2);
    let text = folder.fails(1, &["train", "--from", base, "--latent", "5", "--name", "no"]);
    assert!(text.contains("does not fit") && !folder.path("checkpoints/no").exists(), "{text}");
    let text = folder.fails(1, &["sample", base, "--checkpoint", "77"]);
    assert!(text.contains("step-00000077") && text.contains("step-00000004"), "{text}");
}

#[test]
fn outputs_do_not_replace_the_files_of_a_run() {
    let folder = Folder::new();
    folder.ok(&train("run", "64", "1"));
    let run = "checkpoints/run";
    let inside = |name: &str| format!("{run}/{name}");
    let whole = read(&folder.path(&inside("config.toml")));
    let weights = inside("step-00000002/model.safetensors");
    let (environment, picture) = (inside("environment.json"), inside("samples/epoch-0001.png"));
    let config = inside("config.toml");
    for (code, command) in [
        (1, vec!["export", run, "--out", &weights]),
        (1, vec!["eval", run, "--json", &environment]),
        (1, vec!["sample", run, "--out", &picture]),
        (2, vec!["export", run, "--out", &config]),
        (2, vec!["report", run, "--out", &config]),
        (2, vec!["eval", run, "--json", &config]),
        (2, vec!["gradcheck", run, "--json", "notes.txt"]),
    ] {
        folder.fails(code, &command);
    }
    assert!(read(&folder.path(&config)) == whole);
    folder.ok(&["sample", run]);
    let output = folder.run(&["sample", run]);
    assert!(stderr(&output).contains("samples.png exists already and will be replaced"));
}

/// With `--json -` standard output is JSON and nothing else.
#[test]
fn every_result_can_be_json() {
    let folder = Folder::new();
    let parse = |text: String| serde_json::from_str::<Value>(&text).expect(&text);
    let trained = [&train("run", "64", "1")[..], &["--json", "-"]].concat();
    let found = parse(folder.ok(&trained));
    assert_eq!((&found["run"], &found["epochs"]), (&"checkpoints/run".into(), &1.into()));
    let latents = found["last"]["latents"].clone();
    assert_eq!(latents["kl"].as_array().unwrap().len(), 4);
    let sum: f64 = latents["kl"].as_array().unwrap().iter().map(|kl| kl.as_f64().unwrap()).sum();
    assert!((sum - found["last"]["test"]["kl"].as_f64().unwrap()).abs() < 1e-3, "{found}");
    let run = "checkpoints/run";
    let scores = ["--count", "20", "--nll-images", "3", "--nll-samples", "2"];
    for (command, key) in [
        (vec!["runs", "--json", "-"], "config"),
        (vec!["show", run, "--json"], "checkpoints"),
        (vec!["devices", "--json", "-"], "auto"),
        (vec!["reconstruct", run, "--json", "-"], "reconstruction_error"),
        (vec!["denoise", run, "--steps", "2", "--json", "-"], "after"),
        (vec!["fid", run, run, "--count", "12", "--json", "-"], "fid"),
        ([&["eval", run, "--json", "-"][..], &scores].concat(), "prior"),
        ([&["compare", run, "--json", "-"][..], &scores].concat(), "runs"),
    ] {
        let found = parse(folder.ok(&command));
        assert!(!found[key].is_null(), "{command:?}: {found}");
    }
    // By default the sample has 64 images, of which there are fewer here.
    let few = [&train("few", "64", "1")[..], &["--test-images", "7"]].concat();
    let at = few.iter().position(|word| *word == "100").unwrap();
    let mut few = few;
    few.drain(at - 1..=at);
    folder.ok(&few);
    let found = parse(folder.ok(&["gradcheck", "checkpoints/few", "--json", "-"]));
    assert!(found[0]["all"]["cosine"].as_f64().unwrap() > 0.9, "{found}");
}

/// What cannot be computed is `-` with its reason; the rest is printed and written.
#[test]
fn scores_that_there_are_are_kept() {
    let folder = Folder::new();
    for (name, test) in [("four", "4"), ("one", "1")] {
        let mut arguments = train(name, "32", "1");
        let at = arguments.iter().position(|word| *word == "100").unwrap();
        arguments[at] = test;
        folder.ok(&arguments);
    }
    let scores = ["--count", "20", "--nll-images", "3", "--nll-samples", "2"];
    let eval = |run| folder.ok(&[&["eval", run][..], &scores].concat());
    let table = eval("checkpoints/four");
    for part in [
        "no precision and recall, prior: 5 neighbours need more than 5 images",
        "GMM prior (10 components): a mixture of 10 Gaussians of 4 dimensions needs at least 50",
    ] {
        assert!(table.contains(part), "{part}: {table}");
    }
    let found = json(&folder.path("checkpoints/four/evaluation-count20-nll3x2.json"));
    assert!(found["prior"]["fid"].is_number() && found["elbo"].is_number(), "{found}");
    assert!(found["mixture"]["fid"].is_null() && found["prior"].get("precision").is_none());
    assert!(eval("checkpoints/one").contains("no FID, KID, precision and recall"));
    let runs = ["compare", "checkpoints/four", "checkpoints/one", "--out", "out"];
    folder.ok(&[&runs[..], &scores].concat());
    // A broken run does not take the others with it.
    let weights = newest(&folder.path("checkpoints/one")).join("ema.safetensors");
    std::fs::write(weights, "").unwrap();
    let text = folder.fails(1, &[&runs[..], &scores].concat());
    assert!(text.contains("checkpoints/one could not be scored"), "{text}");
    let rows = json(&folder.path("out/compare.json"));
    assert!(rows["runs"][0]["scores"]["elbo"].is_number() && rows["runs"][1]["scores"].is_null());
}

#[test]
fn runs_are_sorted_plotted_and_told_when_broken() {
    let folder = Folder::new();
    for (name, rate) in [("a", "0.001"), ("b", "0.02"), ("c", "0.005")] {
        folder.ok(&[&train(name, "320", "2")[..], &["--learning-rate", rate]].concat());
    }
    std::fs::create_dir(folder.path("checkpoints/lost")).unwrap();
    std::fs::write(folder.path("checkpoints/lost/latest"), "step-00000005").unwrap();
    std::fs::write(folder.path("checkpoints/a/evaluation.json"), r#"{"prior": {"fid": 12.3456}}"#)
        .unwrap();
    let output = folder.run(&["runs", "--sort", "elbo"]);
    assert!(output.status.success() && stderr(&output).contains("checkpoints/lost"));
    let table = String::from_utf8(output.stdout).unwrap();
    let elbo = |name: &str| {
        let epoch = metrics(&folder.path(&format!("checkpoints/{name}"))).pop().unwrap();
        epoch["test"]["elbo"].as_f64().unwrap()
    };
    let mut names = ["a", "b", "c"];
    names.sort_by(|a, b| elbo(b).total_cmp(&elbo(a)));
    let listed: Vec<_> = table.lines().skip(1).map(|line| &line[12..13]).collect();
    assert_eq!(listed, names, "{table}");
    assert!(table.contains("12.35") && table.contains("0.02"), "{table}");
    let [a, b, c] = ["checkpoints/a", "checkpoints/b", "checkpoints/c"];
    folder.ok(&["runs", "--plot", a, b, c, "--out", "curves.png"]);
    let picture = image::open(folder.path("curves.png")).unwrap().into_luma8();
    assert!(picture.width() > 900 && picture.pixels().any(|pixel| pixel.0[0] < 128));
    let drawn = String::from_utf8(read(&folder.path("curves.svg"))).unwrap();
    assert!([a, b, c, "Evidence lower bound"].iter().all(|part| drawn.contains(part)));
}

#[test]
fn collapse_and_broken_dynamics_are_told_with_what_to_do() {
    let folder = Folder::new();
    let told = |more: &[&str], parts: &[&str]| {
        let base = train("run", "640", "4");
        let output = folder.run(&[&base[..], &["--set", "training.warmup_steps=5"], more].concat());
        let text = stderr(&output);
        assert!(parts.iter().all(|part| text.contains(part)), "{more:?}: {text}");
        let _ = std::fs::remove_dir_all(folder.path("checkpoints"));
    };
    let deep = ["16"; 25].join(",");
    told(
        &["--hidden", &deep, "--set", "model.hidden_gain=0.3"],
        &["step 0", "no step was taken", "raise the gains"],
    );
    told(&["--kl-weight", "1000"], &["of 4 latents", "active", "lower training.kl_weight"]);
}
