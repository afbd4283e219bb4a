//! `hvae compare` as a person runs it, in a temporary folder.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing test should panic")]

mod common;

use common::{Folder, json, read, stderr, train};
use hvae_runtime::npz;
use hvae_runtime::npz::Array;

const QUICK: [&str; 5] = ["--count", "40", "--nll-images", "4", "--nll-samples"];

fn compare<'a>(runs: &[&'a str], out: &'a str) -> Vec<&'a str> {
    [&["compare"][..], runs, &QUICK, &["4", "--out", out]].concat()
}

#[test]
fn runs_stand_side_by_side_with_what_they_were_scored_on() {
    let folder = Folder::new();
    folder.ok(&train("a", "128", "1"));
    folder.ok(&train("b", "128", "1"));
    let output = folder.run(&compare(&["checkpoints/a", "checkpoints/b"], "same"));
    let said = stderr(&output);
    assert!(output.status.success() && !said.contains("do not compare"), "{said}");
    for part in ["scoring checkpoints/b (2 of 2)", "samples of the prior: features of 40 images"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let table = String::from_utf8(read(&folder.path("same/compare.md"))).unwrap();
    // One protocol for both, of the images and not of one of the runs.
    for part in [
        "\nReconstruction, KL, ELBO: all 100 test images of synthetic; Gaussian decoder",
        "\nNLL: first 4 test images, K = 4",
        "40 samples, seed 0; 40 test images of synthetic",
    ] {
        assert_eq!(table.matches(part).count(), 1, "{part} is not in\n{table}");
    }
    assert!(!table.contains("checkpoints/") && !table.contains("Note:"), "{table}");
    assert_eq!(table.lines().filter(|line| line.starts_with("| h-vae (")).count(), 2, "{table}");
    let rows = json(&folder.path("same/compare.json"));
    assert_eq!(rows[0]["scores"]["elbo"], rows[1]["scores"]["elbo"], "they are the same model");
    assert_eq!(read(&folder.path("same/compare.csv")).split(|&byte| byte == b'\n').count(), 4);
    assert!(folder.path("same/compare.png").is_file());

    let mut other = train("c", "96", "1");
    other.extend(["--set", "model.precision=7"]);
    folder.ok(&other);
    let output = folder.run(&compare(&["checkpoints/a", "checkpoints/c"], "other"));
    let warnings = stderr(&output);
    assert!(output.status.success(), "{warnings}");
    let table = String::from_utf8(read(&folder.path("other/compare.md"))).unwrap();
    for part in [
        "ELBO and NLL do not compare between likelihoods",
        "precision 7; binarisation: none (pixels in [0, 1]) (checkpoints/c)",
        "the first 96 training images of synthetic",
    ] {
        assert!(warnings.contains(part) && table.contains(part), "{part}:\n{warnings}\n{table}");
    }
    for part in ["\nNLL of checkpoints/a: ", "\nNLL of checkpoints/c: ", "\nFID: "] {
        assert_eq!(table.matches(part).count(), 1, "{part} is not in\n{table}");
    }
}

#[test]
fn runs_tested_on_other_images_are_refused_before_any_work() {
    let folder = Folder::new();
    folder.ok(&train("a", "128", "1"));
    folder.ok(&train("b", "128", "1"));
    let images: Vec<u8> = (0..300 * 784_u32).map(|i| (i % 251) as u8).collect();
    let array = Array::U8 { shape: vec![300, 28, 28], values: &images };
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
