//! `hvae compare` as a user runs it, in a temporary folder.

use crate::common::{Folder, json, metrics, read, stderr, train};
use hvae_runtime::npz;
use hvae_runtime::npz::Array;

const QUICK: [&str; 5] = ["--count", "40", "--nll-images", "4", "--nll-samples"];

fn compare<'a>(runs: &[&'a str], out: &'a str) -> Vec<&'a str> {
    [&["compare"][..], runs, &QUICK, &["4", "--out", out]].concat()
}

#[test]
fn runs_are_compared_with_their_protocols() {
    let folder = Folder::new();
    folder.ok(&train("a", "128", "1"));
    folder.ok(&train("b", "128", "1"));
    let output = folder.run(&compare(&["checkpoints/a", "checkpoints/b"], "same"));
    let messages = stderr(&output);
    assert!(output.status.success() && !messages.contains("cannot be compared"), "{messages}");
    for part in ["scoring checkpoints/b (2 of 2)", "samples of the prior: features of 40 images"] {
        assert!(messages.contains(part), "{part}: {messages}");
    }
    let table = String::from_utf8(read(&folder.path("same/compare.md"))).unwrap();
    // One protocol for both runs.
    for part in [
        "\nReconstruction, KL, ELBO: all 100 test images of synthetic; Gaussian decoder",
        "\nNLL: first 4 test images, K = 4",
        "40 samples, seed 0; 40 test images of synthetic",
    ] {
        assert_eq!(table.matches(part).count(), 1, "{part} is not in\n{table}");
    }
    assert!(!table.contains("checkpoints/") && !table.contains("Note:"), "{table}");
    assert_eq!(table.lines().filter(|line| line.starts_with("| h-vae (")).count(), 2, "{table}");
    let rows = json(&folder.path("same/compare.json"))["runs"].clone();
    assert_eq!(rows[0]["scores"]["elbo"], rows[1]["scores"]["elbo"], "they are the same model");
    assert_same_numbers(&folder, "same");
    let figure = image::open(folder.path("same/compare.png")).unwrap().into_luma8();
    assert!(figure.width() > 600 && figure.pixels().any(|pixel| pixel.0[0] < 128), "blank figure");
    let svg = String::from_utf8(read(&folder.path("same/compare.svg"))).unwrap();
    for part in ["h-vae (a)", "h-vae (b)", "Evidence lower bound", "FID"] {
        assert!(svg.contains(part), "{part} is not in the figure");
    }

    let mut other = train("c", "96", "1");
    other.extend(["--set", "model.precision=7"]);
    folder.ok(&other);
    let output = folder.run(&compare(&["checkpoints/a", "checkpoints/c"], "other"));
    let warnings = stderr(&output);
    assert!(output.status.success(), "{warnings}");
    let table = String::from_utf8(read(&folder.path("other/compare.md"))).unwrap();
    for part in [
        "ELBO and NLL of different likelihoods cannot be compared",
        "precision 7; binarization: none (pixels in [0, 1]) (checkpoints/c)",
        "the first 96 training images of synthetic",
    ] {
        assert!(warnings.contains(part) && table.contains(part), "{part}:\n{warnings}\n{table}");
    }
    for part in ["\nNLL of checkpoints/a: ", "\nNLL of checkpoints/c: ", "\nFID: "] {
        assert_eq!(table.matches(part).count(), 1, "{part} is not in\n{table}");
    }
}

/// The columns of `compare.csv` and where their numbers are in `compare.json`.
const COLUMNS: [(&str, &str); 12] = [
    ("parameters", "/parameters"),
    ("epochs", "/epochs"),
    ("seconds", "/seconds"),
    ("free_sweeps", "/free_sweeps"),
    ("nudged_sweeps", "/nudged_sweeps"),
    ("reconstruction", "/scores/reconstruction_error"),
    ("KL", "/scores/kl"),
    ("ELBO", "/scores/elbo"),
    ("NLL", "/scores/likelihood/nll/mean"),
    ("FID_prior", "/scores/prior/fid"),
    ("FID_mixture", "/scores/mixture/fid"),
    ("gradient_cosine", "/gradient_check/cosine"),
];

/// Table and JSON hold the same numbers, and those are the run's own.
fn assert_same_numbers(folder: &Folder, out: &str) {
    let rows = json(&folder.path(out).join("compare.json"))["runs"].clone();
    let csv = String::from_utf8(read(&folder.path(out).join("compare.csv"))).unwrap();
    let mut lines = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let headings = lines.next().unwrap();
    assert_eq!(headings[1..], COLUMNS.map(|(heading, _)| heading));
    let lines: Vec<_> = lines.collect();
    assert_eq!(lines.len(), rows.as_array().unwrap().len());
    for (line, row) in lines.iter().zip(rows.as_array().unwrap()) {
        let run = folder.path(row["run"].as_str().unwrap());
        let epoch = metrics(&run).pop().unwrap();
        for ((heading, pointer), cell) in COLUMNS.iter().zip(&line[1..]) {
            let value = row.pointer(pointer).or_else(|| epoch.pointer(pointer));
            let expected = value.unwrap().as_f64().unwrap();
            let found: f64 = cell.parse().unwrap();
            let rounding = if cell.contains('.') { 1e-6 } else { 0.5 };
            assert!((found - expected).abs() <= rounding, "{heading}: {found}, not {expected}");
        }
        assert_eq!(row["gradient_cosine"], epoch["gradient_check"]["cosine"]);
        let phases = |of: &str| {
            let sweeps = |network| epoch["phases"][format!("{network}_{of}")]["sweeps"].as_f64();
            sweeps("encoder").unwrap() + sweeps("decoder").unwrap()
        };
        assert_eq!(row["free_sweeps"].as_f64().unwrap(), phases("free"));
        assert_eq!(row["nudged_sweeps"].as_f64().unwrap(), phases("nudged"));
        assert_eq!(row["scores"]["prior"]["latents"], "prior");
        assert_eq!(row["scores"]["mixture"]["latents"], "GMM prior (10 components)");
    }
}

#[test]
fn runs_tested_on_other_images_are_refused_before_any_work() {
    let folder = Folder::new();
    folder.ok(&train("a", "128", "1"));
    folder.ok(&train("b", "128", "1"));
    let images: Vec<u8> = (0..300 * 784_u32).map(|i| (i % 251) as u8).collect();
    let array = Array::U8(vec![300, 28, 28], &images);
    npz::save(&folder.path("mine.npz"), &[("images", array)]).unwrap();
    let config = folder.path("checkpoints/b/config.toml");
    let text = String::from_utf8(read(&config)).unwrap();
    let file = folder.path("mine.npz").display().to_string();
    let changed = text.replace("\"synthetic\"", &format!("'{file}'"));
    assert!(changed != text, "{text}");
    std::fs::write(&config, changed.replace("test_images = 100", "test_images = 10")).unwrap();
    let error = folder.fails(1, &compare(&["checkpoints/a", "checkpoints/b"], "out"));
    assert!(error.contains("no score can be compared") && error.contains("mine.npz"), "{error}");
    assert!(!error.contains("scoring") && !folder.path("out").exists(), "{error}");
}
