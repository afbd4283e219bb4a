//! Commands on a run: pictures, report, export and import; and training on own images.

use std::path::Path;
use std::process::Command;

use crate::common::{Folder, json, metrics, newest, read, skipped, stderr, train};

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

/// A grid of images of 28 x 28 pixels, each drawn as 2 x 2, with gaps of 2.
struct Grid(image::GrayImage);

impl Grid {
    fn open(folder: &Folder, name: &str) -> Self {
        Self(image::open(folder.path(name)).unwrap().into_luma8())
    }

    /// Rows and columns.
    fn size(&self) -> (u32, u32) {
        let (width, height) = self.0.dimensions();
        assert_eq!(((width + 2) % 58, (height + 2) % 58), (0, 0), "{width} x {height}");
        ((height + 2) / 58, (width + 2) / 58)
    }

    /// The image in this cell.
    fn cell(&self, row: u32, column: u32) -> Vec<u8> {
        let at = |y: u32, x: u32| self.0.get_pixel(58 * column + 2 * x, 58 * row + 2 * y).0[0];
        (0..28).flat_map(|y| (0..28).map(move |x| (y, x))).map(|(y, x)| at(y, x)).collect()
    }
}

/// Largest difference of two images.
fn difference(a: &[u8], b: &[u8]) -> u8 {
    a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
}

#[test]
fn interpolations_begin_and_end_with_reconstructions() {
    let folder = trained();
    folder.ok(&[
        "interpolate",
        RUN,
        "0",
        "1",
        "2",
        "--steps",
        "5",
        "--plain",
        "--scale",
        "2",
        "--out",
        "i.png",
    ]);
    folder.ok(&["reconstruct", RUN, "--count", "3", "--plain", "--scale", "2", "--out", "r.png"]);
    let (path, pairs) = (Grid::open(&folder, "i.png"), Grid::open(&folder, "r.png"));
    assert_eq!((path.size(), pairs.size()), ((2, 5), (2, 10)));
    for pair in 0..2 {
        let ends = [pairs.cell(1, pair), pairs.cell(1, pair + 1)];
        assert!(difference(&path.cell(pair, 0), &ends[0]) <= 1, "start of row {pair}");
        assert!(difference(&path.cell(pair, 4), &ends[1]) <= 1, "end of row {pair}");
        for end in ends {
            assert!(difference(&path.cell(pair, 2), &end) > 1, "middle of row {pair}");
        }
    }
    // Forwards and backwards, the frames are the images of the picture, 4 times as large.
    folder.ok(&["interpolate", RUN, "0", "1", "--steps", "5", "--plain", "--out", "i.gif"]);
    let frames = frames(&folder, "i.gif");
    assert_eq!(frames.len(), 10);
    for (number, frame) in frames.iter().enumerate() {
        assert_eq!(frame.dimensions(), (224, 224));
        let image: Vec<u8> =
            (0..28 * 28).map(|at| frame.get_pixel(8 * (at % 28), 8 * (at / 28)).0[0]).collect();
        let column = number.min(9 - number) as u32;
        // A GIF has a palette of its own.
        assert!(difference(&image, &path.cell(0, column)) <= 8, "frame {number}");
    }
    for (wrong, expected) in [
        (["interpolate", RUN, "0", "z=1,2"], "4"),
        (["interpolate", RUN, "0", "5000"], "test image 5000"),
    ] {
        let text = folder.fails(1, &wrong);
        assert!(text.contains(expected), "{wrong:?}: {text}");
    }
}

/// The frames of an animation.
fn frames(folder: &Folder, name: &str) -> Vec<image::GrayImage> {
    use image::AnimationDecoder;
    let file = std::io::BufReader::new(std::fs::File::open(folder.path(name)).unwrap());
    let frames = image::codecs::gif::GifDecoder::new(file).unwrap().into_frames();
    let frames = frames.collect_frames().unwrap().into_iter();
    frames.map(|frame| image::DynamicImage::from(frame.into_buffer()).into_luma8()).collect()
}

