//! Images with their labels, in memory.

use anyhow::ensure;
use burn::data::dataset::{Dataset, DatasetError};

use crate::{labels::Labels, shape::ImageShape};

/// A part of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Split {
    /// Training images.
    Train,
    /// Test images.
    Test,
}

/// Grey images of one size as bytes, each with a label. It is a Burn [`Dataset`] of [`ImageItem`]s.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSet {
    images: Vec<u8>,
    labels: Vec<u8>,
    /// Whether the labels are known; if not they are all 0.
    labelled: bool,
    /// The name of each class from 0 on; empty if classes have only numbers.
    names: Vec<String>,
    /// Why the labels that there were could not be read.
    reason: Option<String>,
    shape: ImageShape,
}

impl ImageSet {
    /// A set of `images`, row by row and one after another, with their class labels. Images have
    /// pixels and one channel, and there are as many as labels.
    pub fn new(images: Vec<u8>, labels: Vec<u8>, shape: ImageShape) -> anyhow::Result<Self> {
        let ImageShape { channels, height, width } = shape;
        ensure!(channels == 1, "images of {channels} channels: only grey images are implemented");
        ensure!(height > 0 && width > 0, "images of {height}x{width} pixels are empty");
        let pixels = height.checked_mul(width);
        ensure!(
            pixels.and_then(|pixels| pixels.checked_mul(labels.len())) == Some(images.len()),
            "{} labels for {} images of {height}x{width} pixels in {} bytes",
            labels.len(),
            pixels.map_or(0, |pixels| images.len() / pixels),
            images.len()
        );
        let (names, reason) = (Vec::new(), None);
        Ok(Self { images, labels, labelled: true, names, reason, shape })
    }

    /// As [`Self::new`], with labels if they are known.
    pub(crate) fn with(images: Vec<u8>, labels: Labels, shape: ImageShape) -> anyhow::Result<Self> {
        let Labels { values, names, reason } = labels;
        let (labelled, count) = (values.is_some(), images.len() / shape.pixels().max(1));
        let set = Self::new(images, values.unwrap_or_else(|| vec![0; count]), shape)?;
        Ok(Self { labelled, names, reason, ..set })
    }

    /// The same images in another shape, with the labels of this set.
    pub(crate) fn reshaped(self, images: Vec<u8>, shape: ImageShape) -> anyhow::Result<Self> {
        let set = Self::new(images, self.labels, shape)?;
        Ok(Self { labelled: self.labelled, names: self.names, reason: self.reason, ..set })
    }

    /// Whether the labels are known.
    pub fn is_labelled(&self) -> bool {
        self.labelled
    }

    /// The names of the classes from 0 on; empty if they have only numbers.
    pub fn class_names(&self) -> &[String] {
        &self.names
    }

    /// Checks that there are labels, all below `classes`; `source` is where the images come from.
    pub fn require_classes(
        &self,
        classes: usize,
        source: impl std::fmt::Display,
    ) -> anyhow::Result<()> {
        let reason = self.reason.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
        ensure!(
            self.labelled && self.labels.iter().all(|label| usize::from(*label) < classes),
            "{source} has no labels from 0 to {}, which a classifier needs{reason}: a .npz with \
             an array of them, or a folder with a subfolder for each class",
            classes - 1
        );
        Ok(())
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The shape of each image.
    pub fn shape(&self) -> ImageShape {
        self.shape
    }

    /// Pixels per image.
    pub fn pixels(&self) -> usize {
        self.shape.pixels()
    }

    /// The pixels of image `index`, row by row, 0 for black and 255 for white.
    pub fn image(&self, index: usize) -> &[u8] {
        &self.images[index * self.pixels()..][..self.pixels()]
    }

    /// The label of every image; zeros if labels are not known.
    pub fn labels(&self) -> &[u8] {
        &self.labels
    }

    /// The pixels of all images, one image after another.
    pub fn bytes(&self) -> &[u8] {
        &self.images
    }

    /// The first `count` images, or all if there are fewer.
    #[must_use]
    pub fn take(mut self, count: usize) -> Self {
        let count = count.min(self.len());
        self.labels.truncate(count);
        self.images.truncate(count * self.pixels());
        self
    }

    /// Removes the images from index `at` on and returns them as a set.
    #[must_use]
    pub fn split_off(&mut self, at: usize) -> Self {
        let at = at.min(self.len());
        Self {
            images: self.images.split_off(at * self.pixels()),
            labels: self.labels.split_off(at),
            names: self.names.clone(),
            reason: self.reason.clone(),
            ..*self
        }
    }
}

/// An image with its label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageItem {
    /// Pixels, row by row.
    pub pixels: Vec<u8>,
    /// Class label.
    pub label: u8,
}

impl Dataset<ImageItem> for ImageSet {
    fn get(&self, index: usize) -> Result<ImageItem, DatasetError> {
        Ok(ImageItem { pixels: self.image(index).to_vec(), label: self.labels[index] })
    }

    fn len(&self) -> usize {
        self.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> ImageSet {
        ImageSet::new((0..18).collect(), vec![3, 1, 9], ImageShape::grey(2, 3)).unwrap()
    }

    #[test]
    fn images_are_found_by_their_index() {
        let set = example();
        assert_eq!((set.len(), set.pixels(), set.shape()), (3, 6, ImageShape::grey(2, 3)));
        assert_eq!(set.image(0), [0, 1, 2, 3, 4, 5]);
        assert_eq!(set.image(2), [12, 13, 14, 15, 16, 17]);
        assert_eq!(set.labels(), [3, 1, 9]);
    }

    #[test]
    fn images_and_labels_are_cut_together() {
        let set = example().take(2);
        assert_eq!((set.labels(), set.bytes().len()), ([3, 1].as_slice(), 12));
        assert_eq!(example().take(7), example());
        let none = example().take(0);
        assert!(none.is_empty() && none.bytes().is_empty());
    }

    #[test]
    fn parts_of_an_unlabelled_set_are_unlabelled() {
        let refused = |set: &ImageSet| {
            let message = set.require_classes(10, "my/set.npz").unwrap_err().to_string();
            assert!(message.contains("my/set.npz has no labels from 0 to 9"), "{message}");
        };
        example().require_classes(10, "set").unwrap();
        let mut set =
            ImageSet::with((0..18).collect(), Labels::default(), ImageShape::grey(2, 3)).unwrap();
        for part in [set.clone().take(2), set.split_off(1), set] {
            refused(&part);
        }
        refused(&ImageSet::new(vec![0; 6], vec![10], ImageShape::grey(2, 3)).unwrap());
    }

    #[test]
    fn mismatched_parts_are_refused() {
        for (bytes, labels, [channels, height, width]) in [
            (17, 3, [1, 2, 3]),
            (18, 2, [1, 2, 3]),
            (0, 0, [1, 0, 3]),
            (18, 3, [1, usize::MAX, 3]),
            (18, 3, [2, 1, 3]),
        ] {
            let shape = ImageShape { channels, height, width };
            assert!(ImageSet::new(vec![0; bytes], vec![0; labels], shape).is_err());
        }
    }

    #[test]
    fn burn_iterates_over_images_and_labels() {
        let items: Vec<_> = Dataset::iter(&example()).map(Result::unwrap).collect();
        assert_eq!(items.len(), 3);
        assert_eq!(items[1], ImageItem { pixels: vec![6, 7, 8, 9, 10, 11], label: 1 });
    }
}
