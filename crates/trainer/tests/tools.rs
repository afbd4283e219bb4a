//! What is done with a run: pictures, pages, exchange; and data of one's own.
#![allow(clippy::unwrap_used, clippy::panic, clippy::float_cmp, reason = "a test may stop")]

mod common;

use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use common::events::{Scalar, scalars};
use common::{Folder, metrics, newest, read, skipped, stderr, train};

const RUN: &str = "checkpoints/run";

fn trained() -> Folder {
    let folder = Folder::new();
    folder.ok(&train("run", "640", "4"));
    folder
}

fn array(path: &Path, name: &str) -> Vec<f32> {
    let mut archive = npyz::npz::NpzArchive::open(path).unwrap();
    archive.by_name(name).unwrap().unwrap().into_vec().unwrap()
}

#[test]
fn pictures_are_drawn_of_every_kind() {
    let folder = trained();
    let size = |name: &str| image::image_dimensions(folder.path(name)).unwrap();
    folder.ok(&["interpolate", RUN, "0", "1", "2", "--steps", "5", "--out", "i.png"]);
    assert_eq!(size("i.png"), (5 * 56 + 4 * 2, 2 * 56 + 2), "two rows of five");
    folder.ok(&["interpolate", RUN, "z=-1,0,0,1", "z=1,0,0,-1", "--out", "i.gif"]);
    assert_eq!(size("i.gif"), (224, 224));
    folder.ok(&["manifold", RUN, "--side", "4", "--out", "m.png"]);
    folder.ok(&["manifold", RUN, "--side", "4", "--dimensions", "1,3", "--out", "n.png"]);
    assert_eq!(size("m.png"), (4 * 56 + 3 * 2, 4 * 56 + 3 * 2));
    assert!(read(&folder.path("m.png")) != read(&folder.path("n.png")));
    folder.ok(&["relax", RUN, "--grid", "2x3", "--frames", "5", "--out", "r.png"]);
    assert_eq!(size("r.png"), (6 * 56 + 5 * 2, 6 * 56 + 5 * 2), "a row of six frames each");
    folder.ok(&["relax", RUN, "--grid", "2x3", "--frames", "5", "--out", "r.gif"]);
    for (wrong, expected) in [
        (vec!["interpolate", RUN, "0", "z=1,2"], "4"),
        (vec!["interpolate", RUN, "0", "5000"], "test image 5000"),
        (vec!["manifold", RUN, "--dimensions", "0,4"], "0 to 3"),
    ] {
        let text = folder.fails(1, &wrong);
        assert!(text.contains(expected), "{wrong:?}: {text}");
    }
}

/// The relaxation ends at the equilibrium that `hvae sample` decodes from the same latents.
#[test]
fn a_relaxation_ends_where_samples_are() {
    let folder = trained();
    folder.ok(&[
        "relax",
        RUN,
        "--grid",
        "1x3",
        "--frames",
        "60",
        "--damping",
        "0",
        "--seed",
        "5",
        "--out",
        "r.png",
    ]);
    folder.ok(&["sample", RUN, "--grid", "1x3", "--seed", "5", "--out", "s.png"]);
    let open = |name: &str| image::open(folder.path(name)).unwrap().into_luma8();
    let (relaxed, sampled) = (open("r.png"), open("s.png"));
    let end = relaxed.width() - 56;
    for row in 0..3 {
        for (x, y) in (0..56).flat_map(|x| (0..56).map(move |y| (x, y))) {
            let found = relaxed.get_pixel(end + x, row * 58 + y).0[0];
            let expected = sampled.get_pixel(row * 58 + x, y).0[0];
            assert!(found.abs_diff(expected) <= 1, "{row} {x} {y}: {found} {expected}");
        }
    }
    let first = relaxed.get_pixel(20, 20).0[0];
    let differs = (0..56).any(|x| relaxed.get_pixel(x, 20).0[0].abs_diff(first) > 60);
    assert!(differs, "it starts from noise");
}