#[test]
fn a_manifold_is_a_plane_of_decoded_latents() {
    let folder = trained();
    let plain = ["--plain", "--scale", "2"];
    let manifold = [&["manifold", RUN, "--side", "4", "--range", "1.5"], &plain[..]].concat();
    folder.ok(&[&manifold[..], &["--dimensions", "1,3", "--out", "m.png"]].concat());
    // The top row, from left to right.
    let row = ["interpolate", RUN, "z=0,-1.5,0,1.5", "z=0,1.5,0,1.5", "--steps", "4"];
    folder.ok(&[&row[..], &plain, &["--out", "row.png"]].concat());
    let (plane, row) = (Grid::open(&folder, "m.png"), Grid::open(&folder, "row.png"));
    assert_eq!((plane.size(), row.size()), ((4, 4), (1, 4)));
    for column in 0..4 {
        let (found, expected) = (plane.cell(0, column), row.cell(0, column));
        assert!(difference(&found, &expected) <= 1, "column {column}");
    }
    assert!(difference(&plane.cell(0, 0), &plane.cell(3, 3)) > 1);
    folder.ok(&[&manifold[..], &["--out", "p.png"]].concat());
    assert_eq!(Grid::open(&folder, "p.png").size(), (4, 4));
    assert!(read(&folder.path("p.png")) != read(&folder.path("m.png")));
    let text = folder.fails(1, &["manifold", RUN, "--dimensions", "0,4"]);
    assert!(text.contains("0 to 3"), "{text}");
}

/// The relaxation ends at the equilibrium that `hvae sample` decodes from the same latents.
#[test]
fn a_relaxation_starts_with_noise_and_ends_with_samples() {
    let folder = trained();
    let relax = ["relax", RUN, "--grid", "3x1", "--frames", "60", "--damping", "0", "--seed", "5"];
    let relax = [&relax[..], &["--plain", "--scale", "2"]].concat();
    folder.ok(&[&relax[..], &["--out", "r.png"]].concat());
    folder.ok(&[
        "sample", RUN, "--grid", "1x3", "--seed", "5", "--plain", "--scale", "2", "--out", "s.png",
    ]);
    let (relaxed, sampled) = (Grid::open(&folder, "r.png"), Grid::open(&folder, "s.png"));
    assert_eq!((relaxed.size(), sampled.size()), ((3, 61), (1, 3)));
    for row in 0..3 {
        assert!(difference(&relaxed.cell(row, 60), &sampled.cell(0, row)) <= 1, "image {row}");
    }
    let start = relaxed.cell(0, 0);
    assert!(start.iter().max().unwrap() - start.iter().min().unwrap() > 200, "not noise");
    folder.ok(&[&relax[..], &["--out", "r.gif"]].concat());
    // The last of 61 frames is held.
    let frames = frames(&folder, "r.gif");
    assert_eq!(frames.len(), 61 + 61 / 3);
    assert_eq!(frames[60], frames[80]);
    assert_eq!(frames[0].dimensions(), (56, 3 * 56 + 2 * 2));
}

