//! Damaged and hostile files of every kind that comes from outside: each ends in images, numbers or
//! an error, never in a panic, within seconds and a bounded amount of memory.
//!
//! Inputs are the files of `tests/corpus`, and files made here, with bytes changed at random. The
//! seed is fixed; `HVAE_FUZZ_SECONDS=600` tries others for so long for each kind of file,
//! with `HVAE_FUZZ_KINDS=1/4` for every fourth kind from the first on.

use std::fs;
use std::io::{Cursor, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;
use burn::tensor::Device;
use clap::Parser;
use flate2::{Compression, Crc, write::GzEncoder};
use hvae::api::{CheckpointChoice, Trained};
use hvae::commands::Cli;
use hvae::run::{Environment, Summary};
use hvae_data::own::{OwnImages, Part};
use hvae_data::{ImageShape, KnownFile, Split, synthetic};
use hvae_runtime::rng::{self, Stream};
use hvae_runtime::{files, memory};
use hvae_scores::{Extractor, FeatureChoice, Statistics};
use image::{DynamicImage, ImageFormat};
use npyz::zip::write::FileOptions;
use npyz::zip::{CompressionMethod, ZipWriter};
use rand::{Rng, RngExt};

use crate::common::{Folder, newest, read, train};

/// Inputs of each kind, unless a time is given.
const INPUTS: usize = 150;
/// One input may take the processor so long; most take less than a millisecond.
const LONGEST: Duration = Duration::from_secs(10);
/// Memory that all may take at once: what a picture says it holds is read up to 512 MiB.
const MEMORY: f64 = 700e6;

/// What the program does with a file.
type Reader = Box<dyn Fn(&Path) -> Result<()>>;

/// A kind of file: examples, what makes a damaged one of a damaged part, and what reads it.
struct Kind {
    name: &'static str,
    /// File names and contents.
    examples: Vec<(String, Vec<u8>)>,
    wrap: fn(&[u8]) -> Vec<u8>,
    read: Reader,
}

impl Kind {
    fn new(
        name: &'static str,
        examples: Vec<(String, Vec<u8>)>,
        read: impl Fn(&Path) -> Result<()> + 'static,
    ) -> Self {
        Self { name, examples, wrap: <[u8]>::to_vec, read: Box::new(read) }
    }
}

/// The files of the corpus whose names end so.
fn corpus(ending: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.to_str().unwrap().ends_with(ending)).collect();
    files.sort();
    assert!(!files.is_empty(), "{ending}");
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    files.iter().map(|path| (name(path), read(path))).collect()
}

/// Whatever can be asked of images at a path.
fn images(path: &Path) -> Result<()> {
    let source = OwnImages::find(path)?;
    source.read(Part::Split(Split::Train), Some(ImageShape::grey(6, 6)))?;
    source.read(Part::Split(Split::Test), None)?;
    Ok(())
}

fn pictures() -> Vec<(String, Vec<u8>)> {
    let set = synthetic::synthetic(4, 1, Split::Train);
    let grey = image::GrayImage::from_raw(28, 28, set.image(3).to_vec()).unwrap();
    let grey = DynamicImage::ImageLuma8(grey);
    let mut clear = grey.to_rgba8();
    clear.pixels_mut().for_each(|pixel| pixel.0[3] = pixel.0[0]);
    let mut found = Vec::new();
    for (name, picture, format) in [
        ("a.png", grey.clone(), ImageFormat::Png),
        ("b.png", DynamicImage::ImageLuma16(grey.to_luma16()), ImageFormat::Png),
        ("c.png", DynamicImage::ImageRgba8(clear), ImageFormat::Png),
        ("d.jpg", DynamicImage::ImageRgb8(grey.to_rgb8()), ImageFormat::Jpeg),
        ("e.gif", DynamicImage::ImageRgba8(grey.to_rgba8()), ImageFormat::Gif),
        ("f.webp", DynamicImage::ImageRgb8(grey.to_rgb8()), ImageFormat::WebP),
        ("g.bmp", grey, ImageFormat::Bmp),
    ] {
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, format).unwrap();
        found.push((name.to_owned(), bytes.into_inner()));
    }
    found
}

/// A `.png` with the checksums of its parts put right; other pictures as they are.
fn with_checksums(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let mut at = 8;
    while bytes.starts_with(b"\x89PNG") {
        let Some(length) = bytes.get(at..).and_then(|rest| rest.first_chunk().copied()) else {
            break;
        };
        let end = (u32::from_be_bytes(length) as usize).saturating_add(at + 8);
        let Some(part) = bytes.get(at + 4..end) else { break };
        let mut sum = Crc::new();
        sum.update(part);
        let Some(place) = bytes.get_mut(end..end + 4) else { break };
        place.copy_from_slice(&sum.sum().to_be_bytes());
        at = end + 4;
    }
    bytes
}

