//! Results on a full disk, without permission, and after an interrupt.
#![cfg(unix)]

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::common::{Folder, metrics, quick, skipped, stderr, train};
use hvae_data::{Split, synthetic};
use hvae_runtime::npz;
use hvae_runtime::npz::Array;

const RUN: &str = "checkpoints/run";

const CLASSIFIER: [&str; 7] =
    ["classifier", "train", "--epochs", "1", "--images", "images.npz", "--test-images"];

/// Every command that writes, with `OUT/` for the output folder.
fn writers() -> Vec<Vec<&'static str>> {
    vec![
        [&["train"][..], &quick::MODEL, &["--runs", "OUT/runs"]].concat(),
        vec!["sample", RUN, "--out", "OUT/s.png"],
        vec!["sample", RUN, "--count", "30", "--out", "OUT/s.npz"],
        vec!["sample", RUN, "--count", "30", "--out", "OUT/s/"],
        vec!["reconstruct", RUN, "--count", "20", "--out", "OUT/r.png"],
        vec!["reconstruct", RUN, "--count", "20", "--out", "OUT/r.npz"],
        vec!["interpolate", RUN, "0", "1", "--out", "OUT/i.gif"],
        vec!["manifold", RUN, "--side", "4", "--out", "OUT/m.png"],
        vec!["denoise", RUN, "--steps", "3", "--out", "OUT/d.png"],
        vec!["relax", RUN, "--grid", "2x3", "--frames", "4", "--out", "OUT/x.gif"],
        vec!["report", RUN, "--out", "OUT/report.html"],
        vec!["export", RUN, "--out", "OUT/e.safetensors"],
        vec!["import", "e.safetensors", "--runs", "OUT/runs"],
        vec!["man", "--out", "OUT/man"],
        vec!["eval", RUN, "--count", "20", "--nll-images", "4", "--json", "OUT/e.json"],
        vec!["fid", "images.npz", "images.npz", "--json", "OUT/f.json"],
        vec!["fid", "images.npz", "images.npz", "--save-stats", "OUT/f.npz"],
        [&CLASSIFIER[..], &["images.npz", "--out", "OUT/k.safetensors"]].concat(),
        [&["compare", RUN][..], &quick::SCORES, &["--out", "OUT/c"]].concat(),
        [&["phase"][..], &quick::PHASE, &["--out", "OUT/p"]].concat(),
        [&["converge"][..], &quick::CONVERGE, &["--out", "OUT/v"]].concat(),
    ]
}

fn trained() -> Folder {
    let folder = Folder::new();
    mode(&folder.path("."), 0o755);
    folder.ok(&train("run", "320", "1"));
    folder.ok(&["export", RUN, "--out", "e.safetensors"]);
    let set = synthetic::synthetic(40, 1, Split::Train);
    let images = Array::U8(vec![40, 28, 28], set.bytes());
    let labels = Array::U8(vec![40], set.labels());
    npz::save(&folder.path("images.npz"), &[("images", images), ("labels", labels)]).unwrap();
    folder
}

/// The inputs are missing, too: the output is checked first.
#[test]
fn an_output_that_cannot_be_written_is_an_error_before_any_work() {
    let folder = Folder::new();
    std::fs::create_dir_all(folder.path("run")).unwrap();
    std::fs::write(folder.path("run/config.toml"), "").unwrap();
    std::fs::write(folder.path("file"), "").unwrap();
    for line in [
        "sample run --out file/s.png",
        "sample run --out file/s/",
        "reconstruct run --out file/r.npz",
        "interpolate run 0 1 --out file/i.gif",
        "manifold run --out file/m.png",
        "denoise run --out file/d.png",
        "relax run --out file/x.gif",
        "report run --out file/r.html",
        "export run --out file/e.safetensors",
        "eval run --json file/e.json",
        "fid run run --json file/f.json",
        "fid run run --save-stats file/f.npz",
        "weights fetch --url http://127.0.0.1:1/w.pth --out file/w.pth",
        "classifier train --images no.npz --test-images no.npz --out file/k.safetensors",
        "compare run --out file/c",
        "phase --out file/p",
        "converge --out file/v",
    ] {
        let text = folder.fails(1, &line.split(' ').collect::<Vec<_>>());
        assert!(text.contains("file/") && text.lines().count() == 1, "{line}: {text}");
    }
    assert_eq!(files(&folder.path(".")).len(), 2);
    // A device file is not tried.
    let folder = trained();
    folder.ok(&["fid", "images.npz", "images.npz", "--json", "/dev/stdout"]);
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// The arguments with a folder in place of `OUT`.
fn into(arguments: &[&str], out: &str) -> Vec<String> {
    arguments.iter().map(|argument| argument.replace("OUT", out)).collect()
}

/// The files in a folder, at any depth.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path.display().to_string());
        }
    }
    found
}

