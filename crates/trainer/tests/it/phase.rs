//! `hvae phase` from the command line, in a temporary folder.

use crate::common::{Folder, json, read, train};
use hvae_runtime::npz::{self, Array};

fn ok(folder: &Folder, arguments: &[&str]) -> String {
    folder.ok(&[&["phase"][..], arguments].concat())
}

#[test]
fn equidistant_patterns_show_their_thresholds_in_pictures_and_numbers() {
    let folder = Folder::new();
    let arguments = ["--count", "5", "--betas", "30", "--starts", "30", "--table", "2,3,20"];
    let text = ok(&folder, &arguments);
    assert!(text.contains("beta_eff") && text.contains("iteration limit"), "{text}");
    let out = folder.path("phase");
    for stem in ["minima", "hysteresis", "collapse", "stability", "thresholds"] {
        let picture = image::open(out.join(format!("{stem}.png"))).unwrap().into_rgb8();
        let inked = picture.pixels().filter(|p| p.0 != [255; 3]).count();
        assert!(inked > 5_000, "{stem} is empty: {inked}");
        let drawn = std::fs::read_to_string(out.join(format!("{stem}.svg"))).unwrap();
        assert!(drawn.starts_with("<svg") && drawn.contains("<text"), "{stem}");
    }
    for (table, lines) in [("sweep.csv", 91), ("collapse.csv", 481), ("thresholds.csv", 5)] {
        let text = std::fs::read_to_string(out.join(table)).unwrap();
        assert_eq!(text.lines().count(), lines, "{table}");
    }

    let results = json(&out.join("results.json"));
    let rows = results["table"].as_array().unwrap();
    for row in rows.iter().chain([&results["thresholds"]]) {
        let limits = if row["count"] == 2 { [5e-3; 3] } else { [5e-3, 1e-3, 5e-3] };
        for (name, limit) in ["b1", "b2", "b3"].into_iter().zip(limits) {
            let [formula, measured] =
                ["formula", "measured"].map(|key| row[key][name].as_f64().unwrap());
            assert!((measured / formula - 1.0).abs() < limit, "{row}");
        }
    }
    assert!(results["collapse"]["spread"].as_f64().unwrap() < 1e-3);
    let points = results["sweep"].as_array().unwrap();
    let starts = points.iter().flat_map(|p| p["families"].as_array().unwrap());
    assert_eq!(starts.map(|f| f["starts"].as_u64().unwrap()).sum::<u64>(), 30 * 30);
    // Below b1 one minimum, above b3 one for each pattern.
    assert_eq!(points[0]["distinct"], 1);
    assert_eq!(points[29]["distinct"], 5);
    let fixed = results["fixed_points"].as_array().unwrap();
    let mut unstable = 0;
    for point in fixed.iter().filter(|p| p["at_limit"] == false) {
        let (predicted, seen) =
            (point["eigenvalue"].as_f64().unwrap(), point["growth"].as_f64().unwrap());
        if (predicted - 1.0).abs() > 0.01 {
            assert_eq!(predicted > 1.0, seen > 1.0, "{point}");
            unstable += usize::from(predicted > 1.0);
        }
    }
    assert!(unstable > 10, "the mean above b3 is unstable: {unstable}");
}

#[test]
fn the_iteration_limit_is_reported() {
    let folder = Folder::new();
    let limited = ["--count", "4", "--betas", "5", "--starts", "9", "--max-steps", "1"];
    let text = ok(&folder, &limited);
    assert!(!text.contains("; 0 reached the iteration limit"), "{text}");
    let points = json(&folder.path("phase/results.json"))["sweep"].clone();
    let families = points[0]["families"].as_array().unwrap().clone();
    assert!(families.iter().any(|f| f["at_limit"].as_u64().unwrap() > 0), "{families:?}");
}

