//! The figures of a page: numbers over epochs, sweeps as histograms, latents as points.

use plotters::style::RGBColor;
use serde_json::Value;

use crate::figures::plot::colour::{BLUE, GREEN, GREY, PURPLE, VERMILION};
use crate::figures::plot::{Figure, Legend, Mark, Panel, Scale, Series};

/// The phases of a step, in the order in which they run.
const PHASES: [(&str, &str, RGBColor); 4] = [
    ("encoder_free", "encoder, free", BLUE),
    ("decoder_free", "decoder, free", VERMILION),
    ("decoder_nudged", "decoder, nudged", GREEN),
    ("encoder_nudged", "encoder, nudged", PURPLE),
];

/// Colours of ten classes.
const CLASSES: [RGBColor; 10] = [
    BLUE,
    VERMILION,
    GREEN,
    PURPLE,
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(120, 94, 60),
    RGBColor(220, 60, 120),
    GREY,
    RGBColor(150, 180, 30),
];

/// Figures of everything that the epochs tell; none of what no epoch has. `watched` says what the part
/// `test` of an epoch was measured on.
pub(super) fn all(epochs: &[Value], watched: &str) -> Vec<(String, Figure)> {
    let mut figures = Vec::new();
    let mut add = |title: &str, columns: usize, panels: Vec<Panel>| {
        let panels: Vec<Panel> = panels.into_iter().filter(|p| !p.series.is_empty()).collect();
        if !panels.is_empty() {
            let columns = columns.min(panels.len());
            figures.push((title.to_owned(), Figure { title: String::new(), columns, panels }));
        }
    };
    let both = |name: &str| {
        let lines = [("train", "train", BLUE), ("test", watched, VERMILION)];
        let lines = lines
            .map(|(part, label, colour)| line(epochs, label, &format!("/{part}/{name}"), colour));
        lines.into_iter().flatten().collect::<Vec<_>>()
    };
    add(
        "Losses",
        3,
        vec![
            panel("Reconstruction error", "squared error per image", both("reconstruction_error")),
            panel("KL divergence", "nats per image", both("kl")),
            panel("ELBO", "nats per image", both("elbo")),
        ],
    );
    let phases = |name: &str| {
        let lines = PHASES.map(|(key, label, colour)| {
            line(epochs, label, &format!("/phases/{key}/{name}"), colour)
        });
        lines.into_iter().flatten().collect::<Vec<_>>()
    };
    let logarithmic = |mut panel: Panel| {
        panel.y.logarithmic = true;
        panel
    };
    let gains = [("encoder", BLUE), ("decoder", VERMILION)]
        .map(|(part, colour)| line(epochs, part, &format!("/loop_gains/{part}"), colour));
    add(
        "Dynamics",
        3,
        vec![
            panel("Sweeps per sample", "sweeps", phases("sweeps")),
            logarithmic(panel("Residual at the end", "relative residual", phases("residual"))),
            Panel {
                level: Some(1.0),
                ..panel(
                    "Largest loop gain",
                    "gain per sweep",
                    gains.into_iter().flatten().collect(),
                )
            },
        ],
    );
    let one = |pointer: &str| line(epochs, "", pointer, BLUE).into_iter().collect();
    add(
        "Optimisation",
        3,
        vec![
            logarithmic(panel("Gradient norm", "mean norm", one("/gradient_norm"))),
            panel("Learning rate", "rate of the last step", one("/learning_rate")),
            panel("Speed", "training images per second", one("/images_per_second")),
        ],
    );
    add(
        "Gradients beside those through the relaxation",
        2,
        vec![panel("Cosines", "cosine", nested(epochs, "cosine"))],
    );
    add("Sweeps of the last epoch", 2, PHASES.iter().map(|p| histogram(epochs, p)).collect());
    figures
}

fn panel(title: &str, y: &'static str, series: Vec<Series>) -> Panel {
    let legend = if series.len() > 1 { Legend::Free } else { Legend::None };
    Panel {
        title: title.to_owned(),
        x: Scale { name: "epoch", whole: true, ..Scale::default() },
        y: Scale { name: y, ..Scale::default() },
        series,
        legend,
        ..Panel::default()
    }
}

