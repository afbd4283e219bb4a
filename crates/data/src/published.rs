//! Loading of published data sets, each file checked against its SHA-256.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::catalog::{DataFile, Published};
use crate::fetch::{Sources, fetch_missing};
use crate::set::{ImageSet, Split};
use crate::{idx, packed};

/// Loads one part of `set` from `folder`, otherwise from the folder of a Debian package; missing
/// files are downloaded into `folder`.
///
/// Files may be plain or gzip, with `-` or `.` before `idx` in their names. A present file is
/// never replaced.
///
/// # Errors
///
/// When a file is altered, unreadable, or missing and cannot be downloaded.
pub fn load(set: &Published, folder: &Path, split: Split) -> anyhow::Result<ImageSet> {
    load_from(set, folder, split, &Sources::from_env(set))
        .with_context(|| format!("loading {} from {}", set.name, folder.display()))
}

fn load_from(
    set: &Published,
    folder: &Path,
    split: Split,
    sources: &Sources,
) -> anyhow::Result<ImageSet> {
    let (images, labels) = match split {
        Split::Train => (&set.files[0], &set.files[1]),
        Split::Test => (&set.files[2], &set.files[3]),
    };
    let complete = |folder: &Path| -> anyhow::Result<bool> {
        Ok(images.locate(folder)?.is_some() && labels.locate(folder)?.is_some())
    };
    let mut folder = folder;
    if !complete(folder)? {
        match set.system.map(|(system, _)| Path::new(system)) {
            Some(system) if complete(system)? => folder = system,
            _ => fetch_missing(folder, set, sources)?,
        }
    }
    let (path, bytes) = read(images, folder)?;
    let (images, shape) = idx::images(bytes, &path)?;
    let (path, bytes) = read(labels, folder)?;
    let labels = idx::labels(bytes, &path)?;
    ImageSet::new(images, labels, shape)
        .with_context(|| format!("the files of {} in {} do not match", set.name, folder.display()))
}

fn read(file: &DataFile, folder: &Path) -> anyhow::Result<(PathBuf, Vec<u8>)> {
    let path = file
        .locate(folder)?
        .with_context(|| format!("{} is missing in {}", file.name, folder.display()))?;
    // Twice the true size, so that a file with something appended fails by its hash.
    let bytes = packed::read_file(&path, file.bytes.saturating_mul(2)).with_context(|| {
        format!("{} is damaged: delete it and run again to download it", path.display())
    })?;
    file.verify(&bytes).with_context(|| {
        format!("{} was altered: delete it and run again to download it", path.display())
    })?;
    Ok((path, bytes))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use std::fs;

    use hvae_runtime::files;

    use super::*;
    use crate::catalog::tests::{CONTENTS, small_set};
    use crate::shape::ImageShape;

    const TRAIN_IMAGES: &[u8] = CONTENTS[0];
    const TRAIN_LABELS: &[u8] = CONTENTS[1];
    const TEST_IMAGES: &[u8] = CONTENTS[2];
    const TEST_LABELS: &[u8] = CONTENTS[3];

    fn load_offline(data_dir: &Path, split: Split) -> anyhow::Result<ImageSet> {
        load_from(&small_set(), data_dir, split, &Sources::none())
    }

    #[test]
    fn files_present_are_used_under_any_name() {
        let root = tempfile::tempdir().unwrap();
        let data = root.path();
        fs::write(data.join("train-images.idx3-ubyte"), TRAIN_IMAGES).unwrap();
        fs::write(data.join("train-labels-idx1-ubyte.gz"), TRAIN_LABELS).unwrap();
        let train = load_offline(data, Split::Train).unwrap();
        assert_eq!((train.bytes(), train.labels()), (b"abcd".as_slice(), [3, 4].as_slice()));
        assert_eq!(train.shape(), ImageShape::grey(1, 2));
        fs::write(data.join("t10k-images.idx3-ubyte.gz"), TEST_IMAGES).unwrap();
        fs::write(data.join("t10k-labels-idx1-ubyte"), TEST_LABELS).unwrap();
        assert_eq!(load_offline(data, Split::Test).unwrap().labels(), [5]);
    }

    #[test]
    fn an_altered_file_is_named_and_kept() {
        let root = tempfile::tempdir().unwrap();
        let labels = root.path().join("train-labels-idx1-ubyte");
        fs::write(root.path().join("train-images-idx3-ubyte"), TRAIN_IMAGES).unwrap();
        for altered in [
            b"\0\0\x08\x01\0\0\0\x02\x03\x05".to_vec(),
            [TRAIN_LABELS, b"x"].concat(),
            TRAIN_LABELS[..9].to_vec(),
        ] {
            fs::write(&labels, &altered).unwrap();
            let message = format!("{:#}", load_offline(root.path(), Split::Train).unwrap_err());
            for part in [
                labels.to_str().unwrap(),
                "delete it and run again",
                &files::hex_sha256(&altered),
                &files::hex_sha256(TRAIN_LABELS),
            ] {
                assert!(message.contains(part), "{part} is not in {message}");
            }
            assert_eq!(fs::read(&labels).unwrap(), altered);
        }
    }

    #[test]
    fn a_web_page_is_recognised() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("t10k-images-idx3-ubyte.gz"), "<html>log in").unwrap();
        fs::write(root.path().join("t10k-labels-idx1-ubyte.gz"), TEST_LABELS).unwrap();
        let message = format!("{:#}", load_offline(root.path(), Split::Test).unwrap_err());
        assert!(message.contains("a web page") && message.contains("ubyte.gz"), "{message}");
    }

    #[test]
    fn a_missing_file_that_cannot_be_downloaded_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("t10k-images-idx3-ubyte"), TEST_IMAGES).unwrap();
        assert!(load_offline(root.path(), Split::Test).is_err());
    }

    #[test]
    fn files_of_a_system_package_are_used() {
        let (root, system) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(system.path().join("t10k-images-idx3-ubyte.gz"), TEST_IMAGES).unwrap();
        fs::write(system.path().join("t10k-labels-idx1-ubyte.gz"), TEST_LABELS).unwrap();
        let folder: &'static str = system.path().to_str().unwrap().to_owned().leak();
        let set = Published { system: Some((folder, "some-package")), ..small_set() };
        let load = |split| load_from(&set, root.path(), split, &Sources::none());
        assert_eq!(load(Split::Test).unwrap().labels(), [5]);
        let message = load(Split::Train).unwrap_err().to_string();
        assert!(message.contains("some-package"), "{message}");
    }
}
