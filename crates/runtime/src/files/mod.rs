//! Files and folders that appear completely or not at all.
//!
//! Everything is written under a scratch name in the folder of its destination, flushed to the disk
//! and renamed. A process that is interrupted removes its scratch files ([`remove_live_scratch`]);
//! one that is killed leaves the old file untouched and, at worst, a scratch file or folder that
//! [`remove_stale_scratch`] removes.

mod paths;
mod scratch;

use std::fmt::Write as _;
use std::fs::{self, File, TryLockError};
use std::io::{self, BufWriter, Read, Seek, Write as _};
use std::path::Path;

use anyhow::{Context, bail};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use crate::memory;
use paths::{Destination, destination, sync_folder, sync_tree};
use scratch::Live;

pub use paths::{is_present, parent_of};
pub use scratch::{SCRATCH, ScratchDir, remove_live_scratch, remove_stale_scratch, scratch_dir_in};

/// Writes `content` with [`write_atomically`].
pub fn write<C: AsRef<[u8]> + ?Sized>(path: &Path, content: &C) -> anyhow::Result<()> {
    write_atomically(path, |file| Ok(file.write_all(content.as_ref())?))
}

/// Writes a file so that `path` holds either its old content or all of the new content.
///
/// Missing parent folders are created. The file gets the permissions of any new file. A link is
/// followed, and a device or pipe receives the bytes.
pub fn write_atomically(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let fill = |file: File| {
        let mut writer = BufWriter::new(file);
        write(&mut writer)?;
        Ok::<_, anyhow::Error>(writer.into_inner().map_err(io::IntoInnerError::into_error)?)
    };
    let write = || -> anyhow::Result<()> {
        match destination(path)? {
            // A stream cannot seek, and receives nothing when `write` fails.
            Destination::Stream => {
                let mut file = fill(tempfile::tempfile()?)?;
                file.rewind()?;
                io::copy(&mut file, &mut File::options().write(true).open(path)?)?;
                Ok(())
            }
            Destination::File(path) => {
                let folder = parent_of(&path);
                fs::create_dir_all(folder)?;
                let create = || scratch::builder(0o666).tempfile_in(folder);
                let (file, _live) = Live::create(create, NamedTempFile::path)?;
                let (file, scratch) = file.into_parts();
                // On a file system without locks it is written all the same.
                let _ = file.try_lock();
                fill(file)?.sync_all()?;
                scratch.persist(&path)?;
                Ok(sync_folder(folder)?)
            }
        }
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// The SHA-256 of `bytes`, in lower-case hexadecimal.
pub fn hex_sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The number of bytes that `reader` gives, and their SHA-256.
pub fn sha256_of(mut reader: impl Read) -> io::Result<(u64, String)> {
    let (mut sum, mut length, mut block) = (Sha256::new(), 0, vec![0; 1 << 16]);
    loop {
        match reader.read(&mut block) {
            Ok(0) => return Ok((length, hex(&sum.finalize()))),
            Ok(count) => {
                sum.update(&block[..count]);
                length += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn hex(digest: &[u8]) -> String {
    digest.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Opens a file for reading. A pipe or a device, which may block or never end, is refused.
pub fn open_regular(path: &Path) -> io::Result<File> {
    // Before it is opened: opening a pipe waits for its other end.
    if fs::metadata(path)?.is_file() {
        File::open(path)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
    }
}

/// The content of a regular file, for which there must be memory.
pub fn read_regular(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut file = open_regular(path)?;
    let mut bytes = memory::reserve(usize::try_from(file.metadata()?.len())?)?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Flushes a scratch folder to the disk and renames it to `destination`.
///
/// The scratch folder must come from [`scratch_dir_in`] with the parent of `destination`.
/// `destination` must not exist; after an error the scratch folder is removed.
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
pub fn require_writable_folder(folder: &Path) -> anyhow::Result<()> {
    scratch_dir_in(folder).map(drop)
}

/// Checks, before work is done, that [`write()`] can write the file `path`. Nothing is created.
/// Devices and pipes are not checked.
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
/// cannot be opened. An error when another process holds the lock.
pub fn lock_folder(path: &Path) -> anyhow::Result<Option<File>> {
    let Ok(handle) = File::open(path) else { return Ok(None) };
    if matches!(handle.try_lock(), Err(TryLockError::WouldBlock)) {
        bail!("{} is being trained by another process", path.display());
    }
    Ok(Some(handle))
}

#[cfg(test)]
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
    fn hashes_are_hexadecimal_sha256() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex_sha256(b"abc"), expected);
        assert_eq!(sha256_of(&b"abc"[..]).unwrap(), (3, expected.to_owned()));
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
    fn a_folder_is_published_under_its_name_only_and_replaces_none() {
        let root = tempfile::tempdir().unwrap();
        let out = root.path().join("out");
        let scratch = || {
            let scratch = scratch_dir_in(root.path()).unwrap();
            fs::create_dir(scratch.path().join("inner")).unwrap();
            fs::write(scratch.path().join("inner/file"), "content").unwrap();
            scratch
        };
        fs::create_dir(&out).unwrap();
        let error = publish_dir(scratch(), &out).unwrap_err();
        assert!(error.to_string().contains("already exists"), "{error}");
        assert!(names(root.path()) == ["out"] && names(&out).is_empty());
        fs::remove_dir(&out).unwrap();
        publish_dir(scratch(), &out).unwrap();
        assert_eq!(names(root.path()), ["out"]);
        assert_eq!(fs::read(out.join("inner/file")).unwrap(), b"content");
    }
}
