//! Pictures of curves and points, as PNG and SVG, without any font of the system.

mod axis;
mod draw;
mod place;

use std::path::Path;
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow};
use image::RgbImage;
use image::codecs::png::{CompressionType, FilterType::Adaptive, PngEncoder};
use image::imageops::{FilterType, resize};
use plotters::prelude::*;
use plotters::style::register_font;

use hvae_runtime::files;

/// Colours that people with any colour vision tell apart (Okabe and Ito).
pub(crate) mod colour {
    use plotters::style::RGBColor;

    pub(crate) const BLUE: RGBColor = RGBColor(0, 114, 178);
    pub(crate) const VERMILION: RGBColor = RGBColor(213, 94, 0);
    pub(crate) const GREEN: RGBColor = RGBColor(0, 158, 115);
    pub(crate) const PURPLE: RGBColor = RGBColor(160, 80, 150);
    pub(crate) const GREY: RGBColor = RGBColor(110, 110, 110);
}

/// How a series is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Mark {
    /// Points joined by a line.
    Line,
    /// Points joined by a dashed line.
    Dashes,
    /// A disc each, of this radius in pixels.
    Discs(i32),
    /// A circle each, of this radius in pixels.
    Circles(i32),
    /// A disc each, as large as the third value of the point says, from 0 to 1.
    Bubbles,
    /// A bar each, from 0 up to the point, as wide as the third value says.
    Bars,
}

/// Points of one kind, `[x, y, size]`. Points that are not finite are left out.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) colour: RGBColor,
    pub(crate) mark: Mark,
    pub(crate) points: Vec<[f64; 3]>,
}

/// A scale: its name, whether it is logarithmic, limits where the data should not choose, and whether
/// its values are whole numbers, which have no ticks between them. With `names` its ticks are at 1, 2 and so
/// on, and are called that.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scale {
    pub(crate) name: &'static str,
    pub(crate) logarithmic: bool,
    pub(crate) limits: Option<(f64, f64)>,
    pub(crate) whole: bool,
    pub(crate) names: Vec<String>,
}

/// Where the legend goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Legend {
    #[default]
    UpperLeft,
    UpperRight,
    /// On the right, halfway up.
    Right,
    LowerRight,
    LowerLeft,
    /// Where it covers least.
    Free,
    None,
}

/// One plot of a figure.
#[derive(Debug, Clone, Default)]
pub(crate) struct Panel {
    pub(crate) title: String,
    pub(crate) x: Scale,
    pub(crate) y: Scale,
    pub(crate) series: Vec<Series>,
    /// Vertical lines with a name.
    pub(crate) marks: Vec<(f64, String)>,
    /// A horizontal line.
    pub(crate) level: Option<f64>,
    pub(crate) legend: Legend,
}

/// A figure: panels side by side, in rows of `columns`.
#[derive(Debug, Clone)]
pub struct Figure {
    pub(crate) title: String,
    pub(crate) columns: usize,
    pub(crate) panels: Vec<Panel>,
}

/// Width and height of a panel, in pixels.
const PANEL: (u32, u32) = (560, 400);
/// Height of the title of a figure.
const TITLE: u32 = 44;
/// Pictures in pixels are drawn so many times larger and reduced, which smooths lines and discs.
const SMOOTH: u32 = 2;

const FONT: &[u8] = include_bytes!("../../../assets/DejaVuSans-subset.ttf");

/// Saves `figure` as `<stem>.png` and `<stem>.svg` in `folder`.
///
/// # Errors
///
/// When it cannot be drawn or written.
pub fn save(figure: &Figure, folder: &Path, stem: &str) -> Result<()> {
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

/// `figure` as the text of an SVG picture.
///
/// # Errors
///
/// When it cannot be drawn.
pub fn svg(figure: &Figure) -> Result<String> {
    font()?;
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, extent(figure)).into_drawing_area();
        draw::figure(figure, &root, 1).map_err(|e| anyhow!("drawing as SVG: {e}"))?;
    }
    Ok(text)
}

/// Width and height of a figure, in pixels.
fn extent(figure: &Figure) -> (u32, u32) {
    let rows = figure.panels.len().div_ceil(figure.columns) as u32;
    let title = if figure.title.is_empty() { 0 } else { TITLE };
    (PANEL.0 * figure.columns as u32, PANEL.1 * rows + title)
}

/// Makes the built-in font known, once.
fn font() -> Result<()> {
    static READY: OnceLock<bool> = OnceLock::new();
    let ready = READY.get_or_init(|| register_font("sans-serif", FontStyle::Normal, FONT).is_ok());
    anyhow::ensure!(*ready, "the built-in font cannot be read");
    Ok(())
}
