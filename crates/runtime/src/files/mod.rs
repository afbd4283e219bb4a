//! Files and folders that appear completely or not at all.
//!
//! Everything is written under a scratch name in the folder of its destination, flushed to the disk
//! and renamed. A process that is interrupted removes its scratch files ([`remove_live_scratch`]);
//! one that is killed leaves the old file untouched and, at worst, a scratch file or folder that
//! [`remove_stale_scratch`] removes.
//!
//! ```
//! let path = std::env::temp_dir().join("hvae-runtime-files-example.txt");
//! hvae_runtime::files::write(&path, "complete")?;
//! assert_eq!(std::fs::read_to_string(&path)?, "complete");
//! # std::fs::remove_file(path)?;
//! # Ok::<(), anyhow::Error>(())
//! ```

mod destination;
mod hash;
mod paths;
mod scratch;

use std::fs::{self, File, TryLockError};
use std::io::{self, BufWriter, Seek, Write as _};
use std::path::Path;

use anyhow::{Context, bail};
use tempfile::NamedTempFile;

use destination::{Destination, destination};
use paths::{sync_folder, sync_tree};
use scratch::Live;

pub use hash::{file_sha256, hex, hex_sha256};
pub use paths::{is_present, parent_of};
pub use scratch::{ScratchDir, remove_live_scratch, remove_stale_scratch, scratch_dir_in};

/// Writes `content` with [`write_atomically`].
///
/// # Errors
///
/// When the file cannot be created, written, flushed or renamed. `path` is then unchanged.
pub fn write<C: AsRef<[u8]> + ?Sized>(path: &Path, content: &C) -> anyhow::Result<()> {
    write_atomically(path, |file| Ok(file.write_all(content.as_ref())?))
}

