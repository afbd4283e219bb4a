//! Drawing a figure on any backend.

use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::figures::plot::axis::Axis;
use crate::figures::plot::{Figure, Legend, Mark, Panel, Series, TITLE, colour, place};

type Outcome<B> = Result<(), DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>>;
type Area<B> = DrawingArea<B, Shift>;
type Plot<B> = DrawingArea<B, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// Radius of the largest bubble.
const BUBBLE: f64 = 7.0;
/// Room left of, right of, above and below a plot.
const ROOM: [i32; 4] = [78, 20, 50, 56];
const INK: RGBColor = RGBColor(40, 40, 40);
const MESH: RGBColor = RGBColor(230, 230, 230);

/// Draws `figure` on `root`, all of it `zoom` times as large.
pub(super) fn figure<B: DrawingBackend>(figure: &Figure, root: &Area<B>, zoom: u32) -> Outcome<B> {
    root.fill(&WHITE)?;
    let above = if figure.title.is_empty() { 0 } else { TITLE };
    let (title, body) = root.split_vertically(above * zoom);
    if above > 0 {
        let at = (24 * zoom as i32, 24 * zoom as i32);
        let large = style(20 * zoom, HPos::Left, VPos::Center);
        title.draw(&Text::new(figure.title.clone(), at, large))?;
    }
    let rows = figure.panels.len().div_ceil(figure.columns);
    for (panel, area) in figure.panels.iter().zip(body.split_evenly((rows, figure.columns))) {
        Drawing::new(panel, &area, zoom)?.draw()?;
    }
    root.present()
}

fn style(size: u32, across: HPos, down: VPos) -> TextStyle<'static> {
    TextStyle::from(("sans-serif", size).into_font()).color(&INK).pos(Pos::new(across, down))
}

/// A panel while it is drawn.
struct Drawing<'a, B: DrawingBackend> {
    panel: &'a Panel,
    area: &'a Area<B>,
    plot: Plot<B>,
    x: Axis,
    y: Axis,
    /// Left, right, top and bottom of the plot, in pixels of `area`.
    frame: [i32; 4],
    /// Pixels for each unit of length.
    zoom: i32,
    /// The same, as the width of a thin line.
    pen: u32,
}

impl<'a, B: DrawingBackend> Drawing<'a, B> {
    fn new(
        panel: &'a Panel,
        area: &'a Area<B>,
        zoom: u32,
    ) -> Result<Self, DrawingAreaErrorKind<B::ErrorType>> {
        let values =
            |k: usize| panel.series.iter().flat_map(move |s| s.points.iter().map(move |p| p[k]));
        let x = Axis::new(&panel.x, values(0));
        let y = Axis::new(&panel.y, values(1).chain(panel.level));
        let (pen, zoom) = (zoom, zoom as i32);
        let [left, right, top, bottom] = ROOM.map(|r| r * zoom);
        let plot = ChartBuilder::on(area)
            .margin_left(left)
            .margin_right(right)
            .margin_top(top)
            .margin_bottom(bottom)
            .build_cartesian_2d(x.limits.0..x.limits.1, y.limits.0..y.limits.1)?
            .plotting_area()
            .clone();
        let (width, height) = area.dim_in_pixel();
        let frame = [left, width as i32 - right, top, height as i32 - bottom];
        Ok(Self { panel, area, plot, x, y, frame, zoom, pen })
    }

    fn draw(&self) -> Outcome<B> {
        self.scales()?;
        self.rules()?;
        for series in &self.panel.series {
            self.series(series)?;
        }
        self.legend()
    }

    /// Grid, frame, labels and names of both scales.
    fn scales(&self) -> Outcome<B> {
        let [left, right, top, bottom] = self.frame;
        let (x, y, z) = (&self.x, &self.y, self.zoom);
        let mesh = MESH.stroke_width(self.pen);
        for &tick in &x.ticks {
            let ends = vec![(tick, y.limits.0), (tick, y.limits.1)];
            self.plot.draw(&PathElement::new(ends, mesh))?;
            let at = left + along((right - left).into(), tick, x.limits);
            self.text(x.label(tick), (at, bottom + 6 * z), 13, HPos::Center, VPos::Top)?;
        }
        for &tick in &y.ticks {
            let ends = vec![(x.limits.0, tick), (x.limits.1, tick)];
            self.plot.draw(&PathElement::new(ends, mesh))?;
            let at = bottom - along((bottom - top).into(), tick, y.limits);
            self.text(y.label(tick), (left - 7 * z, at), 13, HPos::Right, VPos::Center)?;
        }
        let corners = [(x.limits.0, y.limits.0), (x.limits.1, y.limits.1)];
        self.plot.draw(&Rectangle::new(corners, colour::GREY.stroke_width(self.pen)))?;
        let (across, down) = (i32::midpoint(left, right), i32::midpoint(top, bottom));
        let names = [
            (self.panel.title.as_str(), top - 26 * z, 16),
            (self.panel.x.name, bottom + 46 * z, 14),
        ];
        for (name, at, size) in names {
            self.text(name.to_owned(), (across, at), size, HPos::Center, VPos::Bottom)?;
        }
        let font = ("sans-serif", 14 * z).into_font().transform(FontTransform::Rotate270);
        let turned = TextStyle::from(font).color(&INK).pos(Pos::new(HPos::Center, VPos::Top));
        self.area.draw(&Text::new(self.panel.y.name, (10 * z, down), turned))
    }

