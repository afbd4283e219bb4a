//! Image cells on a background.

use anyhow::{Context, bail, ensure};
use image::{GrayImage, Luma};

use hvae_data::ImageSize;

/// The shade between the cells of a grid and in its unused cells.
const BACKGROUND: Luma<u8> = Luma([48]);

/// Distance between the cells of a grid, in pixels.
const GAP: u32 = 2;

/// Layout of a grid.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    /// Size of an image.
    pub(crate) size: ImageSize,
    /// Images per row.
    pub(crate) columns: usize,
    /// Side of an image's pixel, in pixels of the picture.
    pub(crate) scale: u32,
}

/// Splits the slice into images and validates their values.
pub(super) fn split(images: &[f32], size: ImageSize) -> anyhow::Result<Vec<&[f32]>> {
    let ImageSize { height, width } = size;
    let pixels = height.checked_mul(width).filter(|pixels| *pixels > 0);
    let Some(pixels) = pixels else {
        bail!("images of {height} by {width} pixels cannot be drawn");
    };
    ensure!(!images.is_empty(), "there is no image to draw");
    ensure!(
        images.len().is_multiple_of(pixels),
        "{} values are not a whole number of images of {height} by {width} pixels",
        images.len()
    );
    if let Some(at) = images.iter().position(|value| value.is_nan()) {
        bail!("image {} is NaN at pixel {}", at / pixels, at % pixels);
    }
    Ok(images.chunks_exact(pixels).collect())
}

/// Draws the cells; empty ones show the background.
pub(super) fn paint(cells: &[Option<&[f32]>], layout: Layout) -> anyhow::Result<GrayImage> {
    let (width, height) = ensure_fits(cells.len(), layout)?;
    let mut picture = GrayImage::from_pixel(width, height, BACKGROUND);
    for (index, cell) in cells.iter().enumerate() {
        if let Some(cell) = cell {
            paint_cell(&mut picture, cell, index, layout);
        }
    }
    Ok(picture)
}

/// Width and height of the picture.
pub(super) fn ensure_fits(cells: usize, layout: Layout) -> anyhow::Result<(u32, u32)> {
    let Layout { size: ImageSize { height, width }, columns, scale } = layout;
    extent(cells, layout).with_context(|| {
        format!(
            "{cells} images of {height} by {width} pixels in {columns} columns at scale {scale} \
             give no valid picture: change the number of images, the columns or the scale"
        )
    })
}

/// Width and height of the whole picture, or `None` when it is empty or too large.
fn extent(cells: usize, layout: Layout) -> Option<(u32, u32)> {
    let Layout { size: ImageSize { height, width }, columns, scale } = layout;
    if columns == 0 || scale == 0 {
        return None;
    }
    let side = |cells: usize, pixels: usize| {
        let cells = u32::try_from(cells).ok()?;
        let cell = u32::try_from(pixels).ok()?.checked_mul(scale)?;
        cells.checked_mul(cell.checked_add(GAP)?)?.checked_sub(GAP)
    };
    let (across, down) = (side(columns, width)?, side(cells.div_ceil(columns), height)?);
    // Far above any useful picture; keeps a typo from exhausting the memory.
    (u64::from(across) * u64::from(down) <= 1 << 30).then_some((across, down))
}

#[allow(clippy::cast_possible_truncation, reason = "`extent` has checked that every pixel fits")]
fn paint_cell(picture: &mut GrayImage, cell: &[f32], index: usize, layout: Layout) {
    let Layout { size: ImageSize { height, width }, columns, scale } = layout;
    let left = (index % columns) as u32 * (width as u32 * scale + GAP);
    let top = (index / columns) as u32 * (height as u32 * scale + GAP);
    for y in 0..height as u32 * scale {
        for x in 0..width as u32 * scale {
            let value = cell[(y / scale) as usize * width + (x / scale) as usize];
            picture.put_pixel(left + x, top + y, Luma([shade(value)]));
        }
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the value is clipped to the range of a byte"
)]
fn shade(value: f32) -> u8 {
    (value.clamp(0.0, 1.0) * 255.0).round() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(height: usize, width: usize) -> Layout {
        Layout { size: ImageSize { height, width }, columns: 10, scale: 2 }
    }

    #[test]
    fn gaps_lie_between_cells_only() {
        let layout = layout(28, 20);
        assert_eq!(extent(57, layout), Some((10 * 40 + 9 * 2, 6 * 56 + 5 * 2)));
        assert_eq!(extent(1, Layout { columns: 1, ..layout }), Some((40, 56)));
    }

    #[test]
    fn sizes_that_overflow_are_rejected() {
        let layout = Layout { columns: 1, ..layout(28, 28) };
        for layout in [
            Layout { scale: u32::MAX, ..layout },
            Layout { size: ImageSize { width: u32::MAX as usize, ..layout.size }, ..layout },
            Layout { size: ImageSize { height: usize::MAX, ..layout.size }, ..layout },
            Layout { columns: 0, ..layout },
            Layout { columns: usize::MAX, ..layout },
        ] {
            assert_eq!(extent(100, layout), None, "{layout:?}");
        }
        assert_eq!(extent(1 << 31, layout), None);
    }

    #[test]
    fn shades_are_rounded() {
        assert_eq!([0.0, 0.1, 0.5, 0.998, 1.0].map(shade), [0, 26, 128, 254, 255]);
    }
}
