//! `hvae fid`, `hvae eval`, `hvae classifier` and `hvae weights` run as programs, offline.

use crate::common::{Folder, json, stderr, train};
use hvae::figures::picture;
use hvae_data::{ImageSize, Split, synthetic};
use hvae_runtime::npz;
use hvae_runtime::npz::Array;

/// `count` synthetic images as bytes in a `.npz`.
fn images(folder: &Folder, name: &str, count: usize, split: Split) {
    let set = synthetic::synthetic(count, 1, split);
    let array = Array::U8(vec![count, 28, 28], set.bytes());
    let labels = Array::U8(vec![count], set.labels());
    npz::save(&folder.path(name), &[("images", array), ("labels", labels)]).unwrap();
}

fn floats(folder: &Folder, name: &str, shape: &[usize], values: &[f32]) {
    let array = Array::F32(shape.to_vec(), values);
    npz::save(&folder.path(name), &[("images", array)]).unwrap();
}

/// The number after `FID `.
fn fid(output: &str) -> f64 {
    output.lines().find_map(|line| line.strip_prefix("FID ")).unwrap().parse().unwrap()
}

#[test]
fn every_kind_of_set_can_be_compared() {
    let folder = Folder::new();
    images(&folder, "a.npz", 200, Split::Train);
    images(&folder, "b.npz", 180, Split::Test);
    // The same images in a folder of PNG files and in an IDX file.
    let set = synthetic::synthetic(200, 1, Split::Train);
    let values: Vec<f32> = set.bytes().iter().map(|&byte| f32::from(byte) / 255.0).collect();
    picture::save_folder(&folder.path("a"), &values, ImageSize { height: 28, width: 28 }).unwrap();
    let mut idx = vec![0, 0, 8, 3, 0, 0, 0, 200, 0, 0, 0, 28, 0, 0, 0, 28];
    idx.extend(set.bytes());
    std::fs::write(folder.path("a-images-idx3-ubyte"), idx).unwrap();

    let forward = fid(&folder.ok(&["fid", "a.npz", "b.npz", "--save-stats", "stats.npz"]));
    assert!(forward > 0.1, "{forward}");
    for a in ["a", "a-images-idx3-ubyte", "stats.npz"] {
        let same = fid(&folder.ok(&["fid", a, "b.npz"]));
        assert!((same - forward).abs() < 1e-3 * forward, "{a}: {same} for {forward}");
    }
    let back = fid(&folder.ok(&["fid", "b.npz", "a.npz"]));
    assert!((back - forward).abs() < 1e-3 * forward, "{back} for {forward}");
    assert!(fid(&folder.ok(&["fid", "a.npz", "a"])).abs() < 1e-4);

    let output =
        folder.ok(&["fid", "a.npz", "b.npz", "--more", "--count", "150", "--json", "s.json"]);
    for part in [
        "KID",
        "precision",
        "coverage",
        "mnist-classifier (128 features, sha256",
        "a.npz (150 images)",
    ] {
        assert!(output.contains(part), "{part} is not in {output}");
    }
    let scores = json(&folder.path("s.json"));
    assert!((scores["fid"].as_f64().unwrap() - fid(&output)).abs() < 1e-3);
    assert!((0.0..=1.0).contains(&scores["more"]["precision"].as_f64().unwrap()));
}

