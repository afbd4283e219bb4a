//! Questions about paths, where bytes written to one go, and flushing of folders.

use std::{fs, fs::File, io, io::ErrorKind, path::Path, path::PathBuf};

use anyhow::Context;

/// Links that are followed at most; the same as on Linux.
const LINKS: usize = 40;

/// Whether something exists at `path`, even a dangling link.
pub fn is_present(path: &Path) -> anyhow::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot access {}", path.display())),
    }
}

/// The folder that holds `path`.
pub fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// What is at a path that something is written to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Destination {
    /// A regular file, or nothing yet, with all links followed.
    File(PathBuf),
    /// A device, pipe or socket, which receives bytes but cannot be replaced.
    Stream,
}

/// What is at `path`. A folder is an error.
pub(super) fn destination(path: &Path) -> io::Result<Destination> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => {
            Err(io::Error::new(ErrorKind::IsADirectory, "it is a folder; name a file in it"))
        }
        Ok(found) if found.is_file() => {
            let is_link = fs::symlink_metadata(path)?.is_symlink();
            let file = if is_link { fs::canonicalize(path)? } else { path.to_owned() };
            Ok(Destination::File(file))
        }
        Ok(_) => Ok(Destination::Stream),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Destination::File(end_of(path)?)),
        Err(error) => Err(error),
    }
}

/// The target of a chain of links; another path unchanged.
fn end_of(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..LINKS {
        match fs::read_link(&path) {
            Ok(target) => path = parent_of(&path).join(target),
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::other("too many levels of links"))
}

pub(super) fn sync_tree(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let kind = fs::symlink_metadata(&path)?.file_type();
        if kind.is_dir() {
            sync_tree(&path)?;
        } else if kind.is_file() {
            File::open(&path)?.sync_all()?;
        }
    }
    sync_folder(folder)
}

#[cfg(unix)]
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
#[allow(clippy::unnecessary_wraps, reason = "folders can be flushed on Unix only")]
pub(super) fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(all(test, unix))]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::fs::{FileTypeExt, symlink};
    use std::process::Command;

    use super::*;
    use crate::files::write_atomically;

    fn write(path: &Path, text: &str) -> anyhow::Result<()> {
        write_atomically(path, |file| Ok(file.write_all(text.as_bytes())?))
    }

    fn count(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn a_link_stays_and_its_target_is_written() {
        let root = tempfile::tempdir().unwrap();
        let [link, other, real] = ["link", "other", "real/file"].map(|name| root.path().join(name));
        fs::create_dir(root.path().join("real")).unwrap();
        symlink("other", &link).unwrap();
        symlink("real/file", &other).unwrap();
        for text in ["through links that lead nowhere yet", "and through those to a file"] {
            write(&link, text).unwrap();
            assert_eq!(fs::read_to_string(&real).unwrap(), text);
            assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
            assert!(fs::symlink_metadata(&real).unwrap().is_file());
            assert_eq!((count(root.path()), count(&root.path().join("real"))), (3, 1));
        }
        let round = root.path().join("round");
        symlink("round", &round).unwrap();
        let message = format!("{:#}", write(&round, "").unwrap_err());
        assert!(message.contains("round") && message.contains("links"), "{message}");
    }

    #[test]
    fn a_pipe_is_written_into() {
        let root = tempfile::tempdir().unwrap();
        let pipe = root.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || {
                let mut text = String::new();
                fs::File::open(pipe).unwrap().read_to_string(&mut text).unwrap();
                text
            }
        });
        write(&pipe, "all of it").unwrap();
        assert_eq!(reader.join().unwrap(), "all of it");
        assert!(fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo());
        assert_eq!(count(root.path()), 1);
    }

    #[test]
    fn a_folder_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let message = format!("{:#}", write(root.path(), "").unwrap_err());
        assert!(message.contains("it is a folder; name a file in it"), "{message}");
        assert_eq!(count(root.path()), 0);
    }
}
