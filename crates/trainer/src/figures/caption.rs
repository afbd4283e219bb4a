//! What is written beside the images of a picture, and into its file.

use anyhow::Result;
use image::imageops::{crop_imm, replace};
use image::{GrayImage, Luma};
use png::ColorType;

use crate::figures::signed::Facts;
use crate::figures::{font, signed};

/// The shade between the cells of a grid and in its unused cells.
pub(super) const BACKGROUND: Luma<u8> = Luma([48]);
/// Distance between the cells of a grid, in pixels.
pub(super) const GAP: u32 = 2;
/// The shade of titles and labels.
const INK: u8 = 225;
/// Their smallest and largest size, and how many times wider a picture is.
const TEXT: (u32, u32) = (14, 26);
const TEXT_SHARE: u32 = 45;
/// Distance between texts and images.
const MARGIN: u32 = 8;
/// A picture with a title is at least this wide.
const MIN_WIDTH: u32 = 280;

/// A picture of images, with or without what is written beside them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Drawn {
    pub(crate) picture: GrayImage,
    /// Left and upper edge of the images, their width and height.
    images: [u32; 4],
}

impl From<GrayImage> for Drawn {
    fn from(picture: GrayImage) -> Self {
        let (width, height) = picture.dimensions();
        Self { picture, images: [0, 0, width, height] }
    }
}

/// The keyword under which a PNG says where its images are.
const IMAGES: &str = "Images";

/// What is written beside the images of a picture, and into its file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Caption {
    pub(crate) title: String,
    /// Labels of the rows, from the first again after the last.
    pub(crate) rows: Vec<String>,
    /// Where the images are from.
    pub(crate) facts: Facts,
}

impl Caption {
    /// `picture`, whose cells are `cell` pixels high, with title and labels around it.
    pub(crate) fn around(&self, picture: GrayImage, cell: u32) -> Result<Drawn> {
        if self.title.is_empty() && self.rows.is_empty() {
            return Ok(picture.into());
        }
        let size = (picture.width() / TEXT_SHARE).clamp(TEXT.0, TEXT.1);
        let (line, has_labels) = (size * 10 / 7, cell >= size && !self.rows.is_empty());
        let widths = self.rows.iter().map(|row| font::width(row, size));
        let widest = widths.collect::<Result<Vec<_>>>()?.into_iter().max().unwrap_or(0);
        let left = if has_labels { widest + 2 * MARGIN } else { 0 };
        let width = (left + picture.width()).max(MIN_WIDTH);
        let lines = font::wrapped(&self.title, size, width - 2 * MARGIN)?;
        let top = if lines.is_empty() { 0 } else { lines.len() as u32 * line + MARGIN };
        let mut whole = GrayImage::from_pixel(width, top + picture.height(), BACKGROUND);
        let mut title = GrayImage::from_pixel(width, top.max(1), BACKGROUND);
        for (text, number) in lines.iter().zip(0..) {
            font::write(&mut title, text, size, INK, [MARGIN, MARGIN + number * line])?;
        }
        if top > 0 {
            replace(&mut whole, &title, 0, 0);
        }
        let rows = if has_labels { (picture.height() + GAP) / (cell + GAP) } else { 0 };
        for (row, label) in (0..rows).zip(self.rows.iter().cycle()) {
            let mut strip = GrayImage::from_pixel(left, cell, BACKGROUND);
            font::write(&mut strip, label, size, INK, [MARGIN, (cell - size) / 2])?;
            replace(&mut whole, &strip, 0, i64::from(top + row * (cell + GAP)));
        }
        replace(&mut whole, &picture, i64::from(left), i64::from(top));
        Ok(Drawn { picture: whole, images: [left, top, picture.width(), picture.height()] })
    }

    fn facts(&self) -> Facts {
        let title = [("Title", self.title.clone())];
        title.into_iter().chain(self.facts.iter().cloned()).collect()
    }
}

/// A picture as the bytes of a PNG.
#[derive(Debug, Clone)]
pub(crate) struct Png {
    pub(crate) bytes: Vec<u8>,
    /// Width and height.
    pub(crate) extent: [u32; 2],
}

/// A picture as a PNG that names what `caption` does.
pub(crate) fn png(drawn: &Drawn, caption: &Caption) -> Result<Png> {
    let (picture, mut facts) = (&drawn.picture, caption.facts());
    let extent = picture.dimensions();
    if drawn.images[2..] != [extent.0, extent.1] {
        facts.push((IMAGES, drawn.images.map(|number| number.to_string()).join(" ")));
    }
    let bytes = signed::encode(picture, extent, ColorType::Grayscale, &facts)?;
    Ok(Png { bytes, extent: extent.into() })
}

/// The images alone of a PNG whose texts say where they are; any other as it is.
pub(crate) fn without_caption(bytes: Vec<u8>) -> Vec<u8> {
    let cropped = || {
        let place = signed::fact(&bytes, IMAGES)?;
        let place: Vec<u32> = place.split(' ').filter_map(|number| number.parse().ok()).collect();
        let &[left, top, width, height] = place.as_slice() else { return None };
        let picture = image::load_from_memory(&bytes).ok()?.into_luma8();
        // Beyond the picture there is nothing.
        let images = crop_imm(&picture, left, top, width, height).to_image();
        Some(png(&images.into(), &Caption::default()).ok()?.bytes)
    };
    cropped().unwrap_or(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use super::*;

    #[test]
    fn titles_and_labels_are_around_the_images() {
        // Two white images of 60 by 40 pixels.
        let mut picture = GrayImage::from_pixel(60, 82, Luma([255]));
        for x in 0..60 {
            (40..42).for_each(|y| picture.put_pixel(x, y, BACKGROUND));
        }
        let rows = vec!["input".to_owned(), "output, at length".to_owned()];
        let caption = Caption { title: "A title".to_owned(), rows, ..Caption::default() };
        let drawn = caption.around(picture.clone(), 40).unwrap();
        let whole = &drawn.picture;
        let top = whole.height() - picture.height();
        assert!((15..40).contains(&top), "{top}");
        let white = (0..whole.width()).filter(|x| whole.get_pixel(*x, top).0 == [255]);
        let white: Vec<u32> = white.collect();
        assert_eq!(white.len(), 60, "the images as they were");
        let has_ink = |x: std::ops::Range<u32>, y: std::ops::Range<u32>| {
            x.clone().any(|x| y.clone().any(|y| whole.get_pixel(x, y).0[0] > 150))
        };
        assert!(has_ink(0..100, 0..top) && !has_ink(150..MIN_WIDTH, 0..top), "the title");
        for row in [0..40, 42..82] {
            assert!(has_ink(0..white[0], top + row.start..top + row.end), "{row:?}");
        }
        // A long title has lines; without texts nothing is added.
        let long = Caption { title: "several words ".repeat(9), ..Caption::default() };
        let longer = long.around(picture.clone(), 40).unwrap().picture;
        assert!(longer.height() > picture.height() + 2 * top);
        assert_eq!(Caption::default().around(picture.clone(), 40).unwrap(), picture.clone().into());
        // The file says where the images are.
        let images = without_caption(png(&drawn, &caption).unwrap().bytes);
        assert_eq!(image::load_from_memory(&images).unwrap().into_luma8(), picture);
        assert_eq!(without_caption(b"no picture".to_vec()), b"no picture");
    }
}
