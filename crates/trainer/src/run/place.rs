//! Where the folder of a run is: folders that were moved, not started, or hold the files of a run.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use hvae_runtime::files::SCRATCH;

use crate::run::choice::CheckpointChoice;

/// Files that only training writes.
const OWN: [&str; 7] = [
    "config.toml",
    "environment.json",
    "origin.json",
    "metrics.jsonl",
    "metrics.csv",
    "latest",
    "best",
];
/// Folders that only training writes into.
const OWN_FOLDERS: [&str; 3] = ["samples", "reconstructions", "tensorboard"];

/// Whether the folder `path` holds nothing but what is left of a run that ended before its first
/// checkpoint was complete.
pub(crate) fn is_unstarted(path: &Path) -> bool {
    let first = CheckpointChoice::Step(0).to_string();
    let left = ["config.toml", "origin.json", &first];
    let is_left = |name: &str| left.contains(&name) || name.starts_with(SCRATCH);
    fs::read_dir(path).is_ok_and(|mut entries| {
        entries.all(|entry| entry.is_ok_and(|e| e.file_name().to_str().is_some_and(is_left)))
    })
}

/// Whether `path` is, or would be, a file of a run that only training may write.
pub(crate) fn belongs_to_a_run(path: &Path) -> bool {
    let whole = fs::canonicalize(path).or_else(|_| std::path::absolute(path));
    let whole = whole.unwrap_or_else(|_| path.to_owned());
    whole.ancestors().skip(1).take(2).filter(|run| run.join("config.toml").is_file()).any(|run| {
        let inner = whole.strip_prefix(run).unwrap_or(&whole);
        let first = inner.iter().next().unwrap_or_default().to_string_lossy();
        let deeper = inner.iter().count() > 1;
        (!deeper && OWN.contains(&&*first))
            || (deeper && (OWN_FOLDERS.contains(&&*first) || first.starts_with("step-")))
    })
}

/// Removes a folder without a configuration in which there is nothing but what training writes:
/// that of a run which was renamed while a file was written.
pub(super) fn remove_stray(path: &Path) {
    let is_own = |name: &str| {
        OWN[1..].contains(&name)
            || OWN_FOLDERS.contains(&name)
            || name.starts_with("step-")
            || name.starts_with(SCRATCH)
    };
    let is_stray = fs::read_dir(path).is_ok_and(|mut entries| {
        entries.all(|entry| entry.is_ok_and(|e| e.file_name().to_str().is_some_and(is_own)))
    });
    if is_stray {
        // It is in nobody's way.
        let _ = fs::remove_dir_all(path);
    }
}

/// Where the folder is that was locked at `path`: the new path if it was renamed since.
///
/// # Errors
///
/// When it is not there any more, and its new place cannot be found.
pub(super) fn moved(path: &Path, lock: &File) -> Result<Option<PathBuf>> {
    if is_at(path, lock)? {
        return Ok(None);
    }
    if let Some(new) = place_of(lock)
        && is_at(&new, lock)?
    {
        let here = std::env::current_dir().unwrap_or_default();
        return Ok(Some(new.strip_prefix(here).unwrap_or(&new).to_owned()));
    }
    bail!(
        "{} was removed or moved while it was trained: nothing more can be saved. If it was moved, \
         `hvae train --resume` with its new path continues from its last checkpoint",
        path.display()
    )
}

/// Whether `path` is the folder behind `lock`.
#[cfg(unix)]
fn is_at(path: &Path, lock: &File) -> Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let identity = |data: fs::Metadata| (data.dev(), data.ino());
    let locked = lock.metadata().with_context(|| format!("reading {}", path.display()))?;
    match fs::metadata(path) {
        Ok(found) => Ok(identity(found) == identity(locked)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

#[cfg(not(unix))]
fn is_at(path: &Path, _: &File) -> Result<bool> {
    path.try_exists().with_context(|| format!("reading {}", path.display()))
}

/// The path of an open folder, where the system tells it.
#[cfg(target_os = "linux")]
fn place_of(folder: &File) -> Option<PathBuf> {
    use std::os::fd::AsRawFd;
    fs::read_link(format!("/proc/self/fd/{}", folder.as_raw_fd())).ok()
}

#[cfg(not(target_os = "linux"))]
fn place_of(_: &File) -> Option<PathBuf> {
    None
}

/// `to` as seen from the folder `from`, both absolute.
pub(crate) fn relative(from: &Path, to: &Path) -> PathBuf {
    let shared = from.iter().zip(to.iter()).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n("..".as_ref(), from.iter().count() - shared);
    up.chain(to.iter().skip(shared)).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use super::*;

    #[test]
    fn paths_are_seen_from_a_folder() {
        for (from, to, expected) in [
            ("/a/runs/x", "/a/photos", "../../photos"),
            ("/a", "/a/b/c", "b/c"),
            ("/x/y", "/z", "../../z"),
        ] {
            assert_eq!(relative(Path::new(from), Path::new(to)), Path::new(expected));
        }
    }

    #[test]
    fn only_files_of_training_belong_to_a_run() {
        let root = tempfile::tempdir().unwrap();
        let run = root.path().join("run");
        fs::create_dir_all(run.join("step-00000005")).unwrap();
        assert!(is_unstarted(&root.path().join("run/step-00000005")), "an empty folder");
        let own = ["config.toml", "latest", "step-00000005/state.json", "samples/x.png"];
        assert!(own.iter().all(|name| !belongs_to_a_run(&run.join(name))), "no run yet");
        fs::write(run.join("config.toml"), "").unwrap();
        assert!(own.iter().all(|name| belongs_to_a_run(&run.join(name))));
        for other in ["report.html", "evaluation.json", "mine/config.toml", "samples.png"] {
            assert!(!belongs_to_a_run(&run.join(other)), "{other}");
        }
        assert!(!is_unstarted(&run), "it has a step");
        fs::rename(run.join("step-00000005"), run.join("step-00000000")).unwrap();
        assert!(is_unstarted(&run));
        fs::write(run.join("latest"), "step-00000000").unwrap();
        assert!(!is_unstarted(&run));
    }
}
