//! Own images in memory, kept in a file for the runs that are trained on them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use hvae_runtime::files;
use hvae_runtime::npz::{self, Array};

use crate::arrays::NAMES;
use crate::convert::TEST_EVERY;
use crate::{ImageSet, ImageShape};

/// Digits of the SHA-256 in the name of a file.
const DIGITS: usize = 16;

/// Images to train on, of one shape.
#[derive(Debug)]
pub struct ArrayImages {
    train: ImageSet,
    test: Option<ImageSet>,
}

impl ArrayImages {
    /// Images for training and for testing; without the latter, every tenth image is a test image.
    pub fn new(train: ImageSet, test: Option<ImageSet>) -> Result<Self> {
        let (found, size) = (test.as_ref().map_or(train.shape(), ImageSet::shape), train.shape());
        ensure!(
            found == size,
            "test images of {}, but training images of {}",
            found.size(),
            size.size()
        );
        ensure!(
            test.is_some() || train.len() >= TEST_EVERY,
            "{} images are too few: every tenth is a test image, so give at least ten, or test \
             images",
            train.len()
        );
        Ok(Self { train, test })
    }

    /// The shape of each image.
    pub fn shape(&self) -> ImageShape {
        self.train.shape()
    }

    /// Saves them in `folder` as a file that [`OwnImages`](crate::own::OwnImages) reads, and returns
    /// its path. Its name is made of the content, so equal images are in one file.
    pub fn save_in(&self, folder: &Path) -> Result<PathBuf> {
        let names = if self.test.is_some() {
            vec![NAMES[0][0], NAMES[1][0]]
        } else {
            vec![["images", "labels"]]
        };
        let sets = [Some(&self.train), self.test.as_ref()];
        let (mut arrays, mut content) = (Vec::new(), Vec::new());
        for (set, [images, labels]) in sets.into_iter().flatten().zip(names) {
            let ImageShape { height, width, .. } = set.shape();
            let shape = vec![set.len(), height, width];
            content.extend(format!("{images} {shape:?} {}", set.is_labelled()).into_bytes());
            content.extend([set.bytes(), set.labels()].concat());
            arrays.push((images, Array::U8(shape, set.bytes())));
            if set.is_labelled() {
                arrays.push((labels, Array::U8(vec![set.len()], set.labels())));
            }
        }
        let sum = files::hex_sha256(&content);
        let path = folder.join(format!("images-{}.npz", &sum[..DIGITS]));
        std::fs::create_dir_all(folder)
            .with_context(|| format!("creating {}", folder.display()))?;
        npz::save(&path, &arrays)?;
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Split;
    use crate::labels::Labels;
    use crate::own::{OwnImages, Part};

    fn images(count: u8, labels: bool) -> ImageSet {
        let values = labels.then(|| (0..count).map(|index| 255 - index).collect());
        let labels = Labels { values, ..Labels::default() };
        let bytes = (0..6 * count).collect();
        ImageSet::with(bytes, labels, ImageShape::grey(2, 3)).unwrap()
    }

    #[test]
    fn saved_images_are_read_as_they_were() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("runs");
        let save = |train, test| ArrayImages::new(train, test).unwrap().save_in(&folder).unwrap();
        let read = |path: &Path, split| {
            OwnImages::find(path).unwrap().read(Part::Split(split), None).unwrap().0
        };
        let path = save(images(12, true), Some(images(2, false)));
        assert_eq!(read(&path, Split::Train), images(12, true));
        assert_eq!(read(&path, Split::Test), images(2, false));
        let parted = save(images(12, true), None);
        assert_eq!(read(&parted, Split::Test).labels(), [246]);
        assert_eq!(read(&parted, Split::Train).len(), 11);
        // One file for equal images, others for others.
        let before = std::fs::read(&parted).unwrap();
        assert_eq!(save(images(12, true), None), parted);
        assert_eq!(std::fs::read(&parted).unwrap(), before);
        let others = [save(images(12, false), None), save(images(13, true), None), path];
        assert!(!others.contains(&parted) && others[0] != others[1]);
    }

    #[test]
    fn images_that_cannot_be_trained_on_are_refused() {
        let other = ImageSet::with(vec![0; 8], Labels::default(), ImageShape::grey(2, 4)).unwrap();
        for (train, test, part) in [
            (images(9, true), None, "9 images are too few"),
            (images(9, true), Some(other), "test images of 2x4, but training images of 2x3"),
        ] {
            let error = ArrayImages::new(train, test).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
