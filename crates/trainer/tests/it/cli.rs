//! The program as a user runs it, in a temporary folder, on synthetic data.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{Folder, assert_same_run, metrics, newest, read, stderr, train};

#[test]
fn missing_data_are_named_with_what_to_do() {
    let folder = Folder::new();
    let output = folder.command(&["train"]).env("PATH", folder.path("empty")).output().unwrap();
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for name in ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte", "datasets/mnist"] {
        assert!(text.contains(name), "{name}: {text}");
    }
    assert!(!folder.path("checkpoints").exists());
}

#[test]
fn a_run_is_trained_sampled_and_reconstructed() {
    let folder = Folder::new();
    let shown = folder.ok(&train("tiny", "640", "3"));
    assert_eq!(shown.trim(), "checkpoints/tiny");
    let run = folder.path("checkpoints/tiny");
    let metrics = metrics(&run);
    assert_eq!(metrics.len(), 3);
    let error = |m: &serde_json::Value| m["test"]["reconstruction_error"].as_f64().unwrap();
    assert!(error(&metrics[2]) < error(&metrics[0]), "no learning: {metrics:?}");
    for file in ["config.toml", "best", "samples/epoch-0003.png", "reconstructions/epoch-0003.png"]
    {
        assert!(run.join(file).is_file(), "{file}");
    }

    let run = "checkpoints/tiny";
    let two = ["--plain", "--scale", "2", "--out", "grid.png"];
    folder.ok(&[&["sample", run, "--grid", "2x5"], &two[..]].concat());
    // Two rows of five images of 28 x 28 at two pixels a pixel, with gaps between them.
    let (width, height) = image::image_dimensions(folder.path("grid.png")).unwrap();
    assert!((280..300).contains(&width) && (112..132).contains(&height), "{width} x {height}");
    folder.ok(&["sample", run, "--count", "7", "--seed", "3", "--out", "a.npz"]);
    folder.ok(&["sample", run, "--count", "7", "--seed", "3", "--out", "b.npz"]);
    folder.ok(&["sample", run, "--count", "7", "--seed", "4", "--out", "c.npz"]);
    assert!(read(&folder.path("a.npz")) == read(&folder.path("b.npz")));
    assert!(read(&folder.path("a.npz")) != read(&folder.path("c.npz")));
    // More than a batch, as it is drawn for a score.
    folder.ok(&["sample", run, "--count", "1100", "--seed", "3", "--out", "many.npz"]);
    let mut many = npyz::npz::NpzArchive::open(folder.path("many.npz")).unwrap();
    let many: Vec<f32> = many.by_name("images").unwrap().unwrap().into_vec().unwrap();
    let mut few = npyz::npz::NpzArchive::open(folder.path("a.npz")).unwrap();
    let few: Vec<f32> = few.by_name("images").unwrap().unwrap().into_vec().unwrap();
    assert_eq!(many.len(), 1100 * 784);
    let close = few.iter().zip(&many).all(|(a, b)| (a - b).abs() < 1e-3);
    assert!(close, "the same seed, the same first samples");
    folder.ok(&["sample", run, "--count", "3", "--out", "pictures"]);
    assert_eq!(std::fs::read_dir(folder.path("pictures")).unwrap().count(), 3);
    let text = folder.fails(2, &["sample", run, "--count", "101", "--out", "x.png"]);
    assert!(text.contains("--grid"), "{text}");
    let text = folder.fails(2, &["sample", run, "--out", "x.jpg"]);
    assert!(text.contains(".npz"), "{text}");

    folder.ok(&["reconstruct", run, "--count", "20", "--out", "pairs.png"]);
    folder.ok(&["reconstruct", run, "--count", "20", "--out", "pairs.npz"]);
    let mut pairs = npyz::npz::NpzArchive::open(folder.path("pairs.npz")).unwrap();
    for (name, shape) in
        [("inputs", vec![20, 28, 28]), ("images", vec![20, 28, 28]), ("labels", vec![20])]
    {
        let array = pairs.by_name(name).unwrap().unwrap();
        assert_eq!(array.shape(), shape, "{name}");
    }

    let text = folder.fails(1, &train("tiny", "640", "3"));
    assert!(text.contains("--resume"), "an existing run is not written over: {text}");
    let output = folder.run(&["train", "--resume", run]);
    assert!(output.status.success() && stderr(&output).contains("has completed its 3 epochs"));
    folder.ok(&["train", "--resume", run, "--epochs", "4"]);
    assert!(folder.path("checkpoints/tiny/samples/epoch-0004.png").is_file());
}

