//! `hvae converge` as a person runs it, in a temporary folder.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing test should panic")]

mod common;

use common::{Folder, json, read, stderr};

const SMALL: [&str; 12] = [
    "--dataset",
    "synthetic",
    "--networks",
    "3",
    "--hidden",
    "32",
    "--epochs",
    "7",
    "--train-images",
    "1920",
    "--test-images",
    "128",
];

/// What a run that succeeds says on standard output and on standard error.
fn ok(folder: &Folder, arguments: &[&str]) -> (String, String) {
    let output = folder.run(&[&["converge"][..], arguments].concat());
    let errors = stderr(&output);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    (String::from_utf8(output.stdout).unwrap(), errors)
}

#[test]
fn the_table_is_measured_drawn_and_written() {
    let folder = Folder::new();
    let (text, _) = ok(&folder, &[&SMALL[..], &["--seeds", "2"]].concat());
    assert!(text.contains("Smaller than in the paper") && text.contains("7 epochs"), "{text}");
    let out = folder.path("converge");
    let picture = image::open(out.join("convergence.png")).unwrap().into_rgb8();
    assert!(picture.pixels().filter(|p| p.0 != [255; 3]).count() > 5_000);
    assert!(std::fs::read_to_string(out.join("convergence.svg")).unwrap().contains("<text"));
    let lines = |file| std::fs::read_to_string(out.join(file)).unwrap().lines().count();
    assert_eq!((lines("table.csv"), lines("samples.csv")), (9, 17));

    let report = json(&out.join("report.json"));
    let rows = report["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 8);
    let mut means = Vec::new();
    for row in rows {
        let name = row["paper"]["name"].as_str().unwrap();
        let kind = name.split(',').next().unwrap();
        assert!(text.contains(kind), "{kind} is not in\n{text}");
        let samples = row["samples"].as_array().unwrap();
        assert_eq!(samples.len(), 2);
        let mean = |key: &str| samples.iter().map(|s| s[key].as_f64().unwrap()).sum::<f64>() / 2.0;
        assert!(mean("accuracy") > 40.0, "{name} has learnt nothing: {}", mean("accuracy"));
        assert!(mean("converged") > 90.0, "{name}: {}", mean("converged"));
        means.push(mean("iterations"));
    }
    let [.., ham, _, even_odd, both] = means[..] else { panic!("eight rows") };
    assert!(even_odd < 0.85 * ham, "even-odd takes {even_odd} sweeps, all at once {ham}");
    assert!(both <= even_odd, "Anderson does not help: {both} against {even_odd}");
    // Residuals fall below the tolerance where the mean number of iterations says so.
    for curve in report["curves"].as_array().unwrap() {
        let residuals = curve["residuals"].as_array().unwrap();
        let (first, last) = (residuals.first().unwrap(), residuals.last().unwrap());
        assert!(last.as_f64().unwrap() < 1e-4 && first.as_f64().unwrap() > 1e-3, "{curve}");
    }

    let (text, messages) = ok(&folder, &[&SMALL[..], &["--time", "1"]].concat());
    assert!(text.contains("HAM-EO-DEQ") && text.contains("us per sample"), "{text}");
    assert!(messages.contains("done before"), "{messages}");
    for timing in json(&out.join("timing/3.json")).as_array().unwrap() {
        assert_eq!(timing["batch"], 64);
        assert!(timing["seconds"].as_f64().unwrap() > 0.0);
        let weights = folder.path(timing["weights"].as_str().unwrap());
        assert!(weights.is_file(), "{}", weights.display());
    }
}

#[test]
fn weights_are_used_again_and_give_the_same_numbers() {
    let folder = Folder::new();
    let arguments = [&SMALL[..], &["--forms", "ham"]].concat();
    let (first, _) = ok(&folder, &arguments);
    let name = "3l-ham-synthetic-epochs7-images1920-hidden32-seed1";
    let path = folder.path("converge/weights").join(name).join("epoch-07.safetensors");
    let weights = read(&path);
    // Another training beside it leaves it alone.
    let shorter: Vec<_> = arguments.iter().map(|a| if *a == "7" { "1" } else { a }).collect();
    ok(&folder, &shorter);
    let (second, messages) = ok(&folder, &arguments);
    assert!(messages.contains("7 epochs were done before"), "{messages}");
    assert_eq!(first, second);
    let (third, messages) = ok(&folder, &[&arguments[..], &["--fresh"]].concat());
    assert!(!messages.contains("done before"), "{messages}");
    assert_eq!(first, third);
    assert!(weights == read(&path), "training is not repeatable");
}

#[test]
fn equilibrium_propagation_learns_both_forms() {
    let folder = Folder::new();
    let (text, _) = ok(&folder, &[&SMALL[..], &["--learner", "ep"]].concat());
    assert!(text.contains("3L CHN-EO") && text.contains("3L HAM-EO"), "{text}");
    let report = json(&folder.path("converge/report.json"));
    for row in report["rows"].as_array().unwrap() {
        let accuracy = row["samples"][0]["accuracy"].as_f64().unwrap();
        assert!(accuracy > 40.0, "{}: {accuracy}", row["name"]);
    }
}

#[test]
fn impossible_requests_are_refused_with_advice() {
    let folder = Folder::new();
    for (arguments, advice) in [
        (&["--networks", "4"][..], "3, 5 or 7"),
        (&["--networks", "5", "--hidden", "10"], "has 3 hidden layers"),
        (&["--hidden", "10"], "one network"),
        (&["--networks", "5", "--forms", "chn"], "3-layer network alone"),
    ] {
        let output = folder.run(&[&["converge"][..], arguments].concat());
        let errors = stderr(&output);
        assert!(!output.status.success() && errors.contains(advice), "{arguments:?}: {errors}");
    }
}
