//! Images that are scored batch by batch.

use anyhow::Result;
use hvae_data::ImageSet;

use crate::extractor::Pictures;

/// Images that are handed over batch by batch.
pub trait ImageStream {
    /// How many there are.
    fn count(&self) -> usize;

    /// Hands over the first `count` images, at most `batch` at a time.
    ///
    /// # Errors
    ///
    /// When they cannot be made, and the first of `take`.
    fn stream(
        &self,
        count: usize,
        batch: usize,
        take: &mut dyn FnMut(Pictures<'_>) -> Result<()>,
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
        take: &mut dyn FnMut(Pictures<'_>) -> Result<()>,
    ) -> Result<()> {
        let bytes = &self.bytes()[..count * self.pixels()];
        let (height, width) = (self.height(), self.width());
        bytes
            .chunks(batch * self.pixels())
            .try_for_each(|bytes| take(Pictures { bytes, height, width }))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use super::*;

    #[test]
    fn a_set_streams_in_batches() {
        let set = ImageSet::new((0..20).collect(), vec![0; 5], 2, 2).unwrap();
        let mut sizes = Vec::new();
        set.stream(3, 2, &mut |pictures| {
            sizes.push((pictures.len(), pictures.bytes[0]));
            Ok(())
        })
        .unwrap();
        assert_eq!(sizes, [(2, 0), (1, 8)]);
    }
}
