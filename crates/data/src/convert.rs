//! Conversion of pictures of any size and colour to grey images of one shape.

use anyhow::{Context, Result, ensure};
use image::{DynamicImage, GrayImage, RgbImage, RgbaImage, imageops, imageops::FilterType};
use rayon::prelude::*;

use crate::{ImageSet, ImageShape};

/// Pictures that are decoded at a time, so that they are not all in memory twice.
const CHUNK: usize = 1024;

/// What was changed while images were read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) resized: usize,
    pub(crate) coloured: usize,
    pub(crate) skipped: usize,
    /// Why labels were dropped.
    pub(crate) unlabelled: Option<&'static str>,
}

impl Changes {
    /// What was changed, in brackets after a space; empty if nothing was.
    pub(crate) fn describe(&self, shape: ImageShape) -> String {
        let mut parts = Vec::new();
        for (count, what) in [
            (self.resized, format!("resized to {}", shape.size())),
            (self.coloured, "converted to grey".to_owned()),
            (self.skipped, "skipped, not pictures".to_owned()),
        ] {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        parts.extend(self.unlabelled.map(str::to_owned));
        if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
    }
}

/// A picture as an image of the wanted shape.
#[derive(Debug)]
pub(crate) struct Converted {
    pub(crate) pixels: Vec<u8>,
    pub(crate) resized: bool,
    pub(crate) coloured: bool,
}

/// The pixels of the pictures `0..count`, which are read in parallel, and what was changed.
pub(crate) fn gather(
    count: usize,
    shape: ImageShape,
    read: impl Fn(usize) -> Result<Converted> + Sync,
) -> Result<(Vec<u8>, Changes)> {
    let mut images = Vec::with_capacity(count * shape.pixels());
    let mut changes = Changes::default();
    for from in (0..count).step_by(CHUNK) {
        let range = from..count.min(from + CHUNK);
        let chunk: Vec<_> = range.into_par_iter().map(&read).collect::<Result<_>>()?;
        for Converted { pixels, resized, coloured } in chunk {
            images.extend(pixels);
            changes.resized += usize::from(resized);
            changes.coloured += usize::from(coloured);
        }
    }
    Ok((images, changes))
}

/// An image of 1, 3 or 4 channels, the last of its axes.
pub(crate) fn picture(bytes: &[u8], shape: ImageShape) -> Result<DynamicImage> {
    let (width, height, bytes) = (shape.width as u32, shape.height as u32, bytes.to_vec());
    let picture = match shape.channels {
        1 => GrayImage::from_raw(width, height, bytes).map(DynamicImage::ImageLuma8),
        3 => RgbImage::from_raw(width, height, bytes).map(DynamicImage::ImageRgb8),
        _ => RgbaImage::from_raw(width, height, bytes).map(DynamicImage::ImageRgba8),
    };
    picture.context("an image of another size than its shape")
}

/// The same images with the shape `shape`.
pub(crate) fn resize(set: ImageSet, shape: ImageShape) -> Result<(ImageSet, Changes)> {
    if set.shape() == shape {
        return Ok((set, Changes::default()));
    }
    let (images, changes) = gather(set.len(), shape, |index| {
        Ok(convert(picture(set.image(index), set.shape())?, shape))
    })?;
    let labels = set.is_labelled().then(|| set.labels().to_vec());
    Ok((ImageSet::with(images, labels, shape)?, changes))
}

/// `picture` in grey, transparent parts black, scaled to fit `shape`, and centred on black.
pub(crate) fn convert(picture: DynamicImage, shape: ImageShape) -> Converted {
    let (grey, coloured) = to_grey(picture);
    let (width, height) = grey.dimensions();
    let (to_width, to_height) = (shape.width as u32, shape.height as u32);
    if (width, height) == (to_width, to_height) {
        return Converted { pixels: grey.into_raw(), resized: false, coloured };
    }
    // `a * b / c`, rounded, and at least 1.
    let scaled = |a: u32, b: u32, c: u32| {
        let product = u64::from(a) * u64::from(b) + u64::from(c) / 2;
        ((product / u64::from(c)) as u32).max(1)
    };
    let wide = u64::from(width) * u64::from(to_height) >= u64::from(height) * u64::from(to_width);
    let (inner_width, inner_height) = if wide {
        (to_width, scaled(height, to_width, width).min(to_height))
    } else {
        (scaled(width, to_height, height).min(to_width), to_height)
    };
    let inner = imageops::resize(&grey, inner_width, inner_height, FilterType::Triangle);
    let mut framed = GrayImage::new(to_width, to_height);
    let (left, top) = ((to_width - inner_width) / 2, (to_height - inner_height) / 2);
    imageops::replace(&mut framed, &inner, left.into(), top.into());
    Converted { pixels: framed.into_raw(), resized: true, coloured }
}

/// `picture` in grey, and whether it had a colour or a transparent pixel.
fn to_grey(picture: DynamicImage) -> (GrayImage, bool) {
    let rgba = match picture {
        DynamicImage::ImageLuma8(grey) => return (grey, false),
        other => other.into_rgba8(),
    };
    let coloured = rgba.pixels().any(|p| p.0[0] != p.0[1] || p.0[1] != p.0[2] || p.0[3] != 255);
    let mut grey = DynamicImage::ImageRgba8(rgba.clone()).into_luma8();
    for (grey, pixel) in grey.pixels_mut().zip(rgba.pixels()) {
        let opaque = u16::from(pixel.0[3]);
        grey.0[0] = (u16::from(grey.0[0]) * opaque / 255) as u8;
    }
    (grey, coloured)
}

/// A picture whose pixels are all grey, opaque and of 8 bits, unchanged.
pub(crate) fn require_grey(picture: DynamicImage) -> Result<GrayImage> {
    let wide = picture.color().bytes_per_pixel() > picture.color().channel_count();
    ensure!(!wide, "it has more than 8 bits per channel");
    let rgba = match picture {
        DynamicImage::ImageLuma8(grey) => return Ok(grey),
        other => other.into_rgba8(),
    };
    for (x, y, pixel) in rgba.enumerate_pixels() {
        let [red, green, blue, alpha] = pixel.0;
        ensure!(alpha == u8::MAX, "it is transparent at column {x}, row {y}");
        ensure!(
            red == green && green == blue,
            "it is in colour (column {x}, row {y}); only grey pictures can be used"
        );
    }
    // The luminance of a grey pixel is its grey value.
    Ok(DynamicImage::ImageRgba8(rgba).into_luma8())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_scaled_to_fit_and_centred() {
        for ([height, width], [to_height, to_width], lit_rows, lit_columns) in [
            ([28, 56], [28, 28], 7..21, 0..28),
            ([56, 28], [28, 28], 0..28, 7..21),
            ([10, 10], [20, 30], 0..20, 5..25),
            ([10, 10], [30, 20], 5..25, 0..20),
            ([1, 300], [4, 6], 1..2, 0..6),
        ] {
            let picture = GrayImage::from_pixel(width, height, image::Luma([200]));
            let shape = ImageShape::grey(to_height, to_width);
            let found = convert(DynamicImage::ImageLuma8(picture), shape);
            assert!(found.resized && !found.coloured);
            for (at, &pixel) in found.pixels.iter().enumerate() {
                let lit =
                    lit_rows.contains(&(at / to_width)) && lit_columns.contains(&(at % to_width));
                assert_eq!(pixel, if lit { 200 } else { 0 }, "{height}x{width}, pixel {at}");
            }
        }
    }

    #[test]
    fn a_set_is_resized_with_its_labels() {
        let set = ImageSet::new(vec![9; 12], vec![4, 30, 5], ImageShape::grey(2, 2)).unwrap();
        let (same, changes) = resize(set.clone(), set.shape()).unwrap();
        assert_eq!((same, changes), (set.clone(), Changes::default()));
        let shape = ImageShape::grey(3, 4);
        let (resized, changes) = resize(set, shape).unwrap();
        assert_eq!((resized.labels(), resized.shape()), ([4, 30, 5].as_slice(), shape));
        assert_eq!(changes.describe(shape), " (3 resized to 3x4)");
    }
}
