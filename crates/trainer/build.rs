//! Records the commit that the program is built from and the features that are built in, for
//! `--version`, checkpoints and reports.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let commit = commit();
    let remarks = [("commit", commit.clone()), ("features", features())].into_iter();
    let remarks = remarks.filter_map(|(what, text)| Some(format!("{what} {}", text?)));
    let remarks = remarks.collect::<Vec<_>>().join("; ");
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let version = if remarks.is_empty() { version } else { format!("{version} ({remarks})") };
    println!("cargo::rustc-env=HVAE_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
    println!("cargo::rustc-env=HVAE_VERSION={version}");
}

/// The commit of the repository that tracks this file, if there is one.
fn commit() -> Option<String> {
    git(&["ls-files", "--error-unmatch", "build.rs"])?;
    // `HEAD` names the branch; `logs/HEAD` grows with every commit. Without a log, the folders of the
    // branches change. A path that does not exist must not be listed: Cargo would rebuild every time.
    let there = |name: &&str| {
        git(&["rev-parse", "--git-path", name]).filter(|path| Path::new(path).exists())
    };
    let log = there(&"logs/HEAD");
    let others = ["refs/heads", "packed-refs", "reftable"];
    let branches = others.iter().filter(|_| log.is_none()).filter_map(there);
    for path in there(&"HEAD").into_iter().chain(log.clone()).chain(branches) {
        println!("cargo::rerun-if-changed={path}");
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}

/// The output of git; `None` if it fails or prints nothing.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}

/// The cargo features of this build in the order of their names, if there are any.
fn features() -> Option<String> {
    let names = std::env::vars_os().filter_map(|(name, _)| {
        Some(name.to_str()?.strip_prefix("CARGO_FEATURE_")?.to_lowercase())
    });
    let mut names: Vec<String> = names.filter(|name| name != "default").collect();
    names.sort();
    (!names.is_empty()).then(|| names.join(", "))
}