#[test]
fn unequal_single_and_synthetic_patterns_run_and_repeat() {
    let folder = Folder::new();
    let short = ["--betas", "8", "--starts", "12", "--quiet"];
    let with = |more: &[&'static str]| [&short[..], more].concat();
    for (out, more) in [
        ("one", with(&["--count", "1"])),
        ("random", with(&["--patterns", "random", "--count", "12", "--dimension", "6"])),
        ("signs", with(&["--patterns", "synthetic", "--count", "15"])),
        ("same", with(&["--patterns", "equidistant", "--cosine", "1", "--count", "3"])),
        ("again", with(&["--patterns", "random", "--count", "12", "--dimension", "6"])),
    ] {
        let mut arguments = more.clone();
        arguments.extend(["--out", out]);
        ok(&folder, &arguments);
        let results = json(&folder.path(out).join("results.json"));
        assert!(results["thresholds"].is_null(), "{out}");
        assert_eq!(results["sweep"].as_array().unwrap().len(), 8, "{out}");
    }
    let minima = |out: &str| read(&folder.path(out).join("minima.csv"));
    assert_eq!(minima("random"), minima("again"));
    assert_ne!(minima("random"), minima("signs"));
}

#[test]
fn bad_requests_are_refused_in_words() {
    let folder = Folder::new();
    for (arguments, reason) in [
        (vec!["--patterns", "equidistant"], "--cosine"),
        (vec!["--norm", "nan"], "--norm"),
        (vec!["--count", "0"], "--count"),
        (vec!["--table", "1"], "--table"),
        (vec!["--starts", "2"], "--starts"),
    ] {
        let text = folder.fails(2, &[&["phase"][..], &arguments].concat());
        assert!(text.contains(reason), "{arguments:?}: {text}");
    }
    assert!(!folder.path("phase").exists(), "a refused request leaves no folder");
}

/// In single precision the differences of such patterns are lost in what they share.
#[test]
fn patterns_that_nearly_coincide_have_the_thresholds_of_all() {
    let folder = Folder::new();
    let few = ["--count", "5", "--betas", "8", "--starts", "9", "--patterns", "equidistant"];
    for cosine in ["0.95", "0.9999999", "0.999999999999"] {
        ok(&folder, &[&few[..], &["--cosine", cosine]].concat());
        let results = json(&folder.path("phase/results.json"));
        let found = &results["thresholds"];
        for name in ["b1", "b2", "b3"] {
            let [formula, measured] =
                ["formula", "measured"].map(|key| found[key][name].as_f64().unwrap());
            assert!((measured / formula - 1.0).abs() < 5e-3, "{cosine}: {found}");
        }
        let distance = results["patterns"]["distance"].as_f64().unwrap();
        let expected = (2.0 * (1.0 - cosine.parse::<f64>().unwrap())).sqrt();
        assert!((distance / expected - 1.0).abs() < 1e-5, "{cosine}: {distance}");
    }
}

#[test]
fn own_patterns_are_images_vectors_or_latents() {
    let folder = Folder::new();
    folder.ok(&train("run", "64", "1"));
    let vectors: Vec<f32> = (0..15_u8).map(|at| f32::from(at * at) / 9.0 - 7.0).collect();
    let array = Array::F32(vec![5, 3], &vectors);
    npz::save(&folder.path("vectors.npz"), &[("latents", array)]).unwrap();
    let pixels: Vec<u8> = (0..60).map(|at| at * 4).collect();
    npz::save(&folder.path("images.npz"), &[("x", Array::U8(vec![6, 5, 2], &pixels))]).unwrap();
    let few = ["--betas", "4", "--starts", "6", "--patterns"];
    for (patterns, count, dimension, kind) in [
        ("vectors.npz", None, 3, "vectors of vectors.npz"),
        ("images.npz", None, 10, "images of images.npz"),
        ("images.npz", Some("4"), 10, "images of images.npz"),
        ("checkpoints/run", Some("7"), 4, "latents of checkpoints/run"),
    ] {
        let mut arguments = [&few[..], &[patterns]].concat();
        arguments.extend(count.map(|count| ["--count", count]).into_iter().flatten());
        ok(&folder, &arguments);
        let found = &json(&folder.path("phase/results.json"))["patterns"];
        let expected = count.map_or(if dimension == 3 { 5 } else { 6 }, |c| c.parse().unwrap());
        assert_eq!((&found["kind"], &found["dimension"]), (&kind.into(), &dimension.into()));
        assert_eq!(found["count"], expected, "{patterns}");
    }
    let text = folder.fails(1, &["phase", "--patterns", "vectors.npz", "--count", "6"]);
    assert!(text.contains("vectors.npz holds 5 patterns"), "{text}");
    let text = folder.fails(1, &["phase", "--patterns", "nowhere.npz"]);
    assert!(text.contains("nowhere.npz"), "{text}");
    let text = folder.fails(2, &["phase", "--patterns", "nowhere"]);
    assert!(text.contains("a folder is written with a slash"), "{text}");
}