fn assert_refused(arguments: &[String], output: &Output, reason: &str) {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {text}");
    assert!(!text.contains("panicked"), "{arguments:?}: {text}");
    assert!(text.contains(reason) && text.contains("error:"), "{arguments:?}: {text}");
}

/// A file size limit of 0 imitates a full disk.
#[test]
fn a_full_disk_is_an_error_and_leaves_no_partial_file() {
    let folder = trained();
    std::fs::create_dir(folder.path("full")).unwrap();
    for writer in writers() {
        let arguments = into(&writer, "full");
        let script = "trap '' XFSZ; ulimit -f 0; exec \"$0\" \"$@\"";
        let mut command = Command::new("sh");
        command.args(["-c", script, env!("CARGO_BIN_EXE_hvae")]).args(&arguments);
        let output = command.current_dir(folder.path(".")).output().unwrap();
        assert_refused(&arguments, &output, "full/");
        assert_eq!(files(&folder.path("full")), Vec::<String>::new(), "{arguments:?}");
    }
}

#[test]
fn a_read_only_folder_is_named() {
    let folder = trained();
    let closed = folder.path("closed");
    std::fs::create_dir(&closed).unwrap();
    mode(&closed, 0o555);
    for writer in writers() {
        let arguments = into(&writer, "closed");
        let Some(output) = without_rights(&folder, &arguments) else { return };
        assert_refused(&arguments, &output, "closed");
        assert!(stderr(&output).contains("ermission denied"), "{}", stderr(&output));
        assert_eq!(files(&closed), Vec::<String>::new(), "{arguments:?}");
    }
}

/// Runs the program as a user whom permissions bind; `None` where that is not possible.
fn without_rights(folder: &Folder, arguments: &[String]) -> Option<Output> {
    let probe = folder.path("closed/probe");
    if std::fs::write(&probe, "").is_err() {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        return Some(folder.run(&arguments));
    }
    std::fs::remove_file(probe).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    command.arg(env!("CARGO_BIN_EXE_hvae")).args(arguments).current_dir(folder.path("."));
    match command.output() {
        Ok(output) if !stderr(&output).contains("setpriv") => Some(output),
        other => {
            skipped("rights", &format!("no way to drop superuser rights here: {other:?}"));
            None
        }
    }
}

#[test]
fn a_folder_in_the_place_of_a_file_is_an_error_and_kept() {
    let folder = trained();
    for name in ["s.npz", "m.png", "f.safetensors", "report.html"] {
        std::fs::create_dir(folder.path(name)).unwrap();
    }
    for (code, arguments) in [
        (1, ["export", RUN, "--out", "f.safetensors"]),
        (1, ["report", RUN, "--out", "report.html"]),
        (2, ["manifold", RUN, "--out", "m.png"]),
    ] {
        let text = folder.fails(code, &arguments);
        assert!(text.contains(arguments[3]), "{text}");
    }
    assert_eq!(files(&folder.path("m.png")), Vec::<String>::new());
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status();
    assert!(status.unwrap().success());
}

/// Waits until `is_so`.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_mins(1), "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn an_interrupted_command_removes_its_partial_files() {
    let folder = trained();
    std::fs::create_dir(folder.path("out")).unwrap();
    let mut command = folder.command(&["sample", RUN, "--count", "60000", "--out", "out/many/"]);
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    until("pictures are written", || !files(&folder.path("out")).is_empty());
    signal(&child, "INT");
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(130), "{:?}", status.signal());
    let left: Vec<_> = std::fs::read_dir(folder.path("out")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

/// `nohup hvae train` continues when the terminal is closed; without `nohup` it saves and ends.
#[test]
fn a_closed_terminal_ends_a_run_unless_it_ignores_the_signal() {
    let folder = Folder::new();
    for (name, trap) in [("heeding", ":"), ("ignoring", "trap '' HUP")] {
        let script = format!("{trap}; exec \"$0\" \"$@\"");
        let mut command = Command::new("sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_hvae")]).args(train(name, "640", "400"));
        let mut child =
            command.current_dir(folder.path(".")).stderr(Stdio::null()).spawn().unwrap();
        let run = folder.path(&format!("checkpoints/{name}"));
        let epochs = || if run.join("metrics.csv").exists() { metrics(&run).len() } else { 0 };
        until("an epoch ends", || epochs() > 0);
        signal(&child, "HUP");
        if name == "ignoring" {
            let before = epochs();
            until("it continues", || epochs() > before + 2);
            signal(&child, "INT");
        }
        assert_eq!(child.wait().unwrap().code(), Some(130), "{name}");
        assert!(epochs() < 400, "{name}");
    }
}
