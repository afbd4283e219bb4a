//! Residuals against iterations.

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
                x: Scale { name: "iteration", ..Scale::default() },
                y: Scale {
                    name: "relative residual",
                    logarithmic: true,
                    limits: Some((FLOOR, 2.0)),
                    ..Scale::default()
                },
                series: rows.enumerate().map(|(i, curve)| series(i, curve)).collect(),
                level: Some(TOLERANCE),
                legend: Legend::UpperRight,
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
    let points = curve.residuals.iter().enumerate();
    Series {
        name: curve.name.get(3..).unwrap_or(curve.name).to_owned(),
        colour: COLOURS[index % COLOURS.len()],
        mark: if index < COLOURS.len() { Mark::Line } else { Mark::Dashes },
        points: points.map(|(i, r)| [i as f64, r.max(FLOOR)].into()).collect(),
    }
}