#[test]
fn a_run_is_scored_from_its_samples() {
    let folder = Folder::new();
    folder.ok(&train("h", "640", "1"));
    images(&folder, "test.npz", 200, Split::Test);
    let arguments = ["fid", "checkpoints/h", "test.npz", "--count", "200", "--seed", "3"];
    let output = folder.ok(&arguments);
    assert!(output.contains("200 samples from the prior, seed 3"), "{output}");
    assert_eq!(output, folder.ok(&arguments));
    // `hvae sample` draws the same images.
    folder.ok(&["sample", "checkpoints/h", "--count", "200", "--seed", "3", "--out", "s.npz"]);
    let drawn = fid(&folder.ok(&["fid", "s.npz", "test.npz"]));
    assert!((drawn - fid(&output)).abs() < 1e-3 * drawn, "{drawn} {output}");

    let mixture = folder.ok(&[&arguments[..], &["--from", "mixture"]].concat());
    assert!(mixture.contains("GMM prior (10 components)"), "{mixture}");
    assert!((fid(&mixture) - fid(&output)).abs() > 1e-6 * fid(&output));
    folder.ok(&["sample", "checkpoints/h", "--from", "mixture", "--out", "mixture.png"]);

    let how = ["--count", "200", "--nll-images", "20", "--nll-samples", "16"];
    let output = folder.run(&[&["eval", "checkpoints/h"][..], &how].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    for stage in [
        "reconstructing 100 test images",
        "likelihood of 20 test images, 16 latents each",
        "test images: features of 100 images",
        "samples of the prior: features of 200 images",
        "encoding 640 training images",
        "mixture of 10 Gaussians to 640 latents",
        "recall of 200 samples and 100 images",
    ] {
        assert!(stderr(&output).contains(stage), "{stage} is not in {}", stderr(&output));
    }
    let table = String::from_utf8(output.stdout).unwrap();
    for part in [
        "NLL",
        "FID, prior",
        "FID, GMM prior (10 components)",
        "K = 16",
        "binarization: none",
        "200 samples, seed 0",
    ] {
        assert!(table.contains(part), "{part} is not in {table}");
    }
    // The name of the file holds the settings that are not the defaults.
    let scores = json(&folder.path("checkpoints/h/evaluation-count200-nll20x16.json"));
    let number = |value: &serde_json::Value| value.as_f64().unwrap();
    let likelihood = &scores["likelihood"];
    // Up to Monte Carlo noise.
    assert!(number(&likelihood["nll"]["mean"]) <= -number(&likelihood["elbo"]["mean"]) + 0.5);
    assert!(number(&likelihood["nll"]["standard_error"]) > 0.0);
    for source in ["prior", "mixture"] {
        let distances = &scores[source];
        assert!(number(&distances["fid"]) > 0.0 && number(&distances["kid"]["mean"]).is_finite());
        assert_eq!(distances["real_images"], 100);
    }
}

/// What `hvae train` takes: colours, 16 bits, transparency, sizes, classes by name, and parts.
#[test]
fn whatever_can_be_trained_on_can_be_scored() {
    let folder = Folder::new();
    let set = synthetic::synthetic(40, 1, Split::Train);
    for part in ["train", "test"] {
        for index in 0..20_usize {
            let class = folder.path(&format!("photos/{part}/{}", ["cat", "dog"][index % 2]));
            std::fs::create_dir_all(&class).unwrap();
            let grey = image::GrayImage::from_raw(28, 28, set.image(index).to_vec()).unwrap();
            let picture = image::DynamicImage::ImageLuma8(grey);
            let path = class.join(format!("{index}.png"));
            match index % 4 {
                0 => picture.to_rgb8().save(path),
                1 => picture.to_luma16().save(path),
                2 => picture.to_rgba8().save(path),
                _ => picture.resize(56, 56, image::imageops::FilterType::Nearest).save(path),
            }
            .unwrap();
        }
    }
    std::fs::write(folder.path("photos/train/cat/Thumbs.db"), "x").unwrap();
    let pixels: Vec<u8> = set.bytes().to_vec();
    let half = |at: usize| Array::U8(vec![20, 28, 28], &pixels[at * 20 * 784..][..20 * 784]);
    npz::save(&folder.path("parts.npz"), &[("x_train", half(0)), ("x_test", half(1))]).unwrap();
    let output = folder.run(&["fid", "./photos", "parts.npz"]);
    let text = stderr(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("photos: 20 test images (5 resized to 28x28)"), "{text}");
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains("A = test part of ./photos (20 images)"), "{shown}");
    // Both sides are read before anything is computed.
    folder.ok(&train("h", "640", "1"));
    std::fs::write(folder.path("photos/test/dog/1.png"), "<html>").unwrap();
    let output = folder.run(&["fid", "checkpoints/h", "./photos"]);
    let text = stderr(&output);
    assert!(!output.status.success() && text.contains("1.png"), "{text}");
    assert!(!text.contains("features of"), "{text}");
    let shown = folder.ok(&["fid", "checkpoints/h", "test", "--count", "100"]);
    assert!(shown.contains("B = test images of checkpoints/h (100 images)"), "{shown}");
}

