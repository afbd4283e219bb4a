//! Figures as PNG and SVG, with a built-in font.

mod axis;
mod draw;
mod figure;

use std::{path::Path, sync::OnceLock};

use anyhow::{Context, Result, anyhow, ensure};
use hvae_runtime::files;
use image::RgbImage;
use image::codecs::png::FilterType::Adaptive;
use image::codecs::png::{CompressionType, PngEncoder};
use image::imageops::{FilterType, resize};
use plotters::{prelude::*, style::register_font};

pub(crate) use figure::{Figure, Legend, Mark, Panel, Point, Scale, Series, colour};

/// Width and height of a panel, in pixels.
const PANEL: (u32, u32) = (560, 400);
/// PNGs are drawn larger by this factor and reduced, which smooths lines and discs.
const SMOOTH: u32 = 2;

const FONT: &[u8] = include_bytes!("../../../assets/DejaVuSans-subset.ttf");

/// Saves `figure` as `<stem>.png` and `<stem>.svg` in `folder`.
pub(crate) fn save(figure: &Figure, folder: &Path, stem: &str) -> Result<()> {
    font()?;
    let size = extent(figure);
    let large = (size.0 * SMOOTH, size.1 * SMOOTH);
    let mut pixels = vec![0; large.0 as usize * large.1 as usize * 3];
    {
        let root = BitMapBackend::with_buffer(&mut pixels, large).into_drawing_area();
        draw::figure(figure, &root, SMOOTH).map_err(|e| anyhow!("drawing {stem}.png: {e}"))?;
    }
    let text = svg(figure).with_context(|| format!("drawing {stem}.svg"))?;
    let picture = RgbImage::from_raw(large.0, large.1, pixels).context("a picture of that size")?;
    let picture = resize(&picture, size.0, size.1, FilterType::Triangle);
    files::write_atomically(&folder.join(format!("{stem}.png")), |file| {
        let encoder = PngEncoder::new_with_quality(file, CompressionType::Best, Adaptive);
        Ok(picture.write_with_encoder(encoder)?)
    })?;
    files::write(&folder.join(format!("{stem}.svg")), &text)
}

/// `figure` as the text of an SVG file.
pub(crate) fn svg(figure: &Figure) -> Result<String> {
    font()?;
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, extent(figure)).into_drawing_area();
        draw::figure(figure, &root, 1).map_err(|e| anyhow!("drawing as SVG: {e}"))?;
    }
    Ok(text)
}

fn extent(figure: &Figure) -> (u32, u32) {
    let rows = figure.panels.len().div_ceil(figure.columns) as u32;
    (PANEL.0 * figure.columns as u32, PANEL.1 * rows + draw::title_height(figure))
}

fn font() -> Result<()> {
    static READY: OnceLock<bool> = OnceLock::new();
    let ready = READY.get_or_init(|| register_font("sans-serif", FontStyle::Normal, FONT).is_ok());
    ensure!(*ready, "the built-in font cannot be read");
    Ok(())
}
