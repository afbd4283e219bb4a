//! Pictures with their titles and texts, and event files.

use std::path::Path;
use std::time::SystemTime;

use crate::common::events::{Picture, Scalar, pictures, scalars};
use crate::common::{Folder, metrics, read, train};

const RUN: &str = "checkpoints/run";

#[test]
fn event_files_hold_the_metrics_and_a_resumed_run_adds_one() {
    let folder = Folder::new();
    let mut arguments = train("run", "640", "2");
    arguments.push("--tensorboard");
    folder.ok(&arguments);
    // Resumed without --tensorboard, a run that already has event files keeps writing them.
    folder.ok(&["train", "--resume", RUN, "--epochs", "3", "--threads", "1"]);
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
    let drawn: Vec<Picture> = files.iter().flat_map(|file| pictures(file)).collect();
    assert_eq!(drawn.len(), 2 * 3, "samples and reconstructions of each epoch");
    for Picture { step, tag, extent, png } in drawn {
        let file = format!("checkpoints/run/{tag}/epoch-{:04}.png", step / 20);
        assert!(png == read(&folder.path(&file)), "{file}");
        assert_eq!(image::load_from_memory(&png).unwrap().into_luma8().dimensions(), extent);
    }
}

/// The texts of a PNG file by their keywords.
fn texts(path: &Path) -> Vec<(String, String)> {
    let bytes = read(path);
    let mut rest = &bytes[8..];
    let mut found = Vec::new();
    while rest.len() > 12 {
        let length = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
        if &rest[4..8] == b"tEXt" {
            let at = 8 + rest[8..].iter().position(|byte| *byte == 0).unwrap();
            let latin = |bytes: &[u8]| bytes.iter().map(|byte| char::from(*byte)).collect();
            found.push((latin(&rest[8..at]), latin(&rest[at + 1..8 + length])));
        }
        rest = &rest[12 + length..];
    }
    found
}

#[test]
fn pictures_have_titles_and_say_where_they_are_from() {
    let folder = Folder::new();
    folder.ok(&train("run", "640", "4"));
    let drawn = |line: &str, facts: &[(&str, &str)]| {
        let words: Vec<&str> = line.split(' ').collect();
        folder.ok(&words);
        let (file, before) = words.split_last().unwrap();
        folder.ok(&[before, &["plain.png", "--plain"]].concat());
        let path = folder.path(file);
        let [title, plain] = [path.clone(), folder.path("plain.png")]
            .map(|path| image::open(path).unwrap().into_luma8());
        assert!(title.height() > plain.height() + 15, "{line}: no title");
        let (left, top) = (title.width() - plain.width(), title.height() - plain.height());
        let at = |x, y| title.get_pixel(x, y);
        let same = plain.enumerate_pixels().filter(|(x, y, p)| at(x + left, y + top) == *p).count();
        // A picture narrower than its title is aligned to the left.
        assert!(plain.width() < 280 || same == plain.len(), "{line}: other images");
        let texts = texts(&path);
        let text = |key: &str| texts.iter().find(|(k, _)| k == key).unwrap().1.clone();
        assert!(text("Command").ends_with(line) && text("Software").starts_with("hvae "));
        for (key, value) in facts {
            assert!(text(key).contains(value), "{line}: {key} is {}", text(key));
        }
    };
    let run = [("Run", RUN), ("Step", "80"), ("Training seed", "1")];
    let all = |more: &[(&'static str, &'static str)]| [&run[..], more].concat();
    drawn("sample checkpoints/run --seed 7 --out s.png", &all(&[("Seed", "7")]));
    drawn("reconstruct checkpoints/run --out r.png", &all(&[]));
    drawn("interpolate checkpoints/run 0 1 --out i.png", &all(&[("Title", "image 0, image 1")]));
    drawn("manifold checkpoints/run --side 5 --out m.png", &all(&[("Title", "components")]));
    drawn("denoise checkpoints/run --steps 2 --out d.png", &all(&[("Title", "lower half")]));
    drawn("relax checkpoints/run --frames 3 --out x.png", &all(&[("Title", "sweeps 0 to 3")]));
    let texts = texts(&folder.path("checkpoints/run/samples/epoch-0004.png"));
    for (key, value) in [("Run", RUN), ("Step", "80"), ("Seed", "1")] {
        assert!(texts.contains(&(key.to_owned(), value.to_owned())), "{key}: {texts:?}");
    }
    // Interpolations are high enough to see, and --scale says how high.
    let height = |name: &str| image::image_dimensions(folder.path(name)).unwrap().1;
    assert!(height("i.png") > 112);
    folder.ok(&["sample", RUN, "--grid", "1x1", "--plain", "--scale", "5", "--out", "o.png"]);
    assert_eq!(height("o.png"), 5 * 28);
}