#[test]
fn errors_name_the_bad_input() {
    let folder = Folder::new();
    images(&folder, "good.npz", 20, Split::Test);
    let error = |a: &str, parts: &[&str]| {
        let text = folder.fails(1, &["fid", a, "good.npz"]);
        for part in parts {
            assert!(text.contains(part), "{a}: {part} is not in {text}");
        }
    };
    error("nothing", &["nothing", "neither a file nor a folder"]);
    std::fs::create_dir(folder.path("empty")).unwrap();
    error("empty", &["empty", "holds no pictures"]);
    let mixed = folder.path("mixed");
    picture::save_folder(&mixed, &[0.5; 2 * 784], ImageSize { height: 28, width: 28 }).unwrap();
    std::fs::write(mixed.join("x.png"), "not a picture").unwrap();
    error("mixed", &["x.png"]);
    let mut values = vec![0.5; 784 * 2];
    values[784 + 29] = f32::NAN;
    floats(&folder, "nan.npz", &[2, 28, 28], &values);
    error("nan.npz", &["nan.npz", "image 1, row 1, column 1", "not a number"]);
    std::fs::write(folder.path("text"), "hello").unwrap();
    error("text", &["text", "IDX"]);
    let whole = std::fs::read(folder.path("good.npz")).unwrap();
    std::fs::write(folder.path("cut.npz"), &whole[..whole.len() / 2]).unwrap();
    error("cut.npz", &["cut.npz"]);
    floats(&folder, "one.npz", &[1, 28, 28], &[0.5; 784]);
    error("one.npz", &["one.npz", "at least 2"]);
    let text = folder.fails(1, &["fid", "good.npz", "good.npz", "--count", "21"]);
    assert!(text.contains("good.npz has 20") && text.contains("--count 21"), "{text}");
    npz::save(
        &folder.path("stats.npz"),
        &[("mu", Array::F64(vec![3], &[0.0; 3])), ("sigma", Array::F64(vec![3, 3], &[0.0; 9]))],
    )
    .unwrap();
    error("stats.npz", &["stats.npz", "of 3 features", "gives 128"]);
    let text = folder.fails(1, &["fid", "stats.npz", "good.npz", "--more"]);
    assert!(text.contains("needs images on both sides"), "{text}");
}

