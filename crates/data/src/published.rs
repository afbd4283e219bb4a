//! Loading of published data sets, each file checked against its SHA-256.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::fetch::{Sources, fetch_missing};
use crate::{ImageSet, KnownFile, Published, Split, idx, packed};

/// Loads one part of `set` from `folder`, otherwise from the folder of a Debian package; missing
/// files are downloaded into `folder`.
///
/// Files may be plain or gzip, with `-` or `.` before `idx` in their names. A present file is
/// never replaced.
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
    let [images, labels] = set.part(split);
    let is_complete = |folder: &Path| -> anyhow::Result<bool> {
        Ok(images.locate(folder)?.is_some() && labels.locate(folder)?.is_some())
    };
    let mut folder = folder;
    if !is_complete(folder)? {
        match set.system.map(|(system, _)| Path::new(system)) {
            Some(system) if is_complete(system)? => folder = system,
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

fn read(file: &KnownFile, folder: &Path) -> anyhow::Result<(PathBuf, Vec<u8>)> {
    let path = file
        .locate(folder)?
        .with_context(|| format!("{} is missing in {}", file.name, folder.display()))?;
    // Twice the true size, so that a file with something appended fails by its hash.
    let bytes = packed::read_file(&path, file.bytes.saturating_mul(2)).with_context(|| {
        format!("{} is damaged: delete it and run again to download it", path.display())
    })?;
    file.check(bytes.as_slice()).with_context(|| {
        format!("{} was altered: delete it and run again to download it", path.display())
    })?;
    Ok((path, bytes))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use hvae_runtime::files;

    use super::*;
    use crate::{catalog::tests::CONTENTS, catalog::tests::small_set, shape::ImageShape};

    fn load_offline(data_dir: &Path, split: Split) -> anyhow::Result<ImageSet> {
        load_from(&small_set(), data_dir, split, &Sources::none())
    }

    #[test]
    fn files_present_are_used_under_any_name() {
        let root = tempfile::tempdir().unwrap();
        let data = root.path();
        fs::write(data.join("train-images.idx3-ubyte"), CONTENTS[0]).unwrap();
        fs::write(data.join("train-labels-idx1-ubyte.gz"), CONTENTS[1]).unwrap();
        let train = load_offline(data, Split::Train).unwrap();
        assert_eq!((train.bytes(), train.labels()), (b"abcd".as_slice(), [3, 4].as_slice()));
        assert_eq!(train.shape(), ImageShape::grey(1, 2));
        fs::write(data.join("t10k-images.idx3-ubyte.gz"), CONTENTS[2]).unwrap();
        fs::write(data.join("t10k-labels-idx1-ubyte"), CONTENTS[3]).unwrap();
        assert_eq!(load_offline(data, Split::Test).unwrap().labels(), [5]);
    }

    #[test]
    fn an_altered_file_is_named_and_kept() {
        let root = tempfile::tempdir().unwrap();
        let labels = root.path().join("train-labels-idx1-ubyte.gz");
        fs::write(root.path().join("train-images-idx3-ubyte"), CONTENTS[0]).unwrap();
        for altered in [
            b"\0\0\x08\x01\0\0\0\x02\x03\x05".to_vec(),
            [CONTENTS[1], b"x"].concat(),
            CONTENTS[1][..9].to_vec(),
            b"<html>log in".to_vec(),
        ] {
            fs::write(&labels, &altered).unwrap();
            let message = format!("{:#}", load_offline(root.path(), Split::Train).unwrap_err());
            for part in [
                labels.to_str().unwrap(),
                "delete it and run again",
                &files::hex_sha256(&altered),
                &files::hex_sha256(CONTENTS[1]),
            ] {
                assert!(message.contains(part), "{part} is not in {message}");
            }
            assert_eq!(message.contains("a web page"), altered.starts_with(b"<"), "{message}");
            assert_eq!(fs::read(&labels).unwrap(), altered);
        }
    }

    #[test]
    fn files_of_a_system_package_are_used() {
        let (root, system) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(system.path().join("t10k-images-idx3-ubyte.gz"), CONTENTS[2]).unwrap();
        fs::write(system.path().join("t10k-labels-idx1-ubyte.gz"), CONTENTS[3]).unwrap();
        let folder: &'static str = system.path().to_str().unwrap().to_owned().leak();
        let set = Published { system: Some((folder, "some-package")), ..small_set() };
        let load = |split| load_from(&set, root.path(), split, &Sources::none());
        assert_eq!(load(Split::Test).unwrap().labels(), [5]);
        // Files that can neither be found nor downloaded.
        let message = load(Split::Train).unwrap_err().to_string();
        assert!(message.contains("some-package"), "{message}");
    }
}
