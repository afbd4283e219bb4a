//! Images that reach a feature network batch by batch.

use anyhow::Result;
use hvae_data::{ImageSet, ImageShape};

/// A batch of images, borrowed: image after image, row by row, one byte per pixel.
#[derive(Debug, Clone, Copy)]
pub struct ImageBatch<'a> {
    /// Pixels from 0 (black) to 255 (white).
    pub bytes: &'a [u8],
    /// The shape of each image.
    pub shape: ImageShape,
}

impl ImageBatch<'_> {
    /// Number of images.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() / self.shape.pixels()
    }
}

/// A source of images: a data set, or a generative model that draws them on demand.
pub trait ImageStream {
    /// Number of images.
    fn count(&self) -> usize;

    /// Passes the first `count` images to `take`, at most `batch` at a time. Ends with the first
    /// error of `take`.
    fn stream(
        &self,
        count: usize,
        batch: usize,
        take: &mut dyn FnMut(ImageBatch<'_>) -> Result<()>,
    ) -> Result<()>;
}

impl ImageStream for ImageSet {
    fn count(&self) -> usize {
        self.len()
    }

    fn stream(
        &self,
        count: usize,
        batch: usize,
        take: &mut dyn FnMut(ImageBatch<'_>) -> Result<()>,
    ) -> Result<()> {
        let bytes = &self.bytes()[..count * self.pixels()];
        bytes
            .chunks(batch * self.pixels())
            .try_for_each(|bytes| take(ImageBatch { bytes, shape: self.shape() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_streams_in_batches() {
        let set = ImageSet::new((0..20).collect(), vec![0; 5], ImageShape::grey(2, 2)).unwrap();
        let mut sizes = Vec::new();
        set.stream(3, 2, &mut |batch| {
            sizes.push((batch.len(), batch.bytes[0]));
            Ok(())
        })
        .unwrap();
        assert_eq!(sizes, [(2, 0), (1, 8)]);
    }
}