/// An array in an archive with a right checksum.
fn archived(bytes: &[u8]) -> Vec<u8> {
    let method = [CompressionMethod::Stored, CompressionMethod::Deflated][bytes.len() % 2];
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for name in ["images.npy", "labels.npy"] {
        archive.start_file(name, FileOptions::default().compression_method(method)).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

pub(crate) fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn renamed(files: Vec<(String, Vec<u8>)>, ending: &str) -> Vec<(String, Vec<u8>)> {
    files.into_iter().map(|(name, bytes)| (format!("{name}{ending}"), bytes)).collect()
}

/// Runs a command of the program in this process.
fn command(words: &[&str]) -> Result<()> {
    let words = [&["hvae", "--quiet"][..], words].concat();
    Cli::try_parse_from(words)?.run().map(drop)
}

/// The files of a run, of which the copy in `folder` is read whole.
fn run_files(run: &Path, name: &'static str, file: &Path) -> Kind {
    let (run, file) = (run.to_owned(), file.to_owned());
    let original = read(&file);
    let example = (file.file_name().unwrap().to_str().unwrap().to_owned(), original.clone());
    Kind::new(name, vec![example], move |damaged| {
        fs::copy(damaged, &file)?;
        let all = || {
            let trained = Trained::load(&run, CheckpointChoice::Latest, &Device::flex())?;
            trained.config.to_toml()?;
            Environment::of(&trained.run)?;
            Summary::of(&trained.run).map(drop)
        };
        let result = all();
        fs::write(&file, &original)?;
        result
    })
}

fn kinds(folder: &Folder) -> Vec<Kind> {
    folder.ok(&train("run", "64", "1"));
    let run = folder.path("checkpoints/run");
    folder.ok(&["export", "checkpoints/run", "--out", "run.safetensors"]);
    let exported = vec![("a.safetensors".to_owned(), read(&folder.path("run.safetensors")))];
    let target = folder.path("imported");
    let classifier = Path::new(env!("CARGO_MANIFEST_DIR"));
    let classifier = read(&classifier.join("../scores/assets/mnist-classifier.safetensors"));
    // What a file of Inception's weights holds is looked at only if its sum is right.
    let weights = exported[0].1.clone();
    let sha256 = files::hex_sha256(&weights).leak();
    let known = KnownFile { name: "a.pth", bytes: weights.len(), sha256 };
    let in_archive =
        Kind { wrap: archived, ..Kind::new("npy in npz", renamed(corpus("npy"), ".npz"), images) };
    let packed = corpus("train-images-idx3-ubyte");
    let packed = Kind { wrap: gzipped, ..Kind::new("idx in gzip", renamed(packed, ".gz"), images) };
    let alone = |path: &Path| -> Result<()> {
        let (name, place) = (path.file_name().unwrap(), path.with_extension("folder"));
        fs::create_dir_all(&place)?;
        fs::copy(path, place.join(name))?;
        let read = OwnImages::find(&place)?.read(Part::Whole, Some(ImageShape::grey(6, 6)));
        fs::remove_dir_all(place)?;
        read.map(drop)
    };
    vec![
        Kind::new("npz", corpus("npz"), images),
        Kind::new("statistics", corpus("statistics.npz"), |path| Statistics::load(path).map(drop)),
        Kind::new("npy", corpus("npy"), images),
        in_archive,
        Kind::new("idx", corpus("train-images-idx3-ubyte"), images),
        packed,
        Kind::new("gzip", corpus("gz"), images),
        Kind::new("pictures", pictures(), alone),
        Kind { wrap: with_checksums, ..Kind::new("checked pictures", pictures(), alone) },
        Kind::new("safetensors", exported, move |path| {
            let [path, runs] = [path, &target].map(|path| path.to_str().unwrap());
            let result = command(&["import", path, "--runs", runs, "--name", "run"]);
            let _ = fs::remove_dir_all(&target);
            result
        }),
        Kind::new("classifier", vec![("a.safetensors".to_owned(), classifier)], |path| {
            let choice = FeatureChoice::File(path.to_owned());
            Extractor::load(&choice, None, &Device::flex()).map(drop)
        }),
        Kind::new("pth", vec![("a.pth".to_owned(), weights)], move |path| known.verify(path)),
        run_files(&run, "config.toml", &run.join("config.toml")),
        run_files(&run, "metrics.jsonl", &run.join("metrics.jsonl")),
        run_files(&run, "environment.json", &run.join("environment.json")),
        run_files(&run, "state.json", &newest(&run).join("state.json")),
        run_files(&run, "latest", &run.join("latest")),
        // With averages, the weights that are used.
        run_files(&run, "ema.safetensors", &newest(&run).join("ema.safetensors")),
    ]
}

/// Numbers in texts, and where programs count.
const NUMBERS: [&str; 10] = [
    "0",
    "-1",
    "1e999",
    "NaN",
    "null",
    "18446744073709551616",
    "4294967295",
    "999999999",
    "\"x\"",
    "[]",
];

/// Changes `bytes` in one way of several.
fn damage(bytes: &mut Vec<u8>, other: &[u8], rng: &mut impl Rng) {
    let at = rng.random_range(0..=bytes.len());
    let length = rng.random_range(0..=(bytes.len() - at).min(64));
    match rng.random_range(0..10) {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(at..at + length)),
        2 => {
            let copy = bytes[at..at + length].to_vec();
            bytes.splice(at..at, copy);
        }
        3 => drop(bytes.splice(at..at, other.iter().copied().take(length + 1)).collect::<Vec<_>>()),
        4 => {
            let nested = ["[", "(", "{\"a\":", "x = ["][length % 4].repeat(4000);
            bytes.splice(at..at, nested.into_bytes());
        }
        5 | 6 => {
            // A number in a text.
            let digits =
                |from: usize| bytes[from..].iter().position(u8::is_ascii_digit).map(|n| from + n);
            if let Some(start) = digits(at).or_else(|| digits(0)) {
                let end = bytes[start..].iter().position(|b| !b.is_ascii_digit());
                let end = end.map_or(bytes.len(), |n| start + n);
                let number = NUMBERS[rng.random_range(0..NUMBERS.len())];
                bytes.splice(start..end, number.bytes());
            }
        }
        7 => {
            let value = [0, 0x7f, 0x80, 0xff][length % 4];
            bytes.iter_mut().skip(at).take(1 << (length % 4)).for_each(|byte| *byte = value);
        }
        _ => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << (length % 8);
            }
        }
    }
}

