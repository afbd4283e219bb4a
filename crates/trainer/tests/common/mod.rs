//! Shared by the tests of the program.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may panic, and not every test uses everything"
)]

pub mod events;
pub mod quick;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// An empty working folder; downloads are disabled.
pub struct Folder(TempDir);

impl Folder {
    #[allow(clippy::new_without_default, reason = "it creates a folder")]
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hvae"));
        command.current_dir(self.0.path()).args(arguments).env("HVAE_MNIST_MIRRORS", "");
        command.env("XDG_CACHE_HOME", self.path("cache"));
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that must succeed; its standard output.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a command that must fail with `code`; its standard error.
    pub fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
        assert!(!text.contains("panicked"), "{arguments:?}: {text}");
        text
    }
}

/// Reports that a test is skipped because `reason`: this machine lacks `means`. A failure if
/// `HVAE_MUST` is 1 or names them, as in `HVAE_MUST=numpy,rights`.
#[allow(clippy::print_stderr, reason = "skipped tests are reported")]
pub fn skipped(means: &str, reason: &str) {
    let must = std::env::var("HVAE_MUST").unwrap_or_default();
    let needed = must.split(',').any(|word| word == "1" || word == means);
    assert!(!needed, "HVAE_MUST={must}, but {reason}");
    eprintln!("SKIPPED: {reason}");
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A model small enough for a test, long enough to be interrupted.
pub fn train<'a>(name: &'a str, images: &'a str, epochs: &'a str) -> Vec<&'a str> {
    vec![
        "train",
        "--dataset",
        "synthetic",
        "--test-images",
        "100",
        "--batch-size",
        "32",
        "--set",
        "model.hidden=[24]",
        "--set",
        "model.latent=4",
        "--threads",
        "1",
        "--name",
        name,
        "--train-images",
        images,
        "--epochs",
        epochs,
    ]
}

pub fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

pub fn json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&read(path)).unwrap()
}

pub fn newest(run: &Path) -> PathBuf {
    run.join(String::from_utf8(read(&run.join("latest"))).unwrap().trim())
}

/// The metrics without what depends on the clock.
pub fn metrics(run: &Path) -> Vec<serde_json::Value> {
    let text = String::from_utf8(read(&run.join("metrics.jsonl"))).unwrap();
    let parse = |line: &str| {
        let mut value: serde_json::Value = serde_json::from_str(line).unwrap();
        for clock in ["seconds", "images_per_second"] {
            assert!(value.as_object_mut().unwrap().remove(clock).is_some());
        }
        value
    };
    text.lines().map(parse).collect()
}

pub fn assert_same_run(a: &Path, b: &Path) {
    assert_eq!(metrics(a), metrics(b));
    let (a, b) = (newest(a), newest(b));
    assert_eq!(a.file_name(), b.file_name());
    let files = |folder: &Path| {
        let entries = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name());
        let mut names: Vec<_> = entries.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(files(&a), files(&b));
    for file in files(&a) {
        assert!(read(&a.join(&file)) == read(&b.join(&file)), "{file} differs");
    }
}