#[test]
fn the_backpropagation_baseline_trains_and_has_no_relaxation() {
    let folder = Folder::new();
    let mut arguments = train("forward", "640", "3");
    arguments.extend(["--model", "f-vae"]);
    folder.ok(&arguments);
    let run = folder.path("checkpoints/forward");
    let metrics = metrics(&run);
    let error = |m: &serde_json::Value| m["test"]["reconstruction_error"].as_f64().unwrap();
    assert!(error(&metrics[2]) < error(&metrics[0]), "no learning: {metrics:?}");
    assert!(metrics[0]["loop_gains"].is_null(), "no feedback, no loop gain");
    folder.ok(&["sample", "checkpoints/forward", "--grid", "1x2", "--out", "grid.png"]);
    let text = folder.fails(1, &["gradcheck", "checkpoints/forward"]);
    assert!(text.contains("backpropagation"), "{text}");
}

#[test]
fn gradcheck_shows_exact_gradients() {
    let folder = Folder::new();
    let table = folder.ok(&[
        "gradcheck",
        "--set",
        "data.dataset=synthetic",
        "--set",
        "model.hidden=[24]",
        "--set",
        "model.hidden_activation=tanh",
        "--nudge",
        "0.01",
        "--images",
        "16",
    ]);
    let cosines = cosines(&table);
    assert_eq!(cosines.len(), 11, "{table}");
    assert!(cosines.iter().all(|&c| c >= 0.999), "{table}");
}

/// The column of cosines of `hvae gradcheck`.
fn cosines(table: &str) -> Vec<f64> {
    let cosine = |line: &str| line.split_whitespace().rev().nth(1).unwrap().parse().unwrap();
    table.lines().skip(1).map(cosine).collect()
}

