//! Decoding of a picture.

use std::{io::BufReader, path::Path};

use anyhow::{Context, Result, ensure};
use hvae_runtime::{files, memory};
use image::{DynamicImage, ImageDecoder, ImageReader, metadata::Orientation};

/// Bytes of pixels of a picture at most.
const MOST_BYTES: u64 = 512 << 20;

/// The picture in a file, by its content, as endings may be wrong, and turned upright if its EXIF
/// data say how it was held; and whether it was turned.
pub(crate) fn decode(path: &Path) -> Result<(DynamicImage, bool)> {
    let read = || {
        let file = BufReader::new(files::open_regular(path)?);
        let mut decoder = ImageReader::new(file).with_guessed_format()?.into_decoder()?;
        let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        let bytes = decoder.total_bytes();
        ensure!(bytes <= MOST_BYTES, "its {bytes} bytes of pixels are more than {MOST_BYTES}");
        memory::require(bytes as f64)?;
        let mut picture = DynamicImage::from_decoder(decoder)?;
        ensure!(picture.width() > 0 && picture.height() > 0, "it has no pixels");
        picture.apply_orientation(orientation);
        Ok((picture, orientation != Orientation::NoTransforms))
    };
    read().with_context(|| format!("cannot use the picture {}", path.display()))
}
