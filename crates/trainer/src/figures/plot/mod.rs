//! Figures as PNG and SVG, with a built-in font.

mod axis;
mod draw;
mod figure;

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use hvae_runtime::files;
use image::RgbImage;
use image::imageops::{FilterType, resize};
use plotters::prelude::*;
use png::ColorType;

use crate::figures::{font, signed};

pub(crate) use axis::Axis;
pub(crate) use figure::{Figure, Legend, Mark, Panel, Point, Scale, Series, colour};

/// Width and height of a panel, in pixels.
const PANEL: (u32, u32) = (560, 400);
/// PNGs are drawn larger by this factor and reduced, which smooths lines and discs.
const SMOOTH: u32 = 2;

/// Saves `figure` as `<stem>.png` and `<stem>.svg` in `folder`.
pub(crate) fn save(figure: &Figure, folder: &Path, stem: &str) -> Result<()> {
    font::register()?;
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
    let titles = figure.panels.iter().map(|panel| panel.title.as_str());
    let titles = [figure.title.as_str()].into_iter().chain(titles).filter(|t| !t.is_empty());
    let facts = Vec::from([("Title", titles.collect::<Vec<_>>().join("; "))]);
    let bytes = signed::encode(&picture, size, ColorType::Rgb, &facts)?;
    files::write(&folder.join(format!("{stem}.png")), &bytes)?;
    files::write(&folder.join(format!("{stem}.svg")), &text)
}

/// `figure` as the text of an SVG file.
pub(crate) fn svg(figure: &Figure) -> Result<String> {
    font::register()?;
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
