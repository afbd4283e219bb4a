//! Residuals against iterations.

use crate::converge::output::Curve;
use crate::converge::paper::TOLERANCE;
use crate::figures::plot::{Figure, Legend, Mark, Panel, Scale, Series, colour};

/// One panel for each network.
pub fn residuals(curves: &[Curve]) -> Figure {
    let colours = [colour::BLUE, colour::VERMILION, colour::GREEN, colour::PURPLE];
    let mut networks: Vec<u8> = curves.iter().map(|c| c.layers).collect();
    networks.dedup();
    let panels: Vec<Panel> = networks
        .into_iter()
        .flat_map(|layers| {
            ["CHN", "HAM"].map(|form| {
                let rows = curves.iter().filter(|c| c.layers == layers && c.name.contains(form));
                let series: Vec<Series> = rows
                    .enumerate()
                    .map(|(i, curve)| Series {
                        name: curve.name.get(3..).unwrap_or(curve.name).to_owned(),
                        colour: colours[i % colours.len()],
                        mark: if i < colours.len() { Mark::Line } else { Mark::Dashes },
                        points: curve
                            .residuals
                            .iter()
                            .enumerate()
                            .map(|(i, r)| [i as f64, r.max(FLOOR), 1.0])
                            .collect(),
                    })
                    .collect();
                Panel {
                    title: format!("{layers} layers, {form}"),
                    x: Scale { name: "iteration", ..Scale::default() },
                    y: Scale {
                        name: "relative residual",
                        logarithmic: true,
                        limits: Some((FLOOR, 2.0)),
                        ..Scale::default()
                    },
                    series,
                    level: Some(TOLERANCE),
                    legend: Legend::UpperRight,
                    ..Panel::default()
                }
            })
        })
        .filter(|panel| !panel.series.is_empty())
        .collect();
    Figure {
        title: "Residual against iteration (geometric mean over test images)".to_owned(),
        columns: panels.len().clamp(1, 2),
        panels,
    }
}

/// Below this residuals are rounding.
pub const FLOOR: f64 = 1e-7;