/// Waits until the run has finished an epoch.
fn wait_for_an_epoch(child: &mut Child, run: &Path) {
    let started = Instant::now();
    while !run.join("metrics.jsonl").exists() {
        assert!(child.try_wait().unwrap().is_none(), "ended before its first epoch");
        assert!(started.elapsed() < Duration::from_mins(2), "no epoch");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn signal(child: &Child, name: &str) {
    let kill = format!("kill {name} {}", child.id());
    let status = Command::new("sh").args(["-c", &kill]).status().unwrap();
    assert!(status.success());
}

#[test]
fn an_interrupted_run_saves_and_ends_where_the_uninterrupted_one_does() {
    let folder = Folder::new();
    folder.ok(&train("straight", "2048", "12"));
    let arguments = train("stopped", "2048", "12");
    let mut child =
        folder.command(&arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let run = folder.path("checkpoints/stopped");
    wait_for_an_epoch(&mut child, &run);
    std::thread::sleep(Duration::from_millis(20));
    signal(&child, "-INT");
    let output = child.wait_with_output().unwrap();
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(130), "{text}");
    assert!(text.contains("hvae train --resume checkpoints/stopped"), "{text}");
    let state: serde_json::Value =
        serde_json::from_slice(&read(&newest(&run).join("state.json"))).unwrap();
    assert!(state["step"].as_u64().unwrap() < 12 * 64, "was not interrupted: {state}");
    folder.ok(&["train", "--resume", "checkpoints/stopped", "--threads", "1"]);
    assert_same_run(&folder.path("checkpoints/straight"), &run);
}

#[test]
fn a_killed_run_resumes_from_its_last_checkpoint() {
    let folder = Folder::new();
    folder.ok(&train("straight", "1024", "4"));
    let run = folder.path("checkpoints/killed");
    let mut child =
        folder.command(&train("killed", "1024", "4")).stderr(Stdio::null()).spawn().unwrap();
    wait_for_an_epoch(&mut child, &run);
    child.kill().unwrap();
    child.wait().unwrap();
    for delay in [60, 130, 10] {
        let mut child = folder
            .command(&["train", "--resume", "checkpoints/killed", "--threads", "1"])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(delay));
        let _ = child.kill();
        child.wait().unwrap();
    }
    folder.ok(&["train", "--resume", "checkpoints/killed", "--threads", "1"]);
    assert_same_run(&folder.path("checkpoints/straight"), &run);
    let leftovers = std::fs::read_dir(&run).unwrap().filter(|entry| {
        entry.as_ref().unwrap().file_name().to_string_lossy().starts_with(".partial-")
    });
    assert_eq!(leftovers.count(), 0);
}

#[test]
fn damaged_checkpoints_are_named_and_never_used() {
    let folder = Folder::new();
    folder.ok(&train("run", "256", "1"));
    let run = folder.path("checkpoints/run");
    let checkpoint = newest(&run);
    // Samples are drawn with the averaged weights.
    let model = checkpoint.join("ema.safetensors");
    let whole = read(&model);
    let sample = ["sample", "checkpoints/run"];
    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 1;
    for bytes in [flipped, whole[..whole.len() / 2].to_vec(), Vec::new(), b"<html>".to_vec()] {
        std::fs::write(&model, bytes).unwrap();
        let text = folder.fails(1, &sample);
        assert!(text.contains("ema.safetensors"), "{text}");
    }
    std::fs::write(&model, &whole).unwrap();
    folder.ok(&sample);

    let state = checkpoint.join("state.json");
    let text = String::from_utf8(read(&state)).unwrap();
    for damaged in
        [text.replace("\"format\": 2", "\"format\": 99"), text[..text.len() / 2].to_owned()]
    {
        std::fs::write(&state, damaged).unwrap();
        let text = folder.fails(1, &sample);
        assert!(text.contains("state.json"), "{text}");
    }
    std::fs::write(&state, text).unwrap();

    std::fs::write(run.join("latest"), "../../elsewhere\n").unwrap();
    let text = folder.fails(1, &sample);
    assert!(text.contains("latest"), "{text}");
    std::fs::remove_file(run.join("latest")).unwrap();
    let text = folder.fails(1, &["train", "--resume", "checkpoints/run"]);
    assert!(text.contains("latest is missing"), "{text}");
}

/// Held-out images change the validation loss, and no weight.
#[test]
fn the_validation_loss_is_of_held_out_images() {
    let folder = Folder::new();
    let held = ["--set", "data.validation_images=100", "--trace-device"];
    folder.ok(&train("plain", "256", "1"));
    let output = folder.run(&[&train("held", "256", "1")[..], &held].concat());
    let messages = stderr(&output);
    assert!(output.status.success(), "{messages}");
    let traced = messages.lines().find(|line| line.contains("per step after the first")).unwrap();
    assert!(traced.contains("reads of the device") && traced.contains("uploads"), "{traced}");
    let run = |name: &str| folder.path("checkpoints").join(name);
    let weights = |name: &str| read(&newest(&run(name)).join("model.safetensors"));
    assert_eq!(weights("plain"), weights("held"));
    let losses = |name: &str| {
        let line = String::from_utf8(read(&run(name).join("metrics.jsonl"))).unwrap();
        let metrics: serde_json::Value = serde_json::from_str(&line).unwrap();
        ["train", "test"].map(|part| metrics[part]["elbo"].as_f64().unwrap())
    };
    let (plain, held) = (losses("plain"), losses("held"));
    assert!((plain[0] - held[0]).abs() < 1e-9);
    assert!((plain[1] - held[1]).abs() > 1e-3, "{plain:?} {held:?}");
    assert!(messages.contains(" validation  KL"), "{messages}");
    let listed = folder.ok(&["runs", "--runs", "checkpoints"]);
    let line = |name: &str| listed.lines().find(|l| l.contains(name)).unwrap().to_owned();
    assert!(line("held").contains("(validation)") && !line("plain").contains('('), "{listed}");
    folder.ok(&["report", "checkpoints/held", "--out", "held.html"]);
    let page = String::from_utf8(read(&folder.path("held.html"))).unwrap();
    assert!(
        page.contains("row of validation images") && page.contains("</i>validation"),
        "no legend"
    );
    folder.ok(&["train", "--resume", "checkpoints/held", "--epochs", "2"]);
}

/// At the default sizes and threads, where products are split among threads.
#[test]
fn a_run_that_is_extended_ends_where_a_long_one_does() {
    let folder = Folder::new();
    let train = |name: &str, epochs: &str| {
        folder.ok(&[
            "train",
            "--dataset",
            "synthetic",
            "--test-images",
            "200",
            "--train-images",
            "1000",
            "--name",
            name,
            "--epochs",
            epochs,
        ]);
    };
    train("long", "2");
    train("short", "1");
    folder.ok(&["train", "--resume", "checkpoints/short", "--epochs", "2"]);
    let (long, short) = (folder.path("checkpoints/long"), folder.path("checkpoints/short"));
    assert_same_run(&long, &short);
    // Settings shipped by default give exact gradients, also after training.
    let table = folder.ok(&["gradcheck", "checkpoints/long", "--images", "32"]);
    assert!(cosines(&table).iter().all(|&c| c >= 0.999), "{table}");
}

/// Batches are cut into parts of a fixed size, and sums are taken in a fixed order.
#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    let folder = Folder::new();
    for kind in ["f-vae", "h-vae", "th-vae", "dh-vae", "tdh-vae"] {
        let run = |threads: &str| {
            let name = format!("{kind}-{threads}");
            let mut arguments = vec!["train", "--model", kind, "--name", &name];
            arguments.extend(["--dataset", "synthetic", "--test-images", "70"]);
            arguments.extend(["--train-images", "200", "--batch-size", "100", "--epochs", "1"]);
            arguments.extend(["--set", "model.hidden=[60]", "--threads", threads]);
            folder.ok(&arguments);
            folder.path(&format!("checkpoints/{name}"))
        };
        let one = run("1");
        for threads in ["2", "7"] {
            assert_same_run(&one, &run(threads));
        }
    }
}