/// Files of statistics name their features; those of pytorch-fid do not, and cause a warning.
#[test]
fn statistics_of_other_features_are_refused() {
    let folder = Folder::new();
    images(&folder, "a.npz", 160, Split::Train);
    images(&folder, "b.npz", 150, Split::Test);
    folder.ok(&["fid", "a.npz", "b.npz", "--save-stats", "stats.npz"]);
    let output = folder.run(&["fid", "stats.npz", "b.npz"]);
    assert!(output.status.success() && !stderr(&output).contains("warning"), "{}", stderr(&output));
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains("A = statistics stats.npz of a.npz (160 images)"), "{shown}");

    let load = |name| npz::load(&folder.path("stats.npz"), name).unwrap();
    let (mu, sigma) = (load("mu"), load("sigma"));
    let (npz::Values::F64(mean), npz::Values::F64(covariance)) = (mu.values, sigma.values) else {
        panic!("statistics are float64")
    };
    let mean = Array::F64(mu.shape, &mean);
    let covariance = Array::F64(sigma.shape, &covariance);
    let both = [("mu", mean), ("sigma", covariance)];
    npz::save(&folder.path("plain.npz"), &both).unwrap();
    let output = folder.run(&["fid", "plain.npz", "b.npz", "--save-stats", "still-plain.npz"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("do not say in which features"), "{}", stderr(&output));
    let names = npz::names(&folder.path("still-plain.npz")).unwrap();
    assert_eq!(names, ["mu", "sigma"], "no origin is invented");

    let own = ["classifier", "train", "--epochs", "1", "--out", "own.safetensors"];
    let data = ["--images", "a.npz", "--test-images", "b.npz"];
    folder.ok(&[&own[..], &data].concat());
    let text = folder.fails(1, &["fid", "stats.npz", "b.npz", "--features", "own.safetensors"]);
    for part in ["stats.npz", "mnist-classifier (128 features", "gives classifier own.safetensors"]
    {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    // Features are identified by their weights, not by the name of the file.
    folder.ok(&["fid", "a.npz", "b.npz", "--features", "own.safetensors", "--save-stats", "o.npz"]);
    std::fs::rename(folder.path("own.safetensors"), folder.path("mine.safetensors")).unwrap();
    folder.ok(&["fid", "o.npz", "b.npz", "--features", "mine.safetensors"]);

    let later = br#"{"format":2}"#;
    let entry = Array::U8(vec![later.len()], later);
    let three = [both[0].clone(), both[1].clone(), ("protocol", entry)];
    npz::save(&folder.path("later.npz"), &three).unwrap();
    let text = folder.fails(1, &["fid", "later.npz", "b.npz"]);
    assert!(text.contains("`protocol` of later.npz") && text.contains("format 2"), "{text}");
}

#[test]
fn errors_about_weights_name_the_remedies() {
    let folder = Folder::new();
    images(&folder, "good.npz", 20, Split::Test);
    let inception = ["fid", "good.npz", "good.npz", "--features", "inception"];
    let text = folder.fails(1, &inception);
    assert!(text.contains("hvae weights fetch") && text.contains("--inception-weights"), "{text}");
    std::fs::write(folder.path("cut.pth"), b"PK\x03\x04 and a little more").unwrap();
    let text = folder.fails(1, &[&inception[..], &["--inception-weights", "cut.pth"]].concat());
    assert!(text.contains("cut.pth") && text.contains("truncated"), "{text}");
    let text = folder.fails(1, &["weights", "check", "cut.pth"]);
    assert!(text.contains("cut.pth"), "{text}");
    let text = folder.fails(1, &["weights", "fetch", "--url", "http://127.0.0.1:1/w.pth"]);
    assert!(text.contains("127.0.0.1:1") && text.contains("--inception-weights"), "{text}");
    assert!(!folder.path("cache/hvae").join("pt_inception-2015-12-05-6726825d.pth").exists());
    let text = folder.fails(1, &["fid", "good.npz", "good.npz", "--features", "none.safetensors"]);
    assert!(text.contains("none.safetensors"), "{text}");
}

#[test]
fn a_trained_classifier_gives_features() {
    let folder = Folder::new();
    images(&folder, "train.npz", 300, Split::Train);
    images(&folder, "test.npz", 150, Split::Test);
    folder.ok(&[
        "classifier",
        "train",
        "--images",
        "train.npz",
        "--test-images",
        "test.npz",
        "--epochs",
        "1",
        "--out",
        "own.safetensors",
    ]);
    let output = folder.ok(&["fid", "train.npz", "test.npz", "--features", "own.safetensors"]);
    assert!(output.contains("classifier own.safetensors (128 features"), "{output}");
    let accuracy =
        folder.ok(&["classifier", "test", "own.safetensors", "--test-images", "test.npz"]);
    assert!(accuracy.starts_with("accuracy 0."), "{accuracy}");
    floats(&folder, "unlabelled.npz", &[2, 28, 28], &[0.5; 2 * 784]);
    let text = folder.fails(
        1,
        &[
            "classifier",
            "train",
            "--images",
            "unlabelled.npz",
            "--test-images",
            "test.npz",
            "--out",
            "x.safetensors",
        ],
    );
    assert!(text.contains("unlabelled.npz has no labels"), "{text}");
    // Whatever the source of the images, and whatever is wrong with the labels.
    let (values, grey) = (vec![7; 80 * 784], vec![0.5; 80 * 784]);
    let images = Array::U8(vec![80, 28, 28], &values);
    let labels = Array::I64(vec![80], &[300; 80]);
    npz::save(&folder.path("odd.npz"), &[("images", images), ("labels", labels)]).unwrap();
    floats(&folder, "bare.npz", &[80, 28, 28], &grey);
    let mut converge = vec!["converge", "--networks", "3", "--hidden", "8"];
    converge.extend(["--train-images", "64", "--test-images", "2", "--dataset"]);
    for set in ["odd.npz", "bare.npz"] {
        for command in [
            &["classifier", "test", "--dataset"][..],
            &["classifier", "train", "--out", "x.safetensors", "--dataset"],
            &converge,
        ] {
            let text = folder.fails(1, &[command, &[set]].concat());
            assert!(text.contains(&format!("{set} has no labels")), "{command:?}: {text}");
        }
    }
    assert!(!folder.path("x.safetensors").exists());
    let text = folder.fails(1, &["classifier", "test", "--test-images", "odd.npz"]);
    assert!(text.contains("odd.npz") && text.contains("label 0 of `labels` is 300"), "{text}");
    let mut train = train("odd", "18", "1");
    train.retain(|word| !["--test-images", "100"].contains(word));
    let at = train.iter().position(|word| *word == "synthetic").unwrap();
    train[at] = "odd.npz";
    let output = folder.run(&train);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("labels left out: label 0 of `labels` is 300"),
        "{}",
        stderr(&output)
    );
}
