//! Labelled images: MNIST and Fashion-MNIST from their files, folders of pictures, arrays, and a
//! synthetic set that needs no download.

pub mod arrays;
pub mod config;
mod convert;
pub mod custom;
pub mod dataset;
pub mod fashion;
mod fetch;
pub mod folder;
pub mod idx;
pub mod images;
mod mirror;
pub mod mnist;
mod npm;
mod packed;
mod progress;
pub mod published;
pub mod remote;
pub mod synthetic;

use anyhow::ensure;
use burn::data::dataset::{Dataset, DatasetError};

pub use progress::Verbosity;

/// How many classes the labels tell apart.
pub const CLASSES: u8 = 10;

/// Which part of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Split {
    /// The images to learn from.
    Train,
    /// The images to judge by.
    Test,
}

/// Grey images of one size, each with a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSet {
    images: Vec<u8>,
    labels: Vec<u8>,
    /// Whether the labels mean anything.
    labelled: bool,
    height: usize,
    width: usize,
}

impl ImageSet {
    /// Puts images, one after another and row by row, together with their labels.
    ///
    /// # Errors
    ///
    /// When the images have no pixels, the counts differ or a label is not below [`CLASSES`].
    pub fn new(
        images: Vec<u8>,
        labels: Vec<u8>,
        height: usize,
        width: usize,
    ) -> anyhow::Result<Self> {
        ensure!(height > 0 && width > 0, "images of {height} by {width} pixels hold nothing");
        let expected =
            height.checked_mul(width).and_then(|pixels| pixels.checked_mul(labels.len()));
        ensure!(
            expected == Some(images.len()),
            "{} bytes are not the images of {height} by {width} pixels for {} labels",
            images.len(),
            labels.len()
        );
        if let Some(at) = labels.iter().position(|label| *label >= CLASSES) {
            anyhow::bail!("label {at} is {}, but labels run from 0 to {}", labels[at], CLASSES - 1);
        }
        Ok(Self { images, labels, labelled: true, height, width })
    }

    /// The same images, whose labels stand for none that are known.
    #[must_use]
    pub fn unlabelled(self) -> Self {
        Self { labelled: false, ..self }
    }

    /// Whether the labels are known.
    pub fn is_labelled(&self) -> bool {
        self.labelled
    }

    /// Refuses images whose labels are not known; `source` is where they come from.
    ///
    /// # Errors
    ///
    /// When they are not.
    pub fn require_labels(&self, source: impl std::fmt::Display) -> anyhow::Result<()> {
        ensure!(
            self.labelled,
            "{source} has no labels from 0 to {}, which a classifier needs: a .npz with an array of \
             them, or a folder with a subfolder for each class",
            CLASSES - 1
        );
        Ok(())
    }

    /// How many images there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The height of each image.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The width of each image.
    pub fn width(&self) -> usize {
        self.width
    }

    /// How many pixels each image has.
    pub fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// The pixels of image `index`, row by row, 0 for black and 255 for white.
    ///
    /// # Panics
    ///
    /// When `index` is not below [`len`](Self::len).
    pub fn image(&self, index: usize) -> &[u8] {
        &self.images[index * self.pixels()..][..self.pixels()]
    }

    /// The label of every image.
    pub fn labels(&self) -> &[u8] {
        &self.labels
    }

    /// The pixels of all images, one image after another.
    pub fn bytes(&self) -> &[u8] {
        &self.images
    }

    /// Keeps the first `count` images, or all if there are fewer.
    pub fn truncate(&mut self, count: usize) {
        let count = count.min(self.len());
        self.labels.truncate(count);
        self.images.truncate(count * self.pixels());
    }

    /// The set with its first `count` images only, or all if there are fewer.
    #[must_use]
    pub fn take(mut self, count: usize) -> Self {
        self.truncate(count);
        self
    }

    /// Takes the images from number `at` on away, as a set of their own.
    #[must_use]
    pub fn split_off(&mut self, at: usize) -> Self {
        let at = at.min(self.len());
        Self {
            images: self.images.split_off(at * self.pixels()),
            labels: self.labels.split_off(at),
            ..*self
        }
    }
}

/// An image with its label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelledImage {
    /// Grey values, row by row.
    pub pixels: Vec<u8>,
    /// The class.
    pub label: u8,
}

/// For Burn's own data loaders and transforms.
impl Dataset<LabelledImage> for ImageSet {
    fn get(&self, index: usize) -> Result<LabelledImage, DatasetError> {
        Ok(LabelledImage { pixels: self.image(index).to_vec(), label: self.labels[index] })
    }

    fn len(&self) -> usize {
        self.len()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use super::*;

    fn example() -> ImageSet {
        ImageSet::new((0..18).collect(), vec![3, 1, 9], 2, 3).unwrap()
    }

    #[test]
    fn images_are_found_by_their_index() {
        let set = example();
        assert_eq!((set.len(), set.pixels(), set.height(), set.width()), (3, 6, 2, 3));
        assert_eq!(set.image(0), [0, 1, 2, 3, 4, 5]);
        assert_eq!(set.image(2), [12, 13, 14, 15, 16, 17]);
        assert_eq!(set.labels(), [3, 1, 9]);
    }

    #[test]
    fn images_and_labels_are_cut_together() {
        let set = example().take(2);
        assert_eq!((set.labels(), set.bytes().len()), ([3, 1].as_slice(), 12));
        assert_eq!(example().take(7), example());
        let mut none = example();
        none.truncate(0);
        assert!(none.is_empty() && none.bytes().is_empty());
    }

    #[test]
    fn images_without_labels_stay_so() {
        example().require_labels("set").unwrap();
        let mut set = example().unlabelled();
        for part in [set.clone().take(2), set.split_off(1), set] {
            let message = part.require_labels("my/set.npz").unwrap_err().to_string();
            assert!(message.contains("my/set.npz has no labels"), "{message}");
        }
    }

    #[test]
    fn mismatched_parts_are_refused() {
        for (bytes, labels, height, width) in [
            (17, vec![0, 0, 0], 2, 3),
            (18, vec![0, 0], 2, 3),
            (0, vec![], 0, 3),
            (18, vec![0, 10, 0], 2, 3),
            (18, vec![0, 0, 0], usize::MAX, 3),
        ] {
            assert!(ImageSet::new(vec![0; bytes], labels, height, width).is_err());
        }
    }

    #[test]
    fn the_set_is_a_burn_dataset() {
        let set = synthetic::synthetic(5, 1, Split::Test);
        let items: Vec<_> = Dataset::iter(&set).map(Result::unwrap).collect();
        assert_eq!(items.len(), 5);
        assert_eq!(items[3].pixels, set.image(3));
        assert_eq!(items[3].label, set.labels()[3]);
    }
}