#[test]
fn what_is_known_stays_and_what_is_hidden_comes_closer() {
    let folder = Folder::new();
    folder.ok(&train("run", "2048", "12"));
    folder.ok(&["denoise", RUN, "--hide", "lower", "--count", "20", "--out", "d.npz"]);
    let [inputs, known, images] =
        ["inputs", "known", "images"].map(|name| array(&folder.path("d.npz"), name));
    assert_eq!(images.len(), 20 * 784);
    let (mut before, mut after) = (0.0, 0.0);
    for at in 0..images.len() {
        if at % 784 < 392 {
            assert!((images[at] - inputs[at]).abs() < 1e-6, "pixel {at} is clamped");
        } else {
            assert!((known[at] - 0.5).abs() < 1e-6, "pixel {at} is hidden");
            before += (known[at] - inputs[at]).powi(2);
            after += (images[at] - inputs[at]).powi(2);
        }
    }
    assert!(after < 0.7 * before, "{before} before, {after} after");
    folder.ok(&["denoise", RUN, "--hide", "none", "--noise", "0.5", "--out", "n.npz"]);
    let [inputs, known, images] =
        ["inputs", "known", "images"].map(|name| array(&folder.path("n.npz"), name));
    let distance =
        |from: &[f32]| -> f32 { from.iter().zip(&inputs).map(|(a, b)| (a - b).powi(2)).sum() };
    assert!(distance(&images) < distance(&known));
    for by in ["latent", "passes"] {
        let way = ["--by", by, "--passes", "5", "--steps", "6"];
        folder.ok(&[&["denoise", RUN, "--hide", "random", "--out", "d.gif"], way.as_slice()].concat());
    }
}

#[test]
fn runs_are_listed_and_shown() {
    let folder = trained();
    let table = folder.ok(&["runs"]);
    assert!(table.contains("checkpoints/run  synthetic     4/4"), "{table}");
    let line = folder.ok(&["runs", "--json"]);
    let value: serde_json::Value = serde_json::from_str(line.trim()).unwrap();
    assert_eq!(value["epochs"], 4);
    let last = metrics(&folder.path(RUN)).pop().unwrap();
    assert_eq!(value["last"]["test"], last["test"]);
    let text = folder.ok(&["show", RUN]);
    for part in ["epochs 4/4", "test.elbo = ", "latest step-", "[model]", "threads"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let shown: serde_json::Value =
        serde_json::from_str(&folder.ok(&["show", RUN, "--json"])).unwrap();
    assert_eq!(shown["environment"]["device"], "cpu");
    // The program says of itself what it wrote into the run.
    let version = folder.ok(&["--version"]);
    let number = env!("CARGO_PKG_VERSION");
    assert!(version.starts_with(&format!("hvae {number}")), "{version}");
    let commit = shown["environment"]["commit"].as_str().unwrap();
    assert!(version.contains(commit) || commit == "unknown", "{version} built {commit}");
    for (feature, built) in [("wgpu", cfg!(feature = "wgpu")), ("cuda", cfg!(feature = "cuda"))] {
        assert_eq!(version.contains(feature), built, "{version}");
    }
    assert!(folder.fails(1, &["runs", "--runs", "nowhere"]).contains("nowhere"));
    std::fs::write(folder.path("checkpoints/run/config.toml"), "epochs = 1\n").unwrap();
    let output = folder.run(&["runs"]);
    assert!(output.status.success() && stderr(&output).contains("epochs"), "{}", stderr(&output));
}

/// The page stands alone. Where there is a browser, it must read it as it is meant.
#[test]
fn a_report_is_one_page_that_needs_nothing_else() {
    let folder = trained();
    folder.ok(&["report", RUN]);
    let path = folder.path("checkpoints/run/report.html");
    let page = String::from_utf8(read(&path)).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.trim_end().ends_with("</html>"));
    for reference in ["src=\"", "href=\"", "url(", "@import"] {
        for (at, _) in page.match_indices(reference) {
            let target = &page[at + reference.len()..];
            assert!(target.starts_with("data:"), "{reference}: {target:.60}");
        }
    }
    assert!(!page.contains("<script"));
    for tag in ["svg", "figure", "table", "div", "h3", "pre"] {
        let count = |text: &str| page.matches(text).count();
        assert_eq!(count(&format!("<{tag}")), count(&format!("</{tag}>")), "{tag}");
    }
    for part in ["Reconstruction error", "Sweeps of the last epoch", "Interpolation", "latent = 4"]
    {
        assert!(page.contains(part), "{part}");
    }
    let Some(dom) = in_browser(&path) else {
        skipped("chromium", "no chromium here to open the page in");
        return;
    };
    // The browser closes what it finds open: as many pictures as were written, none lost in another.
    assert_eq!(dom.matches("<svg").count(), page.matches("<svg").count());
    assert_eq!(dom.matches("<img").count(), page.matches("<img").count());
    assert!(dom.trim_end().ends_with("</html>") && dom.contains("Written by hvae"));
}

