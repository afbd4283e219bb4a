//! A chart of the page: lines, bars and dots stretch with its width, text does not.

use std::fmt::Write as _;

use plotters::style::RGBColor;
use serde::Serialize;

use crate::figures::plot::{Axis, Mark, Panel, Point, Series};
use crate::report::shown::number;

/// Lines of at most this many points show the value of each under the pointer.
const TOLD: usize = 100;

/// Labels below a chart of cells at most.
const LABELS: usize = 5;

/// What the template draws. Positions are percent of the plot, from the left and from the top.
#[derive(Debug, Serialize)]
pub(crate) struct Chart {
    title: String,
    /// What good looks like.
    hint: String,
    /// Names of the axes.
    across: String,
    up: String,
    x: Vec<Tick>,
    y: Vec<Tick>,
    /// Characters of the longest label of the axis that goes up.
    widest: usize,
    level: Option<f64>,
    lines: Vec<Line>,
    /// Whether lines have names.
    legend: bool,
    /// Whether there is one point a line: a number says more than its place.
    single: bool,
    /// Whether both axes have the same unit.
    square: bool,
}

#[derive(Debug, Serialize)]
struct Tick {
    at: f64,
    label: String,
}

/// A series.
#[derive(Debug, Default, Serialize)]
struct Line {
    name: String,
    colour: String,
    /// The newest value.
    last: Option<String>,
    /// Corners of a line.
    corners: String,
    /// A path with a dot at each point.
    dots: String,
    /// Left and upper corner, width and height of each bar.
    bars: Vec<[f64; 4]>,
    /// Points with their values.
    told: Vec<(f64, f64, String)>,
}

impl Chart {
    pub(crate) fn new(panel: &Panel, hint: impl Into<String>) -> Self {
        let points = || panel.series.iter().flat_map(|s| &s.points);
        let x = Axis::new(&panel.x, points().map(|p| p.x));
        let y = Axis::new(&panel.y, points().map(|p| p.y).chain(panel.level));
        let y_ticks = ticks(&y, |fraction| 100.0 * (1.0 - fraction));
        let is_line = |s: &Series| s.mark == Mark::Line;
        Self {
            title: panel.title.clone(),
            hint: hint.into(),
            across: panel.x.name.to_owned(),
            up: panel.y.name.to_owned(),
            widest: y_ticks.iter().map(|tick| tick.label.chars().count()).max().unwrap_or(1),
            x: ticks(&x, |fraction| 100.0 * fraction),
            y: y_ticks,
            level: panel.level.map(|level| 100.0 * (1.0 - y.fraction(level))),
            lines: panel.series.iter().map(|series| Line::new(series, &x, &y)).collect(),
            legend: panel.series.iter().any(|s| !s.name.is_empty()),
            single: panel.series.iter().all(|s| is_line(s) && s.points.len() == 1),
            square: panel.series.iter().any(|s| matches!(s.mark, Mark::Discs(_))),
        }
    }
}

impl Chart {
    /// With these texts for the points of each line under the pointer.
    pub(crate) fn telling(mut self, texts: &[Vec<String>]) -> Self {
        for (line, texts) in self.lines.iter_mut().zip(texts) {
            for (told, text) in line.told.iter_mut().zip(texts) {
                told.2.clone_from(text);
            }
        }
        self
    }

    /// With these names of its axes.
    pub(crate) fn named(self, across: &str, up: &str) -> Self {
        Self { across: across.to_owned(), up: up.to_owned(), ..self }
    }

    /// With coloured cells below its lines, each by its left and upper corner, width and height in
    /// percent, and with a text.
    pub(crate) fn over(mut self, cells: Vec<(RGBColor, [f64; 4], String)>) -> Self {
        let cell =
            |(colour, [left, top, width, height], text): (RGBColor, [f64; 4], String)| Line {
                colour: css(colour),
                bars: vec![[left, top, width, height]],
                told: vec![(left, top, text)],
                ..Line::default()
            };
        self.lines.splice(0..0, cells.into_iter().map(cell));
        // Their labels can be long.
        let every = self.x.len().div_ceil(LABELS).max(1);
        self.x = self.x.into_iter().step_by(every).collect();
        self
    }
}

fn ticks(axis: &Axis, at: impl Fn(f64) -> f64) -> Vec<Tick> {
    let tick = |&value: &f64| Tick { at: at(axis.fraction(value)), label: axis.label(value) };
    axis.ticks().iter().map(tick).collect()
}

impl Line {
    fn new(series: &Series, x: &Axis, y: &Axis) -> Self {
        let at = |p: &Point| (100.0 * x.fraction(p.x), 100.0 * (1.0 - y.fraction(p.y)));
        let is_shown = |p: &&Point| x.contains(p.x) && y.contains(p.y);
        let points: Vec<&Point> = series.points.iter().filter(is_shown).collect();
        let (is_line, is_bar) = (series.mark == Mark::Line, series.mark == Mark::Bars);
        let mut line = Self {
            name: series.name.clone(),
            colour: css(series.colour),
            last: series.points.last().filter(|_| is_line).map(|p| number(p.y)),
            corners: String::new(),
            dots: String::new(),
            bars: Vec::new(),
            told: Vec::new(),
        };
        for point in &points {
            let (left, top) = at(point);
            // Writing to a string does not fail.
            let _ = match series.mark {
                Mark::Line => write!(line.corners, "{left:.2},{top:.2} "),
                Mark::Bars => {
                    let width = 100.0 * (x.fraction(point.x + point.size) - x.fraction(point.x));
                    let bottom = 100.0 * (1.0 - y.fraction(0.0));
                    line.bars.push([left - width / 2.0, top, width, bottom - top]);
                    Ok(())
                }
                _ => write!(line.dots, "M{left:.2} {top:.2}h0"),
            };
        }
        if is_bar || (is_line && points.len() <= TOLD) {
            let told = |p: &&Point| {
                let ((left, top), name) = (at(p), x.name());
                (left, top, format!("{name} {}: {}", x.label(p.x), number(p.y)))
            };
            line.told = points.iter().map(told).collect();
        }
        line
    }
}

fn css(RGBColor(red, green, blue): RGBColor) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}
