//! `hvae converge` from the command line, in a temporary folder.

use crate::common::{Folder, json, read, stderr};

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

/// Standard output and standard error of a run that succeeds.
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
    assert_eq!((lines("table.csv"), lines("seeds.csv")), (9, 17));

    let results = json(&out.join("results.json"));
    let rows = results["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 8);
    let mut means = Vec::new();
    for row in rows {
        let name = row["paper"]["name"].as_str().unwrap();
        let kind = name.split(',').next().unwrap();
        assert!(text.contains(kind), "{kind} is not in\n{text}");
        let seeds = row["seeds"].as_array().unwrap();
        assert_eq!(seeds.len(), 2);
        let mean = |key: &str| seeds.iter().map(|s| s[key].as_f64().unwrap()).sum::<f64>() / 2.0;
        assert!(mean("accuracy") > 40.0, "{name} has learned nothing: {}", mean("accuracy"));
        assert!(mean("converged") > 90.0, "{name}: {}", mean("converged"));
        means.push(mean("iterations"));
    }
    let [.., ham, _, even_odd, both] = means[..] else { panic!("eight rows") };
    assert!(even_odd < 0.85 * ham, "even-odd takes {even_odd} iterations, synchronous {ham}");
    assert!(both <= even_odd, "Anderson does not help: {both} against {even_odd}");
    // Residuals fall below the tolerance where the mean number of iterations says so.
    for curve in results["curves"].as_array().unwrap() {
        let residuals = curve["residuals"].as_array().unwrap();
        let (first, last) = (residuals.first().unwrap(), residuals.last().unwrap());
        assert!(last.as_f64().unwrap() < 1e-4 && first.as_f64().unwrap() > 1e-3, "{curve}");
    }

    let (text, messages) = ok(&folder, &[&SMALL[..], &["--time", "1"]].concat());
    assert!(text.contains("HAM-EO-DEQ") && text.contains("us per sample"), "{text}");
    assert!(messages.contains("already trained"), "{messages}");
    for timing in json(&out.join("timing/3.json")).as_array().unwrap() {
        assert_eq!(timing["batch"], 64);
        assert!(timing["seconds"].as_f64().unwrap() > 0.0);
        let weights = folder.path(timing["weights"].as_str().unwrap());
        assert!(weights.is_file(), "{}", weights.display());
    }
}

#[test]
fn weights_are_reused_and_give_the_same_numbers() {
    let folder = Folder::new();
    let arguments = [&SMALL[..], &["--forms", "ham"]].concat();
    let (first, _) = ok(&folder, &arguments);
    let name = "3l-ham-synthetic-epochs7-images1920-hidden32-seed1";
    let path = folder.path("converge/weights").join(name).join("epoch-07.safetensors");
    let weights = read(&path);
    // Another training with the same --out leaves it unchanged.
    let shorter: Vec<_> = arguments.iter().map(|a| if *a == "7" { "1" } else { a }).collect();
    ok(&folder, &shorter);
    let (second, messages) = ok(&folder, &arguments);
    assert!(messages.contains("7 epochs already trained"), "{messages}");
    assert_eq!(first, second);
    let (third, messages) = ok(&folder, &[&arguments[..], &["--fresh"]].concat());
    assert!(!messages.contains("already trained"), "{messages}");
    assert_eq!(first, third);
    assert!(weights == read(&path), "training is not repeatable");
}

#[test]
fn equilibrium_propagation_learns_both_forms() {
    let folder = Folder::new();
    let (text, _) = ok(&folder, &[&SMALL[..], &["--learner", "ep"]].concat());
    assert!(text.contains("3L CHN-EO") && text.contains("3L HAM-EO"), "{text}");
    let results = json(&folder.path("converge/results.json"));
    for row in results["rows"].as_array().unwrap() {
        let accuracy = row["seeds"][0]["accuracy"].as_f64().unwrap();
        assert!(accuracy > 40.0, "{}: {accuracy}", row["name"]);
    }
}

#[test]
fn contradicting_options_are_rejected() {
    let folder = Folder::new();
    for (arguments, advice) in [
        (&["--networks", "4"][..], "3, 5 or 7"),
        (&["--networks", "5", "--hidden", "10"], "has 3 hidden layers"),
        (&["--hidden", "10"], "one network"),
        (&["--networks", "5", "--forms", "chn"], "only the 3-layer network"),
    ] {
        let output = folder.run(&[&["converge"][..], arguments].concat());
        let errors = stderr(&output);
        assert!(!output.status.success() && errors.contains(advice), "{arguments:?}: {errors}");
    }
}
