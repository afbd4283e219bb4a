//! Cells of images on a background.

use anyhow::{Context, bail, ensure};
use image::{GrayImage, Luma};

/// The shade between the cells of a grid and in its unused cells.
const BACKGROUND: Luma<u8> = Luma([48]);

/// The distance between the cells of a grid, in pixels of the picture.
const GAP: u32 = 2;

/// How the cells of a grid are laid out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) columns: usize,
    pub(super) scale: u32,
}

/// Cuts the slice into images and checks their values.
pub(super) fn split(images: &[f32], height: usize, width: usize) -> anyhow::Result<Vec<&[f32]>> {
    let pixels = height.checked_mul(width).filter(|pixels| *pixels > 0);
    let Some(pixels) = pixels else {
        bail!("images of {height} by {width} pixels cannot be drawn");
    };
    ensure!(!images.is_empty(), "there is no image to draw");
    ensure!(
        images.len().is_multiple_of(pixels),
        "{} values are no whole number of images of {height} by {width} pixels",
        images.len()
    );
    if let Some(at) = images.iter().position(|value| value.is_nan()) {
        bail!("image {} has a value that is not a number, at pixel {}", at / pixels, at % pixels);
    }
    Ok(images.chunks_exact(pixels).collect())
}

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

pub(super) fn ensure_fits(cells: usize, layout: Layout) -> anyhow::Result<(u32, u32)> {
    let Layout { height, width, columns, scale } = layout;
    extent(cells, layout).with_context(|| {
        format!(
            "{cells} images of {height} by {width} pixels in {columns} columns at scale {scale} \
             give no usable picture: choose fewer images, other columns or another scale"
        )
    })
}

/// Width and height of the whole picture, or `None` when it is empty or too large.
fn extent(cells: usize, layout: Layout) -> Option<(u32, u32)> {
    let Layout { height, width, columns, scale } = layout;
    if columns == 0 || scale == 0 {
        return None;
    }
    let side = |cells: usize, pixels: usize| {
        let cells = u32::try_from(cells).ok()?;
        let cell = u32::try_from(pixels).ok()?.checked_mul(scale)?;
        cells.checked_mul(cell.checked_add(GAP)?)?.checked_sub(GAP)
    };
    let (across, down) = (side(columns, width)?, side(cells.div_ceil(columns), height)?);
    // A limit well above any useful picture keeps a slip from taking all the memory.
    (u64::from(across) * u64::from(down) <= 1 << 30).then_some((across, down))
}

#[allow(clippy::cast_possible_truncation, reason = "`extent` has checked that every pixel fits")]
fn paint_cell(picture: &mut GrayImage, cell: &[f32], index: usize, layout: Layout) {
    let Layout { height, width, columns, scale } = layout;
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

    #[test]
    fn gaps_lie_between_cells_only() {
        let layout = Layout { height: 28, width: 20, columns: 10, scale: 2 };
        assert_eq!(extent(57, layout), Some((10 * 40 + 9 * 2, 6 * 56 + 5 * 2)));
        assert_eq!(extent(1, Layout { columns: 1, ..layout }), Some((40, 56)));
    }

    #[test]
    fn sizes_that_overflow_are_refused() {
        let layout = Layout { height: 28, width: 28, columns: 1, scale: 1 };
        for layout in [
            Layout { scale: u32::MAX, ..layout },
            Layout { width: u32::MAX as usize, ..layout },
            Layout { height: usize::MAX, ..layout },
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