#[test]
fn known_pixels_are_clamped_and_hidden_ones_improve() {
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
    // Every third of 6 steps and the start; every one of 5 passes and the start.
    for (by, count) in [("latent", 3), ("passes", 6)] {
        let denoise = ["denoise", RUN, "--by", by, "--passes", "5", "--steps", "6", "--count", "4"];
        folder.ok(&[&denoise[..], &["--plain", "--scale", "2", "--out", "d.gif"]].concat());
        let frames = frames(&folder, "d.gif");
        assert_eq!(frames.len(), count, "{by}");
        assert_eq!(frames[0].dimensions(), (4 * 58 - 2, 3 * 58 - 2));
        assert!(frames[0] != frames[count - 1], "{by}");
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
    // The version names the commit that the run recorded.
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

/// The report needs no other file. If there is a browser, it must parse it as intended.
#[test]
fn a_report_is_a_single_file() {
    let folder = trained();
    folder.ok(&["report", RUN]);
    let path = folder.path("checkpoints/run/report.html");
    let page = String::from_utf8(read(&path)).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.trim_end().ends_with("</html>"));
    for reference in ["src=\"", "href=\"", "url(", "@import"] {
        for (at, _) in page.match_indices(reference) {
            let target = &page[at + reference.len()..];
            let is_inside = target.starts_with("data:") || target.starts_with('#');
            assert!(is_inside, "{reference}: {target:.60}");
        }
    }
    assert!(!page.contains("<script"));
    for tag in ["svg", "figure", "table", "div", "h3", "pre"] {
        let count = |text: &str| page.matches(text).count();
        assert_eq!(count(&format!("<{tag}")), count(&format!("</{tag}>")), "{tag}");
    }
    for part in [
        "Reconstruction error",
        "decoder, nudged",
        "KL divergence of each latent",
        "Must stay below 1 (dashed)",
        "Interpolation",
        "latent = 4",
        "prefers-color-scheme: dark",
        "784 – 24 – 4",
    ] {
        assert!(page.contains(part), "{part}");
    }
    let Some(dom) = in_browser(&path) else {
        skipped("chromium", "no chromium to open the page in");
        return;
    };
    // The browser closes open elements: as many pictures as were written, none nested in another.
    assert_eq!(dom.matches("<svg").count(), page.matches("<svg").count());
    assert_eq!(dom.matches("<img").count(), page.matches("<img").count());
    assert!(dom.trim_end().ends_with("</html>") && dom.contains("Written by hvae"));
}

/// The page as parsed by headless Chromium, offline; `None` without Chromium.
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
fn exported_weights_are_imported_unchanged() {
    let folder = trained();
    folder.ok(&["export", RUN, "--out", "a.safetensors"]);
    folder.ok(&["export", RUN, "--out", "b.safetensors"]);
    assert!(read(&folder.path("a.safetensors")) == read(&folder.path("b.safetensors")));
    folder.ok(&["import", "a.safetensors", "--name", "copy"]);
    // The averaged weights are exported.
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
    // A file of another program has no metadata.
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
fn a_dry_run_prints_estimates_and_writes_nothing() {
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
fn own_images_are_trained_on_and_remembered() {
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
    let changes = "36 resized to 28x28, 36 with black bars to keep their proportions, 36 converted \
                   to grey";
    let line =
        text.lines().filter(|line| line.contains("36 training images (")).collect::<Vec<_>>();
    assert!(line.len() == 1 && line[0].contains(changes), "{text}");
    let recorded = &json(&folder.path("checkpoints/run/environment.json"))["images_report"];
    assert!(recorded.as_str().unwrap().starts_with(changes), "{recorded}");
    // The same images are found from another folder.
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
fn images_of_another_size_are_trained_on_and_drawn() {
    let folder = Folder::new();
    let mut arguments = train("run", "64", "1");
    arguments.extend(["--set", "data.size=20x24"]);
    folder.ok(&arguments);
    for words in [
        "sample RUN --grid 2x3 --plain --scale 2 --out s.png",
        "reconstruct RUN --count 3 --out r.npz",
        "interpolate RUN 0 1 --out i.gif",
        "manifold RUN --side 3 --out m.png",
        "denoise RUN --count 2 --hide left --steps 2 --out d.png",
        "relax RUN --grid 1x2 --frames 2 --out x.png",
        "report RUN --out r.html",
        "export RUN --out e.safetensors",
    ] {
        let words = words.replace("RUN", RUN);
        folder.ok(&words.split(' ').collect::<Vec<_>>());
    }
    // Images are drawn with 2 x 2 pixels for one, and gaps of 2.
    let size = |name: &str| image::image_dimensions(folder.path(name)).unwrap();
    assert_eq!(size("s.png"), (3 * 50 - 2, 2 * 42 - 2));
    assert_eq!(array(&folder.path("r.npz"), "images").len(), 3 * 20 * 24);
    arguments.extend(["--set", "data.channels=3"]);
    let text = folder.fails(2, &arguments);
    assert!(text.contains("data.channels = 3: only grey images"), "{text}");
}

#[test]
fn completions_and_manual_pages_are_written() {
    let folder = Folder::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = folder.ok(&["completions", shell]);
        assert!(script.contains("interpolate") && script.contains("dry-run"), "{shell}");
    }
    // Commands that compute nothing open no device.
    folder.ok(&["completions", "bash", "--device", "cuda:9"]);
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