/// A kill between writing a checkpoint and pointing at it leaves a folder beyond `latest`, and so
/// does going back by hand.
#[test]
fn a_checkpoint_beyond_the_latest_is_replaced() {
    let folder = Folder::new();
    folder.ok(&train("straight", "320", "3"));
    folder.ok(&train("back", "320", "3"));
    let run = folder.path("checkpoints/back");
    let steps = |path: &Path| {
        let names = std::fs::read_dir(path).unwrap().map(|e| e.unwrap().file_name());
        let mut names: Vec<_> = names.map(|n| n.into_string().unwrap()).collect();
        names.retain(|n| n.starts_with("step-"));
        names.sort();
        names
    };
    let all = steps(&run);
    std::fs::write(run.join("latest"), format!("{}\n", all[0])).unwrap();
    let newest = run.join(all.last().unwrap()).join("model.safetensors");
    std::fs::write(newest, "not the weights of this run").unwrap();
    folder.ok(&["train", "--resume", "checkpoints/back", "--threads", "1"]);
    assert_same_run(&folder.path("checkpoints/straight"), &run);
    assert_eq!(steps(&run), steps(&folder.path("checkpoints/straight")));
}

#[test]
fn a_changed_configuration_is_refused_by_name() {
    let folder = Folder::new();
    folder.ok(&train("run", "256", "1"));
    let path = folder.path("checkpoints/run/config.toml");
    let config = String::from_utf8(read(&path)).unwrap();
    std::fs::write(&path, config.replace("batch_size = 32", "batch_size = 64")).unwrap();
    let text = folder.fails(1, &["train", "--resume", "checkpoints/run", "--epochs", "2"]);
    assert!(text.contains("training.batch_size = 64 (was 32)"), "{text}");
    std::fs::write(&path, &config).unwrap();
    folder.ok(&["train", "--resume", "checkpoints/run", "--epochs", "2"]);
    let text = folder.fails(1, &["train", "--resume", "checkpoints/run", "--epochs", "1"]);
    assert!(text.contains("2 epochs are done"), "{text}");
}

