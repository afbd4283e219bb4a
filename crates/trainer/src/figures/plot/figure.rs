//! What a figure contains.

use plotters::style::RGBColor;

/// Colours that are distinct for all kinds of colour vision (Okabe and Ito).
pub(crate) mod colour {
    use plotters::style::RGBColor;

    pub(crate) const BLUE: RGBColor = RGBColor(0, 114, 178);
    pub(crate) const VERMILION: RGBColor = RGBColor(213, 94, 0);
    pub(crate) const GREEN: RGBColor = RGBColor(0, 158, 115);
    pub(crate) const PURPLE: RGBColor = RGBColor(160, 80, 150);
    pub(crate) const GREY: RGBColor = RGBColor(110, 110, 110);
}

/// How the points of a series are drawn. Radii are in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Mark {
    /// Joined by a line.
    Line,
    /// Joined by a dashed line.
    Dashes,
    /// Discs of this radius.
    Discs(i32),
    /// Circles of this radius.
    Circles(i32),
    /// Discs whose area is proportional to the point's size, from 0 to 1.
    Bubbles,
    /// Bars from 0 to the point, as wide as the point's size.
    Bars,
}

/// A point of a series. Non-finite points are not drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Point {
    pub(crate) x: f64,
    pub(crate) y: f64,
    /// Used by [`Mark::Bubbles`] and [`Mark::Bars`].
    pub(crate) size: f64,
}

impl From<[f64; 2]> for Point {
    fn from([x, y]: [f64; 2]) -> Self {
        Self { x, y, size: 1.0 }
    }
}

/// Points with a name in the legend; no entry if it is empty.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) colour: RGBColor,
    pub(crate) mark: Mark,
    pub(crate) points: Vec<Point>,
}

/// The scale of an axis.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scale {
    pub(crate) name: &'static str,
    pub(crate) logarithmic: bool,
    /// Range of values; by default that of the data.
    pub(crate) limits: Option<(f64, f64)>,
    /// Whether ticks are at integers only.
    pub(crate) whole: bool,
    /// Labels of ticks at 1, 2, ... in place of numbers.
    pub(crate) names: Vec<String>,
}

/// Position of the legend.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Legend {
    #[default]
    UpperLeft,
    UpperRight,
    /// On the right, vertically centred.
    Right,
    LowerRight,
    LowerLeft,
    /// Where it covers the fewest data points.
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
    /// Vertical lines with their names.
    pub(crate) marks: Vec<(f64, String)>,
    /// A horizontal line.
    pub(crate) level: Option<f64>,
    pub(crate) legend: Legend,
}

/// Panels in rows of `columns`.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    pub(crate) title: String,
    pub(crate) columns: usize,
    pub(crate) panels: Vec<Panel>,
}
