use plotters::chart::SeriesLabelPosition::UpperRight;

use crate::converge::paper::TOLERANCE;
use crate::converge::results::Curve;
use crate::figures::plot::{Figure, Legend, Mark, Panel, Scale, Series, colour};

/// Residuals below this are rounding errors.
pub(crate) const FLOOR: f64 = 1e-7;

const COLOURS: [plotters::style::RGBColor; 4] =
    [colour::BLUE, colour::VERMILION, colour::GREEN, colour::PURPLE];

/// One panel per network and energy.
pub(crate) fn residuals(curves: &[Curve]) -> Figure {
    let mut networks: Vec<u8> = curves.iter().map(|c| c.layers).collect();
    networks.dedup();
    let panels = networks.into_iter().flat_map(|layers| {
        ["CHN", "HAM"].map(|form| {
            let rows = curves.iter().filter(|c| c.layers == layers && c.name.contains(form));
            Panel {
                title: format!("{layers} layers, {form}"),
                x: Scale::linear("iteration"),
                y: Scale::logarithmic("relative residual").limits(FLOOR, 2.0),
                series: rows.enumerate().map(|(i, curve)| series(i, curve)).collect(),
                level: Some(TOLERANCE),
                legend: Legend::At(UpperRight),
                ..Panel::default()
            }
        })
    });
    let panels: Vec<Panel> = panels.filter(|panel| !panel.series.is_empty()).collect();
    Figure {
        title: "Residual against iteration (geometric mean over test images)".to_owned(),
        columns: panels.len().clamp(1, 2),
        panels,
    }
}

/// The curve `index` of a panel.
fn series(index: usize, curve: &Curve) -> Series {
    let points = curve.residuals.iter().enumerate().map(|(i, r)| [i as f64, r.max(FLOOR)]);
    let mark = if index < COLOURS.len() { Mark::Line } else { Mark::Dashes };
    let name = curve.name.get(3..).unwrap_or(curve.name);
    Series::new(name, COLOURS[index % COLOURS.len()], mark, points)
}
