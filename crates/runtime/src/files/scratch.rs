//! Scratch files and folders.
//!
//! Each one is locked while it is written. The system releases the lock when the process ends, so
//! an unlocked one is left over from a killed process.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::Context;
use tempfile::{Builder, TempDir};

use super::paths::is_present;

/// Prefix of the names of scratch files and folders.
pub const SCRATCH: &str = ".partial-";

/// The scratch files and folders of this process.
static LIVE: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// A folder under a scratch name. It disappears when dropped, unless
/// [`publish_dir`](super::publish_dir) takes it.
#[derive(Debug)]
pub struct ScratchDir {
    folder: TempDir,
    _live: Live,
    /// Held for as long as the folder is in use; `None` where folders cannot be locked.
    _lock: Option<File>,
}

impl ScratchDir {
    /// The path of the folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Keeps the folder, which has been renamed.
    pub(super) fn disarm(self) {
        let _ = self.folder.keep();
    }
}

/// Creates a scratch folder in `parent`, which is created if missing.
pub fn scratch_dir_in(parent: &Path) -> anyhow::Result<ScratchDir> {
    let create = || {
        fs::create_dir_all(parent)?;
        Live::create(|| builder(0o777).tempdir_in(parent), TempDir::path)
    };
    let (folder, live) =
        create().with_context(|| format!("cannot create a folder in {}", parent.display()))?;
    let lock = File::open(folder.path()).ok().filter(|handle| handle.try_lock().is_ok());
    Ok(ScratchDir { folder, _live: live, _lock: lock })
}

/// Registers a scratch file or folder for [`remove_live_scratch`].
#[derive(Debug)]
pub(super) struct Live(PathBuf);

impl Live {
    /// Creates a file or folder and registers it under one lock, so that a signal never finds it
    /// unregistered.
    pub(super) fn create<T>(
        create: impl FnOnce() -> io::Result<T>,
        path: impl FnOnce(&T) -> &Path,
    ) -> io::Result<(T, Self)> {
        let mut live = LIVE.lock().unwrap_or_else(PoisonError::into_inner);
        let created = create()?;
        let path = path(&created).to_owned();
        live.push(path.clone());
        Ok((created, Self(path)))
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        LIVE.lock().unwrap_or_else(PoisonError::into_inner).retain(|path| *path != self.0);
    }
}

/// Removes the scratch files and folders of this process, which is about to end. From now on no
/// other can be created.
pub fn remove_live_scratch() {
    let live = LIVE.lock().unwrap_or_else(PoisonError::into_inner);
    for path in live.iter() {
        if !path.is_dir() {
            let _ = fs::remove_file(path);
            continue;
        }
        // Other threads still create files under the old name, which would keep the folder from
        // ever being empty.
        let renamed = path.with_extension("removed");
        let folder = if fs::rename(path, &renamed).is_ok() { &renamed } else { path };
        // A file that was being created during the rename can make the first attempt fail.
        let _ = (0..100).any(|_| fs::remove_dir_all(folder).is_ok() || !folder.exists());
    }
    // The lock stays taken, so that nothing is registered any more.
    std::mem::forget(live);
}

/// Removes the scratch files and folders in `parent` that killed processes left.
///
/// Those of running processes are kept. A missing `parent` is not an error.
pub fn remove_stale_scratch(parent: &Path) -> anyhow::Result<()> {
    if !is_present(parent)? {
        return Ok(());
    }
    let list = || fs::read_dir(parent)?.collect::<io::Result<Vec<_>>>();
    for entry in list().with_context(|| format!("cannot list {}", parent.display()))? {
        if entry.file_name().as_encoded_bytes().starts_with(SCRATCH.as_bytes()) {
            remove_unless_in_use(&entry.path())
                .with_context(|| format!("cannot remove {}", entry.path().display()))?;
        }
    }
    Ok(())
}

fn remove_unless_in_use(path: &Path) -> io::Result<()> {
    let removed = || -> io::Result<()> {
        let kind = fs::symlink_metadata(path)?.file_type();
        if !kind.is_dir() && !kind.is_file() {
            return Ok(());
        }
        match File::open(path)?.try_lock() {
            Ok(()) if kind.is_dir() => fs::remove_dir_all(path),
            Ok(()) => fs::remove_file(path),
            // In use, or on a file system without locks.
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => Ok(()),
        }
    };
    match removed() {
        // Its owner finished, or another process removed it first.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Names and permissions of scratch entries; the umask applies to `mode`.
pub(super) fn builder(mode: u32) -> Builder<'static, 'static> {
    let mut builder = Builder::new();
    builder.prefix(SCRATCH);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(mode));
    #[cfg(not(unix))]
    let _ = mode;
    builder
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::{files::tests::names, files::write_atomically};

    #[test]
    fn creation_and_registration_are_one_step() {
        let root = tempfile::tempdir().unwrap();
        let create = || {
            assert!(LIVE.try_lock().is_err(), "it could be missed");
            builder(0o777).tempdir_in(root.path())
        };
        let (folder, live) = Live::create(create, TempDir::path).unwrap();
        let is_live = || LIVE.lock().unwrap().iter().any(|path| path == folder.path());
        assert!(is_live());
        drop(live);
        assert!(!is_live());
    }

    #[test]
    fn only_abandoned_scratch_is_removed() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join(".partial-dead")).unwrap();
        fs::write(root.path().join(".partial-dead/half"), "x").unwrap();
        fs::write(root.path().join(".partial-file"), "x").unwrap();
        fs::write(root.path().join("keep"), "x").unwrap();
        let live = scratch_dir_in(root.path()).unwrap();
        write_atomically(&root.path().join("written"), |file| {
            remove_stale_scratch(root.path())?;
            Ok(file.write_all(b"still here")?)
        })
        .unwrap();
        let live_name = live.path().file_name().unwrap().to_str().unwrap();
        assert_eq!(names(root.path()), [live_name, "keep", "written"]);
        remove_stale_scratch(&root.path().join("missing")).unwrap();
    }
}
