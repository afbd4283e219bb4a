//! The built-in font, and text in grey pictures.

use std::sync::OnceLock;

use anyhow::{Result, anyhow, ensure};
use image::{GrayImage, Luma};
use plotters::prelude::*;
use plotters::style::register_font;

const FONT: &[u8] = include_bytes!("../../assets/DejaVuSans-subset.ttf");

/// Makes the font known as `sans-serif`.
pub(super) fn register() -> Result<()> {
    static READY: OnceLock<bool> = OnceLock::new();
    let ready = READY.get_or_init(|| register_font("sans-serif", FontStyle::Normal, FONT).is_ok());
    ensure!(*ready, "the built-in font cannot be read");
    Ok(())
}

/// Width of `text` in pixels.
pub(super) fn width(text: &str, size: u32) -> Result<u32> {
    register()?;
    let extent = ("sans-serif", size).into_font().box_size(text);
    Ok(extent.map_err(|error| anyhow!("measuring a text: {error}"))?.0)
}

/// Words of `text` in lines of at most `limit` pixels, where words are not longer.
pub(super) fn wrapped(text: &str, size: u32, limit: u32) -> Result<Vec<String>> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let longer = lines.last().map(|line| format!("{line} {word}"));
        match longer {
            Some(longer) if width(&longer, size)? <= limit => {
                lines.pop();
                lines.push(longer);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    Ok(lines)
}

/// Writes `text` in the shade `ink`, with its upper left corner at `left` and `top`.
pub(super) fn write(
    picture: &mut GrayImage,
    text: &str,
    size: u32,
    ink: u8,
    [left, top]: [u32; 2],
) -> Result<()> {
    register()?;
    let (across, down) = picture.dimensions();
    let mut pixels: Vec<u8> = picture.pixels().flat_map(|Luma([shade])| [*shade; 3]).collect();
    {
        let root = BitMapBackend::with_buffer(&mut pixels, (across, down)).into_drawing_area();
        let style = ("sans-serif", size).into_font().color(&RGBColor(ink, ink, ink));
        let at = (i32::try_from(left)?, i32::try_from(top)?);
        root.draw(&Text::new(text, at, style)).map_err(|error| anyhow!("a text: {error}"))?;
    }
    for (pixel, shade) in picture.pixels_mut().zip(pixels.iter().step_by(3)) {
        pixel.0 = [*shade];
    }
    Ok(())
}