/// The page as headless Chromium understands it, without a network; none where there is none.
fn in_browser(page: &Path) -> Option<String> {
    let profile = tempfile::tempdir().unwrap();
    let mut command = Command::new("chromium");
    command.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--dump-dom",
    ]);
    command.arg(format!("--user-data-dir={}", profile.path().display()));
    let output = command.arg(format!("file://{}", page.display())).output().ok()?;
    assert!(output.status.success(), "{}", stderr(&output));
    String::from_utf8(output.stdout).ok()
}

#[test]
fn weights_leave_and_come_back_unchanged() {
    let folder = trained();
    folder.ok(&["export", RUN, "--out", "a.safetensors"]);
    folder.ok(&["export", RUN, "--out", "b.safetensors"]);
    assert!(read(&folder.path("a.safetensors")) == read(&folder.path("b.safetensors")));
    folder.ok(&["import", "a.safetensors", "--name", "copy"]);
    // What leaves are the averaged weights.
    let weights = |run: &str, file| read(&newest(&folder.path(run)).join(file));
    let exported = weights(RUN, "ema.safetensors");
    assert!(exported == weights("checkpoints/copy", "ema.safetensors"));
    assert!(exported == weights("checkpoints/copy", "model.safetensors"));
    folder.ok(&["train", "--resume", "checkpoints/copy", "--epochs", "1"]);
    let text = folder.fails(1, &["import", "a.safetensors", "--set", "model.latent=5"]);
    for part in ["a.safetensors does not fit", ".weight` has the shape [", "is needed"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let text = folder.fails(1, &["import", "a.safetensors", "--set", "model.hidden=[24,8]"]);
    assert!(text.contains("; and 8 more") && text.lines().count() == 1, "{text}");
    let text = folder.fails(1, &["import", "a.safetensors", "--set", "model.sigma=0.3"]);
    assert!(text.contains("has no place in the model"), "{text}");
    // A file of another program says nothing about itself.
    std::fs::copy(
        newest(&folder.path(RUN)).join("model.safetensors"),
        folder.path("c.safetensors"),
    )
    .unwrap();
    let text = folder.fails(1, &["import", "c.safetensors"]);
    assert!(text.contains("--config"), "{text}");
    folder.ok(&["import", "c.safetensors", "--config", "checkpoints/run/config.toml"]);
    std::fs::write(folder.path("d.safetensors"), "<html>").unwrap();
    assert!(folder.fails(1, &["import", "d.safetensors"]).contains("d.safetensors"));
}

#[test]
fn a_dry_run_tells_and_writes_nothing() {
    let folder = Folder::new();
    let mut arguments = train("run", "128", "2");
    arguments.push("--dry-run");
    let text = folder.ok(&arguments);
    // 784 x 24 twice, 24 x 4 three times, biases 24, 4, 4, 24 and 784.
    for part in ["total = 38760", "latent = 4", "steps per epoch = 4", "checkpoint = 0.6 MB"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // Of pixels up to three rows and columns apart there are 16,536 pairs.
    arguments.extend(["--model", "tdh-vae"]);
    let text = folder.ok(&arguments);
    assert!(text.contains("network image-image = 16536 [784, 784]"), "{text}");
    assert!(!folder.path("checkpoints").exists());
}

#[test]
fn images_of_ones_own_are_trained_on_and_remembered() {
    let folder = Folder::new();
    for index in 0..40_u8 {
        let name = folder.path("photos").join(format!("{index:02}.png"));
        std::fs::create_dir_all(name.parent().unwrap()).unwrap();
        let colour = image::Rgb([index, 100, 255 - index]);
        image::RgbImage::from_pixel(40, 20, colour).save(name).unwrap();
    }
    let mut arguments = train("run", "36", "1");
    arguments.retain(|a| !["--test-images", "100"].contains(a));
    let at = arguments.iter().position(|a| *a == "synthetic").unwrap();
    arguments[at] = "./photos";
    let output = folder.run(&arguments);
    let text = stderr(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("36 resized to 28x28, 36 converted to grey"), "{text}");
    // From another folder the same images are found.
    std::fs::create_dir(folder.path("elsewhere")).unwrap();
    let mut command = folder.command(&["reconstruct", "../checkpoints/run", "--count", "4"]);
    let output = command.current_dir(folder.path("elsewhere")).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    image::RgbImage::from_pixel(9, 9, image::Rgb([1, 2, 3]))
        .save(folder.path("photos/07.png"))
        .unwrap();
    let text = folder.fails(1, &["train", "--resume", RUN, "--epochs", "2"]);
    assert!(text.contains("have changed"), "{text}");
}

#[test]
fn event_files_hold_the_metrics_and_a_resumed_run_begins_another() {
    let folder = Folder::new();
    let mut arguments = train("run", "640", "2");
    arguments.push("--tensorboard");
    folder.ok(&arguments);
    folder.ok(&["train", "--resume", RUN, "--epochs", "3", "--tensorboard", "--threads", "1"]);
    let entries = std::fs::read_dir(folder.path("checkpoints/run/tensorboard")).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), 2, "one for each process");
    let found: Vec<Scalar> = files.iter().flat_map(|file| scalars(file)).collect();
    let epochs = metrics(&folder.path(RUN));
    assert_eq!(epochs.len(), 3);
    for epoch in &epochs {
        for (tag, pointer) in [("test/elbo", "/test/elbo"), ("train/kl", "/train/kl")] {
            let of_epoch =
                found.iter().find(|s| s.tag == tag && Some(s.step) == epoch["step"].as_u64());
            let value = epoch.pointer(pointer).unwrap().as_f64().unwrap();
            assert_eq!(of_epoch.unwrap().value, value as f32, "{tag}");
        }
    }
    let steps: Vec<u64> =
        found.iter().filter(|s| s.tag == "step/learning_rate").map(|s| s.step).collect();
    assert_eq!(steps, [10, 20, 30, 40, 50, 60]);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!(found.iter().all(|s| s.time <= now && s.time > now - 600.0));
}

#[test]
fn completions_and_manual_pages_are_written() {
    let folder = Folder::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = folder.ok(&["completions", shell]);
        assert!(script.contains("interpolate") && script.contains("dry-run"), "{shell}");
    }
    folder.ok(&["man", "--out", "man"]);
    let page = String::from_utf8(read(&folder.path("man/hvae-train.1"))).unwrap();
    assert!(page.contains(".TH hvae-train 1") && page.contains("Examples:"), "{page}");
    // Every page that another one points to is there.
    for entry in std::fs::read_dir(folder.path("man")).unwrap() {
        let page = String::from_utf8(read(&entry.unwrap().path())).unwrap().replace('\\', "");
        for (at, _) in page.match_indices("(1)") {
            let name = page[..at].rsplit(|c: char| !c.is_ascii_alphabetic() && c != '-').next();
            let file = format!("man/{}.1", name.unwrap());
            let is_ours = file.starts_with("man/hvae") && !file.ends_with("help.1");
            assert!(!is_ours || folder.path(&file).is_file(), "{file}");
        }
    }
}