    fn text(
        &self,
        text: String,
        at: (i32, i32),
        size: u32,
        across: HPos,
        down: VPos,
    ) -> Outcome<B> {
        self.area.draw(&Text::new(text, at, style(size * self.pen, across, down)))
    }

    /// The lines across the plot, with their names above it.
    fn rules(&self) -> Outcome<B> {
        let (x, y, z) = (&self.x, &self.y, self.zoom);
        if let Some(level) = self.panel.level.map(|l| y.position(l)) {
            let ends = [(x.limits.0, level), (x.limits.1, level)];
            let style = INK.stroke_width(self.pen);
            self.plot.draw(&DashedPathElement::new(ends, 6 * z, 4 * z, style))?;
        }
        let [left, right, top, _] = self.frame;
        let mut last = i32::MIN / 2;
        for (value, name) in &self.panel.marks {
            let at = x.position(*value);
            if !(x.limits.0..=x.limits.1).contains(&at) {
                continue;
            }
            let ends = [(at, y.limits.0), (at, y.limits.1)];
            let style = colour::GREY.stroke_width(self.pen);
            self.plot.draw(&DashedPathElement::new(ends, 4 * z, 4 * z, style))?;
            let pixel = left + along((right - left).into(), at, x.limits);
            // Names that would overlap stand side by side.
            let pixel = pixel.max(last + 20 * z);
            last = pixel;
            self.text(name.clone(), (pixel, top - 5 * z), 13, HPos::Center, VPos::Bottom)?;
        }
        Ok(())
    }

    fn series(&self, series: &Series) -> Outcome<B> {
        let shown = |p: f64, limits: (f64, f64)| p >= limits.0 - 1e-9 && p <= limits.1 + 1e-9;
        let points: Vec<((f64, f64), f64)> = series
            .points
            .iter()
            .map(|p| ((self.x.position(p[0]), self.y.position(p[1])), p[2]))
            .filter(|(p, _)| shown(p.0, self.x.limits) && shown(p.1, self.y.limits))
            .collect();
        let (z, colour) = (self.zoom, series.colour);
        let ends = points.iter().map(|p| p.0);
        let stroke = colour.stroke_width(2 * self.pen);
        match series.mark {
            // A line of one point would show nothing.
            Mark::Line | Mark::Dashes if points.len() == 1 => {
                self.discs(ends.map(|p| (p, 3 * z)), colour.filled())
            }
            Mark::Line => self.plot.draw(&PathElement::new(ends.collect::<Vec<_>>(), stroke)),
            Mark::Dashes => self.plot.draw(&DashedPathElement::new(ends, 9 * z, 6 * z, stroke)),
            Mark::Discs(radius) => {
                self.discs(ends.map(|p| (p, radius * z)), colour.mix(0.75).filled())
            }
            Mark::Circles(radius) => {
                self.discs(ends.map(|p| (p, radius * z)), colour.stroke_width(self.pen))
            }
            Mark::Bars => {
                let foot = self.y.position(0.0);
                for ((x, y), width) in &points {
                    let corners = [(x - width / 2.0, foot), (x + width / 2.0, *y)];
                    self.plot.draw(&Rectangle::new(corners, colour.mix(0.6).filled()))?;
                }
                Ok(())
            }
            Mark::Bubbles => {
                let sized = points.iter().map(|(p, size)| (*p, bubble(*size, z)));
                self.discs(sized, colour.mix(0.5).filled())
            }
        }
    }

    fn discs(
        &self,
        points: impl Iterator<Item = ((f64, f64), i32)>,
        style: ShapeStyle,
    ) -> Outcome<B> {
        for (point, radius) in points {
            self.plot.draw(&Circle::new(point, radius, style))?;
        }
        Ok(())
    }