/// The numbers at `pointer` over the epochs; none if there is none.
fn line(epochs: &[Value], name: &str, pointer: &str, colour: RGBColor) -> Option<Series> {
    let points: Vec<[f64; 3]> = epochs
        .iter()
        .filter_map(|epoch| {
            Some([epoch.get("epoch")?.as_f64()?, epoch.pointer(pointer)?.as_f64()?, 1.0])
        })
        .collect();
    let mark = if points.len() > 1 { Mark::Line } else { Mark::Discs(4) };
    (!points.is_empty()).then(|| Series { name: name.to_owned(), colour, mark, points })
}

/// All numbers of the epochs whose path names `what`, each over the epochs.
fn nested(epochs: &[Value], what: &str) -> Vec<Series> {
    let mut names: Vec<String> = epochs
        .iter()
        .flat_map(crate::run::metrics::flat)
        .map(|(name, _)| name)
        .filter(|name| name.contains(what))
        .collect();
    names.sort();
    names.dedup();
    let lines = names.iter().zip(CLASSES.iter().cycle()).map(|(name, colour)| {
        let label = name.rsplit('.').next().unwrap_or(name);
        let label = label.replace('_', " ");
        line(epochs, &label, &format!("/{}", name.replace('.', "/")), *colour)
    });
    lines.flatten().collect()
}

/// How many samples took how many sweeps in the last epoch that says so.
fn histogram(epochs: &[Value], (key, label, colour): &(&str, &str, RGBColor)) -> Panel {
    let pointer = format!("/phases/{key}/by_sweeps");
    let counts = epochs.iter().rev().find_map(|epoch| epoch.pointer(&pointer)?.as_array());
    let points: Vec<[f64; 3]> = counts
        .into_iter()
        .flatten()
        .enumerate()
        .filter_map(|(sweeps, count)| Some([sweeps as f64, count.as_f64()?, 0.8]))
        .collect();
    let highest = points.iter().map(|p| p[1]).fold(1.0, f64::max);
    let last = points.len() as f64;
    let bars = Series { name: String::new(), colour: *colour, mark: Mark::Bars, points };
    let series = if bars.points.is_empty() { Vec::new() } else { vec![bars] };
    Panel {
        x: Scale {
            name: "sweeps",
            limits: Some((-0.5, last - 0.5)),
            whole: true,
            ..Scale::default()
        },
        y: Scale { name: "samples", limits: Some((0.0, 1.05 * highest)), ..Scale::default() },
        ..panel(label, "samples", series)
    }
}

/// Points of the plane by their class.
pub fn scatter(points: &[([f64; 2], u8)], axes: [&'static str; 2]) -> Figure {
    let series = CLASSES.iter().enumerate().filter_map(|(class, colour)| {
        let points: Vec<[f64; 3]> = points
            .iter()
            .filter(|(_, label)| usize::from(*label) == class)
            .map(|([x, y], _)| [*x, *y, 1.0])
            .collect();
        let name = class.to_string();
        let mark = Mark::Discs(3);
        (!points.is_empty()).then_some(Series { name, colour: *colour, mark, points })
    });
    let scale = |name| Scale { name, ..Scale::default() };
    let panel = Panel {
        x: scale(axes[0]),
        y: scale(axes[1]),
        series: series.collect(),
        legend: Legend::Free,
        ..Panel::default()
    };
    Figure { title: String::new(), columns: 1, panels: vec![panel] }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_the_epochs_has_its_curve() {
        let epoch = |n: u64| {
            serde_json::json!({
                "epoch": n, "step": 10 * n, "gradient_norm": 2.0 / n as f64,
                "train": {"elbo": -3.0 + n as f64},
                "phases": {"decoder_free": {"sweeps": 3.5, "by_sweeps": [0, 0, 4, 6]}},
                "gradient_cosines": {"decoder": 0.99, "encoder": 1.0},
            })
        };
        let figures = all(&[epoch(1), epoch(2)], "test");
        let titles: Vec<&str> = figures.iter().map(|(title, _)| title.as_str()).collect();
        assert_eq!(titles.len(), 5, "{titles:?}");
        let cosines = &figures[3].1.panels[0].series;
        assert_eq!(cosines.len(), 2);
        assert_eq!(cosines[0].points, [[1.0, 0.99, 1.0], [2.0, 0.99, 1.0]]);
        let bars = &figures[4].1.panels[0].series[0];
        assert_eq!((bars.mark, bars.points.len(), bars.points[3][1]), (Mark::Bars, 4, 6.0));
        assert!(all(&[], "test").is_empty());
        for (_, figure) in &figures {
            assert!(crate::figures::plot::svg(figure).unwrap().contains("<svg"));
        }
    }
}