/// Inputs tried, and how many of them were read without an error.
fn try_all(kind: &Kind, folder: &Folder, seconds: Option<u64>) -> [usize; 2] {
    let seed = if seconds.is_some() { rand_seed() } else { 1 };
    let mut rng = rng::generator(seed, Stream::Order, 0);
    let (started, mut tried, mut taken) = (Instant::now(), 0, 0);
    let place = folder.path(&format!("damaged-{}", kind.name.replace(' ', "-")));
    fs::create_dir_all(&place).unwrap();
    let more = |tried: usize| match seconds {
        Some(seconds) => started.elapsed() < Duration::from_secs(seconds),
        None => tried < INPUTS,
    };
    while more(tried) {
        let count = kind.examples.len();
        let (name, example) = &kind.examples[rng.random_range(0..count)];
        let other = &kind.examples[rng.random_range(0..count)].1;
        let mut bytes = example.clone();
        for _ in 0..rng.random_range(0..4) {
            damage(&mut bytes, other, &mut rng);
        }
        let path = place.join(name);
        fs::write(&path, (kind.wrap)(&bytes)).unwrap();
        let before = (Instant::now(), processor_time());
        let result = catch_unwind(AssertUnwindSafe(|| (kind.read)(&path)));
        let slow = before.0.elapsed().min(processor_time().saturating_sub(before.1)) > LONGEST;
        if result.is_err() || slow {
            let kept = std::env::temp_dir().join(format!("hvae-damaged-{seed}-{tried}-{name}"));
            fs::copy(&path, &kept).unwrap();
            panic!("{}: {} {}", kind.name, kept.display(), if slow { "is slow" } else { "panics" });
        }
        tried += 1;
        taken += usize::from(result.is_ok_and(|read| read.is_ok()));
        fs::remove_file(path).unwrap();
    }
    [tried, taken]
}

/// What this process has used of the processor; on a busy machine it waits longer than it works.
fn processor_time() -> Duration {
    let text = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace();
    // User and system time in hundredths of a second.
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(10 * ticks)
}

fn rand_seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(now.as_nanos() % u128::from(u64::MAX)).unwrap()
}

#[test]
#[allow(clippy::print_stdout, reason = "figures of a long run")]
fn damaged_files_end_in_an_answer_or_an_error() {
    let seconds = std::env::var("HVAE_FUZZ_SECONDS").ok().map(|text| text.parse().unwrap());
    let folder = Folder::new();
    let peak = || memory::kilobytes("/proc/self/status", "VmHWM:").unwrap_or_default();
    let before = peak();
    let part = std::env::var("HVAE_FUZZ_KINDS").unwrap_or_else(|_| "1/1".to_owned());
    let (from, every) = part.split_once('/').unwrap();
    let (from, every) = (from.parse::<usize>().unwrap() - 1, every.parse().unwrap());
    for kind in kinds(&folder).into_iter().skip(from).step_by(every) {
        for (name, example) in &kind.examples {
            assert!(!example.is_empty(), "{name}");
        }
        let [tried, taken] = try_all(&kind, &folder, seconds);
        println!("{}: {tried} inputs, {taken} read, {} refused", kind.name, tried - taken);
        assert!(taken > 0, "{}: not even an unchanged file is read", kind.name);
        assert!(peak() - before < MEMORY, "{}: {}", kind.name, memory::shown(peak() - before));
    }
}
