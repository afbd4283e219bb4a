//! Drawing a figure on any backend.

use plotters::coord::Shift;
use plotters::element::{DashedPathElement, DynElement};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::figures::plot::axis::Axis;
use crate::figures::plot::figure::{Figure, Legend, Mark, Panel, Point, Series, colour};

type Outcome<B> = Result<(), DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>>;
type Area<B> = DrawingArea<B, Shift>;
type Chart<'a, B> = ChartContext<'a, B, Cartesian2d<Axis, Axis>>;

/// Points per straight line.
const PER_LINE: usize = 24;

/// A position in a plot, as fractions of its width from the left and of its height from the top.
type At = (f64, f64);

/// Radius of the largest bubble.
const BUBBLE: f64 = 7.0;
/// Length of a line in the legend.
const SAMPLE: i32 = 22;
const INK: RGBColor = RGBColor(40, 40, 40);
const MESH: RGBColor = RGBColor(230, 230, 230);

pub(super) fn title_height(figure: &Figure) -> u32 {
    if figure.title.is_empty() { 0 } else { 44 }
}

/// Draws `figure` on `root`, scaled by `zoom`.
pub(super) fn figure<B: DrawingBackend>(figure: &Figure, root: &Area<B>, zoom: u32) -> Outcome<B> {
    root.fill(&WHITE)?;
    let (title, body) = root.split_vertically(title_height(figure) * zoom);
    if !figure.title.is_empty() {
        let at = (24 * zoom as i32, 24 * zoom as i32);
        let style = text(20, zoom, HPos::Left, VPos::Center);
        title.draw(&Text::new(figure.title.clone(), at, style))?;
    }
    let rows = figure.panels.len().div_ceil(figure.columns);
    for (panel, area) in figure.panels.iter().zip(body.split_evenly((rows, figure.columns))) {
        draw(panel, &area, zoom)?;
    }
    root.present()
}

fn text(size: u32, zoom: u32, across: HPos, down: VPos) -> TextStyle<'static> {
    TextStyle::from(("sans-serif", size * zoom).into_font()).color(&INK).pos(Pos::new(across, down))
}

fn draw<B: DrawingBackend>(panel: &Panel, area: &Area<B>, zoom: u32) -> Outcome<B> {
    let points = || panel.series.iter().flat_map(|s| &s.points);
    let x = Axis::new(&panel.x, points().map(|p| p.x));
    let y = Axis::new(&panel.y, points().map(|p| p.y).chain(panel.level));
    let mut chart = ChartBuilder::on(area)
        .margin_top(50 * zoom)
        .margin_right(20 * zoom)
        .margin_bottom(10 * zoom)
        .margin_left(10 * zoom)
        .x_label_area_size(46 * zoom)
        .y_label_area_size(68 * zoom)
        .build_cartesian_2d(x, y)?;
    chart
        .configure_mesh()
        .bold_line_style(MESH.stroke_width(zoom))
        .axis_style(colour::GREY.stroke_width(zoom))
        .set_all_tick_mark_size(3 * zoom)
        .label_style(text(13, zoom, HPos::Center, VPos::Center))
        .axis_desc_style(text(14, zoom, HPos::Center, VPos::Center))
        .x_desc(panel.x.name)
        .y_desc(panel.y.name)
        .draw()?;
    header(&mut chart, panel, area, zoom)?;
    for one in &panel.series {
        series(&mut chart, one, zoom)?;
    }
    let named = panel.series.iter().filter(|s| !s.name.is_empty());
    let names: Vec<&str> = named.map(|s| s.name.as_str()).collect();
    if panel.legend == Legend::None || names.is_empty() {
        return Ok(());
    }
    let position = legend_position(&chart, panel, &names, zoom as i32);
    chart
        .configure_series_labels()
        .position(position)
        .margin(8 * zoom)
        .legend_area_size((SAMPLE as u32 + 8) * zoom)
        .background_style(WHITE.mix(0.85))
        .border_style(MESH.stroke_width(zoom))
        .label_font(text(13, zoom, HPos::Left, VPos::Top))
        .draw()
}

