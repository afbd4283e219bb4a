//! Pictures of any size and colour as grey images of one size.

use image::imageops::{self, FilterType};
use image::{DynamicImage, GrayImage};

use crate::ImageSet;

/// What had to be done to the images.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) resized: usize,
    pub(super) coloured: usize,
    pub(super) skipped: usize,
    /// Why there are no labels where one could think there were.
    pub(super) unlabelled: Option<&'static str>,
}

/// The converted pictures as a set, with labels if they are known, and how many of them were changed, besides `changes`.
pub(super) fn gathered(
    converted: Vec<(Vec<u8>, bool, bool)>,
    labels: Option<Vec<u8>>,
    side: usize,
    mut changes: Changes,
) -> anyhow::Result<(ImageSet, Changes)> {
    let mut images = Vec::with_capacity(converted.len() * side * side);
    for (pixels, resized, coloured) in converted {
        images.extend(pixels);
        changes.resized += usize::from(resized);
        changes.coloured += usize::from(coloured);
    }
    let count = images.len() / (side * side);
    let set = match labels {
        Some(labels) => ImageSet::new(images, labels, side, side)?,
        None => ImageSet::new(images, vec![0; count], side, side)?.unlabelled(),
    };
    Ok((set, changes))
}

/// `side` by `side` grey values, and whether the picture was resized and coloured.
pub(super) fn convert(picture: DynamicImage, side: usize) -> (Vec<u8>, bool, bool) {
    let plain = matches!(picture, DynamicImage::ImageLuma8(_));
    let (grey, coloured) = if plain {
        (picture.into_luma8(), false)
    } else {
        let rgba = picture.into_rgba8();
        let coloured = rgba.pixels().any(|p| p.0[0] != p.0[1] || p.0[1] != p.0[2] || p.0[3] != 255);
        let mut grey = DynamicImage::ImageRgba8(rgba.clone()).into_luma8();
        for (grey, pixel) in grey.pixels_mut().zip(rgba.pixels()) {
            let opaque = u16::from(pixel.0[3]);
            grey.0[0] = (u16::from(grey.0[0]) * opaque / 255) as u8;
        }
        (grey, coloured)
    };
    let side = side as u32;
    let (width, height) = grey.dimensions();
    if (width, height) == (side, side) {
        return (grey.into_raw(), false, coloured);
    }
    let scaled = |length: u32| {
        let longest = u64::from(width.max(height));
        let length = (u64::from(length) * u64::from(side) + longest / 2) / longest;
        (length as u32).clamp(1, side)
    };
    let (inner_width, inner_height) = (scaled(width), scaled(height));
    let inner = imageops::resize(&grey, inner_width, inner_height, FilterType::Triangle);
    let mut framed = GrayImage::new(side, side);
    let (left, top) = ((side - inner_width) / 2, (side - inner_height) / 2);
    imageops::replace(&mut framed, &inner, left.into(), top.into());
    (framed.into_raw(), true, coloured)
}