    fn legend(&self) -> Outcome<B> {
        let named: Vec<&Series> = self.panel.series.iter().filter(|s| !s.name.is_empty()).collect();
        if self.panel.legend == Legend::None || named.is_empty() {
            return Ok(());
        }
        let z = self.zoom;
        let longest = named.iter().map(|s| s.name.chars().count()).max().unwrap_or(0) as i32;
        let (width, height) = ((48 + longest * 7) * z, (20 * named.len() as i32 + 8) * z);
        let [left, right, top, bottom] = self.frame;
        let (far, low) = (right - width - 8 * z, bottom - height - 8 * z);
        let (near, high) = (left + 8 * z, top + 8 * z);
        let (x, y) = match self.panel.legend {
            Legend::Right => (far, i32::midpoint(top, bottom) - height / 2),
            Legend::UpperRight => (far, high),
            Legend::LowerRight => (far, low),
            Legend::LowerLeft => (near, low),
            Legend::Free => {
                let middle = i32::midpoint(top, bottom) - height / 2;
                let places = [
                    (far, high),
                    (near, high),
                    (far, low),
                    (near, low),
                    (far, middle),
                    (near, middle),
                ];
                place::freest(&places, (width, height), &self.drawn()).unwrap_or((far, high))
            }
            Legend::UpperLeft | Legend::None => (near, high),
        };
        let corners = [(x, y), (x + width, y + height)];
        self.area.draw(&Rectangle::new(corners, WHITE.mix(0.85).filled()))?;
        self.area.draw(&Rectangle::new(corners, MESH.stroke_width(self.pen)))?;
        for (row, series) in named.into_iter().enumerate() {
            let middle = y + (14 + 20 * row as i32) * z;
            self.sample(series, x + 8 * z, middle)?;
            let at = (x + 38 * z, middle);
            self.text(series.name.clone(), at, 13, HPos::Left, VPos::Center)?;
        }
        Ok(())
    }

    /// Where something is drawn, in pixels of the area.
    fn drawn(&self) -> Vec<(i32, i32)> {
        let [left, right, top, bottom] = self.frame;
        let within = |p: f64, limits: (f64, f64)| (limits.0..=limits.1).contains(&p);
        let pixel = |p: &[f64; 3]| {
            let (x, y) = (self.x.position(p[0]), self.y.position(p[1]));
            let inside = within(x, self.x.limits) && within(y, self.y.limits);
            inside.then(|| {
                let across = left + along((right - left).into(), x, self.x.limits);
                (across, bottom - along((bottom - top).into(), y, self.y.limits))
            })
        };
        let series = self.panel.series.iter().flat_map(|series| {
            let points: Vec<_> = series.points.iter().filter_map(pixel).collect();
            let joined = matches!(series.mark, Mark::Line | Mark::Dashes);
            if joined { place::line(&points) } else { points }
        });
        let level =
            self.panel.level.map(|l| self.y.position(l)).filter(|l| within(*l, self.y.limits));
        let level = level.map(|l| bottom - along((bottom - top).into(), l, self.y.limits));
        let level = level.map_or(Vec::new(), |y| place::line(&[(left, y), (right, y)]));
        series.chain(level).collect()
    }

    /// What a series looks like, in the legend.
    fn sample(&self, series: &Series, x: i32, y: i32) -> Outcome<B> {
        let (z, colour) = (self.zoom, series.colour);
        let stroke = colour.stroke_width(2 * self.pen);
        let ends = [(x, y), (x + 22 * z, y)];
        let disc = |radius, style: ShapeStyle| Circle::new((x + 11 * z, y), radius * z, style);
        match series.mark {
            Mark::Line => self.area.draw(&PathElement::new(ends.to_vec(), stroke)),
            Mark::Dashes => self.area.draw(&DashedPathElement::new(ends, 7 * z, 4 * z, stroke)),
            Mark::Circles(radius) => self.area.draw(&disc(radius, colour.stroke_width(self.pen))),
            Mark::Discs(radius) => self.area.draw(&disc(radius, colour.filled())),
            Mark::Bubbles | Mark::Bars => self.area.draw(&disc(5, colour.mix(0.6).filled())),
        }
    }
}

/// The radius of a bubble whose area is this share of the largest.
fn bubble(size: f64, zoom: i32) -> i32 {
    ((BUBBLE * f64::from(zoom) * size.clamp(0.0, 1.0).sqrt()).round() as i32).max(zoom)
}

/// How many of `pixels` lie before `position`.
fn along(pixels: f64, position: f64, limits: (f64, f64)) -> i32 {
    (pixels * (position - limits.0) / (limits.1 - limits.0)).round() as i32
}