/// The title, and the lines across the plot with their names.
fn header<B: DrawingBackend>(
    chart: &mut Chart<'_, B>,
    panel: &Panel,
    area: &Area<B>,
    zoom: u32,
) -> Outcome<B> {
    let z = zoom as i32;
    let (x, y) = (chart.x_range(), chart.y_range());
    if let Some(level) = panel.level {
        let style = INK.stroke_width(zoom);
        let ends = [(x.start, level), (x.end, level)];
        chart.plotting_area().draw(&DashedPathElement::new(ends, 6 * z, 4 * z, style))?;
    }
    let (left, top) = area.get_base_pixel();
    let mut free_from = i32::MIN;
    for (value, name) in &panel.marks {
        if !chart.as_coord_spec().x_spec().contains(*value) {
            continue;
        }
        let style = colour::GREY.stroke_width(zoom);
        let ends = [(*value, y.start), (*value, y.end)];
        chart.plotting_area().draw(&DashedPathElement::new(ends, 4 * z, 4 * z, style))?;
        let (pixel, frame) = chart.backend_coord(&(*value, y.end));
        // Names that would overlap stand side by side.
        let pixel = (pixel - left).max(free_from);
        free_from = pixel + 20 * z;
        let style = text(13, zoom, HPos::Center, VPos::Bottom);
        area.draw(&Text::new(name.clone(), (pixel, frame - top - 5 * z), style))?;
    }
    let plot = chart.plotting_area();
    let (corner, width) = (plot.get_base_pixel(), plot.dim_in_pixel().0 as i32);
    let at = (corner.0 - left + width / 2, corner.1 - top - 26 * z);
    area.draw(&Text::new(panel.title.clone(), at, text(16, zoom, HPos::Center, VPos::Bottom)))
}

/// Draws a series, with its entry for the legend.
fn series<'a, B: DrawingBackend + 'a>(
    chart: &mut Chart<'a, B>,
    series: &Series,
    zoom: u32,
) -> Outcome<B> {
    let (x, y) = (chart.as_coord_spec().x_spec().clone(), chart.as_coord_spec().y_spec().clone());
    let shown = |p: &&Point| x.contains(p.x) && y.contains(p.y);
    let points: Vec<Point> = series.points.iter().filter(shown).copied().collect();
    let at = |p: &Point| (p.x, p.y);
    let (mark, colour) = (series.mark, series.colour);
    let stroke = colour.stroke_width(2 * zoom);
    let drawn = match mark {
        // A line of one point would be invisible.
        Mark::Line | Mark::Dashes if points.len() == 1 => {
            let disc = |p| Circle::new(at(p), 3 * zoom as i32, colour.filled());
            chart.draw_series(points.iter().map(disc))?
        }
        Mark::Line => chart.draw_series(LineSeries::new(points.iter().map(at), stroke))?,
        Mark::Dashes => {
            let dashes = DashedPathElement::new(points.iter().map(at), 9 * zoom, 6 * zoom, stroke);
            chart.draw_series([dashes])?
        }
        Mark::Discs(_) | Mark::Circles(_) | Mark::Bubbles => {
            let disc = |p: &Point| {
                Circle::new(at(p), radius(mark, p.size, zoom), style(mark, colour, zoom))
            };
            chart.draw_series(points.iter().map(disc))?
        }
        Mark::Bars => chart.draw_series(points.iter().map(|p| {
            let corners = [(p.x - p.size / 2.0, 0.0), (p.x + p.size / 2.0, p.y)];
            Rectangle::new(corners, style(mark, colour, zoom))
        }))?,
    };
    if !series.name.is_empty() {
        drawn.label(&series.name).legend(move |at| sample(mark, colour, zoom, at));
    }
    Ok(())
}

/// Line or fill of a disc, circle or bar.
fn style(mark: Mark, colour: RGBColor, zoom: u32) -> ShapeStyle {
    match mark {
        Mark::Circles(_) => colour.stroke_width(zoom),
        Mark::Discs(_) => colour.mix(0.75).filled(),
        _ => colour.mix(0.55).filled(),
    }
}

/// Radius of a disc or circle for a point of this size.
fn radius(mark: Mark, size: f64, zoom: u32) -> i32 {
    match mark {
        Mark::Discs(radius) | Mark::Circles(radius) => radius * zoom as i32,
        _ => ((BUBBLE * f64::from(zoom) * size.clamp(0.0, 1.0).sqrt()).round() as i32)
            .max(zoom as i32),
    }
}

/// The sample of a series in the legend.
fn sample<B: DrawingBackend>(
    mark: Mark,
    colour: RGBColor,
    zoom: u32,
    (x, y): (i32, i32),
) -> DynElement<'static, B, (i32, i32)> {
    let stroke = colour.stroke_width(2 * zoom);
    let ends = [(x, y), (x + SAMPLE * zoom as i32, y)];
    match mark {
        Mark::Line => PathElement::new(ends.to_vec(), stroke).into_dyn(),
        Mark::Dashes => DashedPathElement::new(ends, 7 * zoom, 4 * zoom, stroke).into_dyn(),
        _ => {
            let radius = radius(mark, 0.5, zoom);
            Circle::new((x + SAMPLE * zoom as i32 / 2, y), radius, style(mark, colour, zoom))
                .into_dyn()
        }
    }
}

