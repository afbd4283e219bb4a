//! What a figure contains.

use plotters::chart::SeriesLabelPosition;
use plotters::style::RGBColor;

/// Colours that are distinct for all kinds of colour vision (Okabe and Ito).
pub(crate) mod colour {
    use plotters::style::RGBColor;

    pub(crate) const BLUE: RGBColor = RGBColor(0, 114, 178);
    pub(crate) const VERMILION: RGBColor = RGBColor(213, 94, 0);
    pub(crate) const GREEN: RGBColor = RGBColor(0, 158, 115);
    pub(crate) const PURPLE: RGBColor = RGBColor(160, 80, 150);
    pub(crate) const ORANGE: RGBColor = RGBColor(230, 159, 0);
    pub(crate) const SKY: RGBColor = RGBColor(86, 180, 233);
    pub(crate) const BROWN: RGBColor = RGBColor(120, 94, 60);
    pub(crate) const PINK: RGBColor = RGBColor(220, 60, 120);
    pub(crate) const OLIVE: RGBColor = RGBColor(150, 180, 30);
    pub(crate) const GREY: RGBColor = RGBColor(110, 110, 110);
    pub(crate) const ALL: [RGBColor; 10] =
        [BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BROWN, PINK, GREY, OLIVE];
}

/// How the points of a series are drawn. Radii are in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Mark {
    Line,
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

impl Series {
    pub(crate) fn new<P: Into<Point>>(
        name: impl Into<String>,
        colour: RGBColor,
        mark: Mark,
        points: impl IntoIterator<Item = P>,
    ) -> Self {
        let points = points.into_iter().map(P::into).collect();
        Self { name: name.into(), colour, mark, points }
    }
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

impl Scale {
    pub(crate) fn linear(name: &'static str) -> Self {
        Self { name, ..Self::default() }
    }

    pub(crate) fn logarithmic(name: &'static str) -> Self {
        Self { logarithmic: true, ..Self::linear(name) }
    }

    pub(crate) fn whole(self) -> Self {
        Self { whole: true, ..self }
    }

    pub(crate) fn limits(self, low: f64, high: f64) -> Self {
        Self { limits: Some((low, high)), ..self }
    }
}

/// Position of the legend.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) enum Legend {
    At(SeriesLabelPosition),
    /// Where it covers the fewest data points.
    Free,
    #[default]
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
