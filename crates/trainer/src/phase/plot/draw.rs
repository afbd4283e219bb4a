//! Drawing a figure on any backend.

use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::axis::Axis;
use super::{Figure, Legend, Mark, Panel, Series, TITLE, colour};

type Outcome<B> = Result<(), DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>>;
type Area<B> = DrawingArea<B, Shift>;
type Plot<B> = DrawingArea<B, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// Radius of the largest bubble.
const BUBBLE: f64 = 7.0;
/// Room left of, right of, above and below a plot.
const ROOM: [i32; 4] = [78, 22, 40, 56];
const INK: RGBColor = RGBColor(40, 40, 40);
const MESH: RGBColor = RGBColor(230, 230, 230);

/// Draws `figure` on `root`.
pub(super) fn figure<B: DrawingBackend>(figure: &Figure, root: &Area<B>) -> Outcome<B> {
    root.fill(&WHITE)?;
    let (title, body) = root.split_vertically(TITLE);
    title.draw(&Text::new(figure.title.clone(), (24, 24), style(21, HPos::Left, VPos::Center)))?;
    let rows = figure.panels.len().div_ceil(figure.columns);
    for (panel, area) in figure.panels.iter().zip(body.split_evenly((rows, figure.columns))) {
        Drawing::new(panel, &area)?.draw()?;
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
}

impl<'a, B: DrawingBackend> Drawing<'a, B> {
    fn new(
        panel: &'a Panel,
        area: &'a Area<B>,
    ) -> Result<Self, DrawingAreaErrorKind<B::ErrorType>> {
        let values =
            |k: usize| panel.series.iter().flat_map(move |s| s.points.iter().map(move |p| p[k]));
        let x = Axis::new(&panel.x, values(0));
        let y = Axis::new(&panel.y, values(1).chain(panel.level));
        let [left, right, top, bottom] = ROOM;
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
        Ok(Self { panel, area, plot, x, y, frame })
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
        let (x, y) = (&self.x, &self.y);
        for &tick in &x.ticks {
            let ends = vec![(tick, y.limits.0), (tick, y.limits.1)];
            self.plot.draw(&PathElement::new(ends, MESH))?;
            let at = left + along((right - left).into(), tick, x.limits);
            self.text(x.label(tick), (at, bottom + 6), style(14, HPos::Center, VPos::Top))?;
        }
        for &tick in &y.ticks {
            let ends = vec![(x.limits.0, tick), (x.limits.1, tick)];
            self.plot.draw(&PathElement::new(ends, MESH))?;
            let at = bottom - along((bottom - top).into(), tick, y.limits);
            self.text(y.label(tick), (left - 7, at), style(14, HPos::Right, VPos::Center))?;
        }
        let corners = [(x.limits.0, y.limits.0), (x.limits.1, y.limits.1)];
        self.plot.draw(&Rectangle::new(corners, colour::GREY))?;
        let (across, down) = (i32::midpoint(left, right), i32::midpoint(top, bottom));
        let title = style(16, HPos::Center, VPos::Bottom);
        self.text(self.panel.title.clone(), (across, top - 9), title)?;
        let name = style(15, HPos::Center, VPos::Bottom);
        self.text(self.panel.x.name.to_owned(), (across, bottom + 46), name.clone())?;
        let turned =
            TextStyle::from(("sans-serif", 15).into_font().transform(FontTransform::Rotate270));
        let turned = turned.color(&INK).pos(Pos::new(HPos::Center, VPos::Top));
        self.text(self.panel.y.name.to_owned(), (10, down), turned)
    }

    fn text(&self, text: String, at: (i32, i32), style: TextStyle<'_>) -> Outcome<B> {
        self.area.draw(&Text::new(text, at, style))
    }

    /// The lines across the plot, with their names.
    fn rules(&self) -> Outcome<B> {
        let (x, y) = (&self.x, &self.y);
        let inside = |p: f64, l: (f64, f64)| (l.0..=l.1).contains(&p);
        if let Some(level) = self.panel.level.map(|l| y.position(l)) {
            let ends = [(x.limits.0, level), (x.limits.1, level)];
            self.plot.draw(&DashedPathElement::new(ends, 6, 4, INK))?;
        }
        let mut last = i32::MIN;
        for (value, name) in &self.panel.marks {
            let at = x.position(*value);
            if !inside(at, x.limits) {
                continue;
            }
            let ends = [(at, y.limits.0), (at, y.limits.1)];
            self.plot.draw(&DashedPathElement::new(ends, 4, 4, colour::GREY))?;
            let [left, right, top, _] = self.frame;
            let pixel = left + along((right - left).into(), at, x.limits);
            // Names that would overlap stand below each other.
            let row = i32::from(pixel - last < 24) * 16;
            last = pixel;
            let name = name.clone();
            self.text(name, (pixel + 4, top + 4 + row), style(13, HPos::Left, VPos::Top))?;
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
        let ends = points.iter().map(|p| p.0);
        let stroke = ShapeStyle::from(&series.colour).stroke_width(2);
        match series.mark {
            Mark::Line => self.plot.draw(&PathElement::new(ends.collect::<Vec<_>>(), stroke)),
            Mark::Dashes => self.plot.draw(&DashedPathElement::new(ends, 9, 6, stroke)),
            Mark::Discs(radius) => {
                self.discs(ends.map(|p| (p, radius)), series.colour.mix(0.75).filled())
            }
            Mark::Circles(radius) => {
                self.discs(ends.map(|p| (p, radius)), series.colour.stroke_width(1))
            }
            Mark::Bubbles => {
                let sized = points.iter().map(|(p, size)| (*p, bubble(*size)));
                self.discs(sized, series.colour.mix(0.35).filled())
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
        let longest = named.iter().map(|s| s.name.chars().count()).max().unwrap_or(0) as i32;
        let (width, height) = (44 + longest * 8, 20 * named.len() as i32 + 8);
        let [left, right, top, bottom] = self.frame;
        // Below the names of the vertical lines.
        let high = top + if self.panel.marks.is_empty() { 8 } else { 38 };
        let (x, y) = match self.panel.legend {
            Legend::UpperRight => (right - width - 8, high),
            Legend::LowerRight => (right - width - 8, bottom - height - 8),
            Legend::LowerLeft => (left + 8, bottom - height - 8),
            Legend::UpperLeft | Legend::None => (left + 8, high),
        };
        let corners = [(x, y), (x + width, y + height)];
        self.area.draw(&Rectangle::new(corners, WHITE.mix(0.85).filled()))?;
        self.area.draw(&Rectangle::new(corners, MESH))?;
        for (row, series) in named.into_iter().enumerate() {
            let middle = y + 14 + 20 * row as i32;
            self.sample(series, x + 8, middle)?;
            let name = style(14, HPos::Left, VPos::Center);
            self.text(series.name.clone(), (x + 38, middle), name)?;
        }
        Ok(())
    }

    /// What a series looks like, in the legend.
    fn sample(&self, series: &Series, x: i32, y: i32) -> Outcome<B> {
        let stroke = ShapeStyle::from(&series.colour).stroke_width(2);
        let ends = [(x, y), (x + 22, y)];
        let disc = |radius, style: ShapeStyle| Circle::new((x + 11, y), radius, style);
        match series.mark {
            Mark::Line => self.area.draw(&PathElement::new(ends.to_vec(), stroke)),
            Mark::Dashes => self.area.draw(&DashedPathElement::new(ends, 7, 4, stroke)),
            Mark::Circles(radius) => self.area.draw(&disc(radius, series.colour.stroke_width(1))),
            Mark::Discs(radius) => self.area.draw(&disc(radius, series.colour.filled())),
            Mark::Bubbles => self.area.draw(&disc(5, series.colour.mix(0.6).filled())),
        }
    }
}

/// The radius of a bubble whose area is this share of the largest.
fn bubble(size: f64) -> i32 {
    ((BUBBLE * size.clamp(0.0, 1.0).sqrt()).round() as i32).max(2)
}

/// How many of `pixels` lie before `position`.
fn along(pixels: f64, position: f64, limits: (f64, f64)) -> i32 {
    (pixels * (position - limits.0) / (limits.1 - limits.0)).round() as i32
}