/// Where the legend goes; its size is estimated from the lengths of the names.
fn legend_position<B: DrawingBackend>(
    chart: &Chart<'_, B>,
    panel: &Panel,
    names: &[&str],
    zoom: i32,
) -> SeriesLabelPosition {
    if let Legend::At(position) = &panel.legend {
        return position.clone();
    }
    let (width, height) = chart.plotting_area().dim_in_pixel();
    let longest = names.iter().map(|n| n.chars().count()).max().unwrap_or(0) as i32;
    let across = f64::from((54 + longest * 7) * zoom) / f64::from(width);
    let down = f64::from((18 * names.len() as i32 + 16) * zoom) / f64::from(height);
    let middle = (1.0 - down) / 2.0;
    let places = [
        ((1.0 - across, 0.0), SeriesLabelPosition::UpperRight),
        ((0.0, 0.0), SeriesLabelPosition::UpperLeft),
        ((1.0 - across, 1.0 - down), SeriesLabelPosition::LowerRight),
        ((0.0, 1.0 - down), SeriesLabelPosition::LowerLeft),
        ((1.0 - across, middle), SeriesLabelPosition::MiddleRight),
        ((0.0, middle), SeriesLabelPosition::MiddleLeft),
    ];
    let points = drawn(chart, panel);
    freest(places, (across, down), &points).unwrap_or(SeriesLabelPosition::UpperRight)
}

fn drawn<B: DrawingBackend>(chart: &Chart<'_, B>, panel: &Panel) -> Vec<At> {
    let (x, y) = (chart.as_coord_spec().x_spec(), chart.as_coord_spec().y_spec());
    let at = |p: &Point| (x.fraction(p.x), 1.0 - y.fraction(p.y));
    let shown = |p: &&Point| x.contains(p.x) && y.contains(p.y);
    let level = panel.level.map(|level| 1.0 - y.fraction(level));
    let level = level.map(|down| line(&[(0.0, down), (1.0, down)]));
    let series = panel.series.iter().map(|series| {
        let points: Vec<At> = series.points.iter().filter(shown).map(at).collect();
        let joined = matches!(series.mark, Mark::Line | Mark::Dashes);
        if joined { line(&points) } else { points }
    });
    series.chain(level).flatten().collect()
}

/// Of `places`, upper left corners with what they stand for, the first at which a box of `size`
/// (width and height) covers the fewest of `points`.
fn freest<P>(places: impl IntoIterator<Item = (At, P)>, size: At, points: &[At]) -> Option<P> {
    let covered = |((left, top), _): &(At, P)| {
        let inside = |&&(x, y): &&At| {
            (*left..=left + size.0).contains(&x) && (*top..=top + size.1).contains(&y)
        };
        points.iter().filter(inside).count()
    };
    places.into_iter().min_by_key(covered).map(|(_, place)| place)
}

/// Points on the straight lines between `corners`.
fn line(corners: &[At]) -> Vec<At> {
    let between = |pair: &[At]| {
        let (a, b) = (pair[0], pair[1]);
        let at = move |k| {
            let t = k as f64 / PER_LINE as f64;
            (a.0 + (b.0 - a.0) * t, a.1 + (b.1 - a.1) * t)
        };
        (0..PER_LINE).map(at).collect::<Vec<_>>()
    };
    let mut points: Vec<_> = corners.windows(2).flat_map(between).collect();
    points.extend(corners.last());
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_legend_avoids_lines() {
        // From the lower left to the upper right: the corners off the diagonal are free.
        let rising = line(&[(0.0, 1.0), (1.0, 0.0)]);
        let corners = [(0.7, 0.0), (0.0, 0.0), (0.7, 0.7), (0.0, 0.7)].map(|at| (at, at));
        assert_eq!(freest(corners, (0.3, 0.3), &rising), Some((0.0, 0.0)));
        let falling = line(&[(0.0, 0.0), (1.0, 1.0)]);
        assert_eq!(freest(corners, (0.3, 0.3), &falling), Some((0.7, 0.0)));
        assert!(rising.len() > 20 && rising.contains(&(0.5, 0.5)), "{rising:?}");
    }
}