/// Writes a file so that `path` holds either its old content or all of the new content.
///
/// Missing parent folders are created. The file gets the permissions of any new file. A link is
/// followed, and a device or pipe receives the bytes.
///
/// # Errors
///
/// When `path` is a folder, `write` fails or the file cannot be created, flushed or renamed. `path`
/// is then unchanged.
pub fn write_atomically(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let written = match destination(path) {
        Ok(Destination::File(file)) => write_file(&file, write),
        Ok(Destination::Stream) => write_stream(path, write),
        Err(error) => Err(error.into()),
    };
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// Writes to the device or pipe at `path`. The bytes go to a temporary file first: a stream cannot
/// seek, and receives nothing when `write` fails.
fn write_stream(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut writer = BufWriter::new(tempfile::tempfile()?);
    write(&mut writer)?;
    let mut file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.rewind()?;
    io::copy(&mut file, &mut File::options().write(true).open(path)?)?;
    Ok(())
}

/// Writes a scratch file in the folder of `path` and renames it.
fn write_file(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let folder = parent_of(path);
    fs::create_dir_all(folder)?;
    let create = || scratch::builder(0o666).tempfile_in(folder);
    let (file, _live) = Live::create(create, NamedTempFile::path)?;
    let (file, scratch) = file.into_parts();
    // On a file system without locks it is written all the same.
    let _ = file.try_lock();
    let mut writer = BufWriter::new(file);
    write(&mut writer)?;
    let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    scratch.persist(path)?;
    sync_folder(folder)?;
    Ok(())
}

/// Flushes a scratch folder to the disk and renames it to `destination`.
///
/// The scratch folder must come from [`scratch_dir_in`] with the parent of `destination`.
///
/// # Errors
///
/// When `destination` exists, or the folder cannot be flushed or renamed. The scratch folder is
/// then removed.
pub fn publish_dir(scratch: ScratchDir, destination: &Path) -> anyhow::Result<()> {
    if is_present(destination)? {
        bail!("{} already exists: move it away or choose another name", destination.display());
    }
    let publish = || {
        sync_tree(scratch.path())?;
        fs::rename(scratch.path(), destination)?;
        sync_folder(parent_of(destination))
    };
    publish().with_context(|| format!("cannot write the folder {}", destination.display()))?;
    scratch.disarm();
    Ok(())
}

/// Checks, before work is done, that files can be created in `folder`, which is created if missing.
///
/// # Errors
///
/// When they cannot; the message names the folder.
pub fn require_writable_folder(folder: &Path) -> anyhow::Result<()> {
    drop(scratch_dir_in(folder)?);
    Ok(())
}

/// Checks, before work is done, that [`write()`] can write the file `path`. Nothing is created.
/// Devices and pipes are not checked.
///
/// # Errors
///
/// When it cannot; the message names the file.
pub fn require_writable(path: &Path) -> anyhow::Result<()> {
    let check = || match destination(path)? {
        Destination::Stream => Ok(()),
        Destination::File(file) => {
            let mut folder = parent_of(&file);
            // Missing folders are created with the file.
            while !folder.try_exists()? {
                folder = parent_of(folder);
            }
            Live::create(|| scratch::builder(0o666).tempfile_in(folder), NamedTempFile::path)
                .map(drop)
        }
    };
    check().with_context(|| format!("cannot write {}", path.display()))
}

/// Locks the folder `path` for this process as long as the handle lives; `None` where folders
/// cannot be opened.
///
/// # Errors
///
/// When another process holds the lock.
pub fn lock_folder(path: &Path) -> anyhow::Result<Option<File>> {
    let Ok(handle) = File::open(path) else { return Ok(None) };
    if matches!(handle.try_lock(), Err(TryLockError::WouldBlock)) {
        bail!("{} is being trained by another process", path.display());
    }
    Ok(Some(handle))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use std::io::Write;

    use super::*;

    pub(super) fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_written_with_its_missing_folders() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b/file.txt");
        write_atomically(&path, |file| Ok(file.write_all(b"whole")?)).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(names(path.parent().unwrap()), ["file.txt"]);
    }

    #[test]
    fn what_cannot_be_written_is_detected_and_nothing_is_created() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("file"), "old").unwrap();
        for fits in ["new", "file", "a/b/new"] {
            require_writable(&root.path().join(fits)).unwrap();
        }
        for unfit in ["file/new", "file/a/new"] {
            let message = format!("{:#}", require_writable(&root.path().join(unfit)).unwrap_err());
            assert!(message.contains("cannot write"), "{message}");
        }
        assert_eq!(names(root.path()), ["file"]);
        assert_eq!(fs::read(root.path().join("file")).unwrap(), b"old");
        #[cfg(unix)]
        for stream in ["/dev/null", "/dev/stdout"] {
            require_writable(Path::new(stream)).unwrap();
        }
        #[cfg(target_os = "linux")]
        assert!(require_writable(Path::new("/proc/x.png")).is_err());
    }

    #[test]
    fn a_failing_writer_leaves_the_old_file_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("file.txt");
        fs::write(&path, "old").unwrap();
        let error = write_atomically(&path, |file| {
            file.write_all(&[b'x'; 10_000])?;
            bail!("the disk is full")
        })
        .unwrap_err();
        let message = format!("{error:#}");
        assert!(message.contains("file.txt") && message.contains("the disk is full"), "{message}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(root.path()), ["file.txt"]);
    }

    #[cfg(unix)]
    #[test]
    fn files_and_folders_get_ordinary_permissions() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().unwrap();
        let mode =
            |name: &str| fs::metadata(root.path().join(name)).unwrap().permissions().mode() & 0o777;
        fs::write(root.path().join("plain"), "").unwrap();
        fs::create_dir(root.path().join("plain-dir")).unwrap();
        write_atomically(&root.path().join("ours"), |_| Ok(())).unwrap();
        publish_dir(scratch_dir_in(root.path()).unwrap(), &root.path().join("ours-dir")).unwrap();
        assert_eq!(mode("ours"), mode("plain"));
        assert_eq!(mode("ours-dir"), mode("plain-dir"));
    }

    #[test]
    fn a_folder_is_published_under_its_name_only() {
        let root = tempfile::tempdir().unwrap();
        let scratch = scratch_dir_in(root.path()).unwrap();
        fs::create_dir(scratch.path().join("inner")).unwrap();
        fs::write(scratch.path().join("inner/file"), "content").unwrap();
        publish_dir(scratch, &root.path().join("out")).unwrap();
        assert_eq!(names(root.path()), ["out"]);
        assert_eq!(fs::read(root.path().join("out/inner/file")).unwrap(), b"content");
    }

    #[test]
    fn an_existing_folder_is_not_replaced_even_if_empty() {
        let root = tempfile::tempdir().unwrap();
        let out = root.path().join("out");
        fs::create_dir(&out).unwrap();
        let scratch = scratch_dir_in(root.path()).unwrap();
        fs::write(scratch.path().join("file"), "new").unwrap();
        let error = publish_dir(scratch, &out).unwrap_err();
        assert!(error.to_string().contains("already exists"), "{error}");
        assert_eq!(names(root.path()), ["out"]);
        assert!(names(&out).is_empty());
    }
}