#[test]
fn a_closed_pipe_does_not_end_the_training() {
    let folder = Folder::new();
    let mut command = folder.command(&train("run", "256", "2"));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    drop(child.stderr.take());
    assert!(child.wait().unwrap().success());
    assert_eq!(metrics(&folder.path("checkpoints/run")).len(), 2);
}

/// Weights are invalid under another architecture, and under other gains, though every tensor fits.
#[test]
fn weights_are_not_used_under_an_edited_model() {
    let folder = Folder::new();
    folder.ok(&train("run", "256", "1"));
    let path = folder.path("checkpoints/run/config.toml");
    let config = String::from_utf8(read(&path)).unwrap();
    std::fs::write(&path, config.replace("latent = 4", "latent = 5")).unwrap();
    let text = folder.fails(1, &["sample", "checkpoints/run"]);
    assert!(text.contains("model.latent = 5 (was 4)"), "{text}");
    let edited = config.replace("visible_gain = 120.0", "visible_gain = 20.0");
    assert!(edited != config, "{config}");
    std::fs::write(&path, &edited).unwrap();
    for command in ["sample", "eval", "export", "reconstruct", "gradcheck", "relax"] {
        let text = folder.fails(1, &[command, "checkpoints/run"]);
        assert!(text.contains("model.visible_gain = 20.0 (was 120.0)"), "{command}: {text}");
        assert!(text.contains("config.toml") && text.lines().count() == 1, "{command}: {text}");
    }
    std::fs::write(&path, &config).unwrap();
    // Data and solver settings may be edited, and anything may be changed with --set.
    folder.ok(&["gradcheck", "checkpoints/run", "--images", "8", "--set", "model.visible_gain=20"]);
    let other = config.replace("test_images = 100", "test_images = 50");
    let other = other.replace("\ntolerance = ", "\ntolerance = 1e-6 # ");
    assert!(other.matches("1e-6").count() == 1 && other.contains("= 50"), "{other}");
    std::fs::write(&path, other).unwrap();
    folder.ok(&["reconstruct", "checkpoints/run", "--count", "4"]);
}

#[test]
fn what_lies_in_a_folder_is_not_misread() {
    let folder = Folder::new();
    let begin = train("run", "256", "1");
    folder.ok(&begin);
    let run = folder.path("checkpoints/run");
    // A user's copy of a checkpoint, under a name that the program never gives.
    std::fs::create_dir(run.join("step-99999")).unwrap();
    folder.ok(&["train", "--resume", "checkpoints/run", "--epochs", "2"]);
    assert!(run.join("step-99999").is_dir());
    // A damaged file that guards against other images is an error.
    let environment = run.join("environment.json");
    let whole = read(&environment);
    std::fs::write(&environment, &whole[..whole.len() / 2]).unwrap();
    let resume = ["train", "--resume", "checkpoints/run", "--epochs", "3"];
    for command in [&resume[..], &["show", "checkpoints/run"], &["report", "checkpoints/run"]] {
        let text = folder.fails(1, command);
        assert!(text.contains("environment.json is corrupt"), "{command:?}: {text}");
    }
    assert_eq!(read(&environment).len(), whole.len() / 2);
    std::fs::remove_file(environment).unwrap();
    folder.ok(&resume);
    // Only a run can be resumed.
    assert!(folder.fails(1, &begin).contains("exists already; resume it with `hvae train"));
    std::fs::create_dir(folder.path("checkpoints/mine")).unwrap();
    std::fs::write(folder.path("checkpoints/mine/notes.txt"), "").unwrap();
    let text = folder.fails(1, &train("mine", "256", "1"));
    assert!(text.contains("exists already; choose another --name"), "{text}");
}
