//! Files and folders that appear whole or not at all.
//!
//! Everything is written under a scratch name beside its destination, flushed to the disk and
//! renamed. A process that is interrupted takes its scratch files with it ([`remove_live_scratch`]);
//! one that is killed leaves the old file untouched and, at worst, a scratch file or folder that
//! [`remove_stale_scratch`] takes away.

mod destination;
mod scratch;

use std::fmt::Write as _;
use std::fs::{self, File, TryLockError};
use std::io::{self, BufWriter, ErrorKind, Read, Seek, Write as _};
use std::path::Path;

use anyhow::{Context, bail};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use destination::{Destination, destination};
use scratch::Live;

pub use scratch::{ScratchDir, remove_live_scratch, remove_stale_scratch, scratch_dir_in};

/// The SHA-256 of `bytes`, in lower-case hexadecimal.
pub fn hex_sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The SHA-256 of a file, which is read in pieces.
///
/// # Errors
///
/// When it cannot be read.
pub fn file_sha256(path: &Path) -> anyhow::Result<String> {
    let read = || -> io::Result<String> {
        let (mut file, mut hash) = (File::open(path)?, Sha256::new());
        let mut piece = vec![0; 1 << 16];
        loop {
            match file.read(&mut piece)? {
                0 => return Ok(hex(&hash.finalize())),
                read => hash.update(&piece[..read]),
            }
        }
    };
    read().with_context(|| format!("cannot read {}", path.display()))
}

/// `bytes` in lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Writes `content` so that `path` holds either its old content or all of the new one; see
/// [`write_atomically`].
///
/// # Errors
///
/// When the file cannot be created, written, flushed or renamed. `path` is then unchanged.
pub fn write<C: AsRef<[u8]> + ?Sized>(path: &Path, content: &C) -> anyhow::Result<()> {
    write_atomically(path, |file| Ok(file.write_all(content.as_ref())?))
}

/// Writes a file so that `path` holds either its old content or all of the new one.
///
/// Missing parent folders are created. The file gets the permissions of any newly created file. A
/// link stays, and the file that it leads to is written; a device or pipe gets the bytes.
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
        Ok(Destination::File(file)) => write_beside(&file, write),
        Ok(Destination::Stream) => write_into(path, write),
        Err(error) => Err(error.into()),
    };
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// Writes into what stands at `path` already. All bytes are gathered first: a stream cannot be
/// sought in, and gets nothing when `write` fails.
fn write_into(
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

fn write_beside(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let folder = parent_of(path);
    fs::create_dir_all(folder)?;
    let create = || scratch::builder(0o666).tempfile_in(folder);
    let (file, _live) = Live::create(create, NamedTempFile::path)?;
    let (file, scratch) = file.into_parts();
    // Where the file system has no locks the file is still written, only never tidied away.
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
    // The scratch name is gone, so nothing is left for the guard to remove.
    scratch.disarm();
    Ok(())
}

/// Makes the folder if it is missing, and tries whether a file can be made in it: better before work
/// than after.
///
/// # Errors
///
/// When it cannot be made or written into; the message names it.
pub fn require_writable_folder(folder: &Path) -> anyhow::Result<()> {
    drop(scratch_dir_in(folder)?);
    Ok(())
}

/// Tries whether [`write()`] could write the file `path`, and makes nothing: better before work than
/// after. Devices and pipes are not tried.
///
/// # Errors
///
/// When it could not; the message names the file.
pub fn require_writable(path: &Path) -> anyhow::Result<()> {
    let check = || match destination(path)? {
        Destination::Stream => Ok(()),
        Destination::File(file) => {
            let mut folder = parent_of(&file);
            // Missing folders are made when the file is.
            while !folder.try_exists()? {
                folder = parent_of(folder);
            }
            Live::create(|| scratch::builder(0o666).tempfile_in(folder), NamedTempFile::path)
                .map(drop)
        }
    };
    check().with_context(|| format!("cannot write {}", path.display()))
}

/// The folder `path` for this process alone, as long as the handle lives; none where folders cannot be
/// opened or locked at all.
///
/// # Errors
///
/// When another process has it.
pub fn lock_folder(path: &Path) -> anyhow::Result<Option<File>> {
    let Ok(handle) = File::open(path) else { return Ok(None) };
    if matches!(handle.try_lock(), Err(TryLockError::WouldBlock)) {
        bail!("{} is being trained by another process", path.display());
    }
    Ok(Some(handle))
}

/// Whether something is at `path`, a dangling link included.
///
/// # Errors
///
/// When this cannot be found out, for want of permissions for example.
pub fn is_present(path: &Path) -> anyhow::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot look at {}", path.display())),
    }
}

/// The folder that holds `path`.
pub fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn sync_tree(folder: &Path) -> io::Result<()> {
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
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
#[allow(clippy::unnecessary_wraps, reason = "folders can be flushed on Unix only")]
pub fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
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
    fn what_cannot_be_written_is_told_before_anything_is_made() {
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
