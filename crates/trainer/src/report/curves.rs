//! The figures of the page: metrics against epochs, histograms of sweeps, latents.

use std::collections::BTreeSet;

use plotters::style::RGBColor;

use crate::figures::plot::colour::{
    BLUE, BROWN, GREEN, GREY, OLIVE, ORANGE, PINK, PURPLE, SKY, VERMILION,
};
use crate::figures::plot::{Figure, Legend, Mark, Panel, Point, Scale, Series};
use crate::run::metrics::{EpochMetrics, MeanLosses, PhaseMeans, PhaseStats};

/// A phase of a step, as it is drawn.
struct Phase {
    name: &'static str,
    colour: RGBColor,
    stats: fn(&PhaseMeans) -> Option<&PhaseStats>,
}

/// The phases, in the order in which they run.
const PHASES: [Phase; 4] = [
    Phase { name: "encoder, free", colour: BLUE, stats: |p| p.encoder_free.as_ref() },
    Phase { name: "decoder, free", colour: VERMILION, stats: |p| p.decoder_free.as_ref() },
    Phase { name: "decoder, nudged", colour: GREEN, stats: |p| p.decoder_nudged.as_ref() },
    Phase { name: "encoder, nudged", colour: PURPLE, stats: |p| p.encoder_nudged.as_ref() },
];

/// Colours of ten classes.
const CLASSES: [RGBColor; 10] =
    [BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BROWN, PINK, GREY, OLIVE];

/// Figures of all metrics that an epoch has, with their titles; `monitor` names the images of
/// [`EpochMetrics::test`].
pub(super) fn all(epochs: &[EpochMetrics], monitor: &str) -> Vec<(String, Figure)> {
    let curves = Curves { epochs };
    let figures = [
        ("Losses", 3, curves.losses(monitor)),
        ("Dynamics", 3, curves.dynamics()),
        ("Optimization", 3, curves.optimization()),
        ("EP gradient and unrolled gradient", 2, vec![curves.gradient_check()]),
        ("Sweeps of the last epoch", 2, PHASES.iter().map(|p| curves.histogram(p)).collect()),
    ];
    let figures = figures.into_iter().filter_map(|(title, columns, mut panels)| {
        panels.retain(|panel| !panel.series.is_empty());
        let columns = columns.min(panels.len());
        let figure = Figure { title: String::new(), columns, panels };
        (columns > 0).then(|| (title.to_owned(), figure))
    });
    figures.collect()
}

struct Curves<'a> {
    epochs: &'a [EpochMetrics],
}

impl Curves<'_> {
    /// A metric over the epochs that have it; `None` if none has.
    fn line(
        &self,
        name: &str,
        colour: RGBColor,
        metric: impl Fn(&EpochMetrics) -> Option<f64>,
    ) -> Option<Series> {
        let point = |e: &EpochMetrics| Some([e.epoch as f64, metric(e)?]);
        let points: Vec<_> = self.epochs.iter().filter_map(point).collect();
        let mark = if points.len() > 1 { Mark::Line } else { Mark::Discs(4) };
        (!points.is_empty()).then(|| Series::new(name, colour, mark, points))
    }

    fn losses(&self, monitor: &str) -> Vec<Panel> {
        let both = |loss: fn(&MeanLosses) -> f64| {
            let train = self.line("train", BLUE, |e| Some(loss(&e.train)));
            let test = self.line(monitor, VERMILION, |e| e.test.as_ref().map(loss));
            train.into_iter().chain(test)
        };
        let errors = both(|l| l.reconstruction_error);
        vec![
            panel("Reconstruction error", "squared error per image", errors),
            panel("KL divergence", "nats per image", both(|l| l.divergence)),
            panel("ELBO", "nats per image", both(|l| l.elbo)),
        ]
    }

    fn dynamics(&self) -> Vec<Panel> {
        let phases = |metric: fn(&PhaseStats) -> Option<f64>| {
            let line = move |p: &Phase| {
                self.line(p.name, p.colour, |e| (p.stats)(&e.phases).and_then(metric))
            };
            PHASES.iter().filter_map(line)
        };
        let gains = [
            self.line("encoder", BLUE, |e| Some(e.loop_gains?.encoder)),
            self.line("decoder", VERMILION, |e| Some(e.loop_gains?.decoder)),
        ];
        let gains = panel("Largest loop gain", "gain per sweep", gains.into_iter().flatten());
        vec![
            panel("Sweeps per sample", "sweeps", phases(|p| Some(p.sweeps))),
            logarithmic(panel("Final residual", "relative residual", phases(|p| p.residual))),
            Panel { level: Some(1.0), ..gains },
        ]
    }

    fn optimization(&self) -> Vec<Panel> {
        let one = |metric: fn(&EpochMetrics) -> f64| self.line("", BLUE, |e| Some(metric(e)));
        vec![
            logarithmic(panel("Gradient norm", "mean norm", one(|e| e.gradient_norm))),
            panel("Learning rate", "rate of the last step", one(|e| e.learning_rate)),
            panel("Speed", "training images per second", one(|e| e.images_per_second)),
        ]
    }

    fn gradient_check(&self) -> Panel {
        let cosines = [
            self.line("all parameters", BLUE, |e| Some(e.gradient_check?.cosine)),
            self.line("worst parameter", VERMILION, |e| Some(e.gradient_check?.worst_cosine)),
        ];
        panel("Cosine", "cosine", cosines.into_iter().flatten())
    }

    /// Number of samples by their number of sweeps, in the last epoch with this phase.
    fn histogram(&self, phase: &Phase) -> Panel {
        let last = self.epochs.iter().rev().find_map(|e| (phase.stats)(&e.phases));
        let counts = last.map(|stats| stats.by_sweeps.as_slice()).unwrap_or_default();
        let bar = |(sweeps, &count)| Point { x: sweeps as f64, y: count as f64, size: 0.8 };
        let points: Vec<Point> = counts.iter().enumerate().map(bar).collect();
        let highest = points.iter().map(|p| p.y).fold(1.0, f64::max);
        let x = Scale::linear("sweeps").whole().limits(-0.5, points.len() as f64 - 0.5);
        let y = Scale::linear("samples").limits(0.0, 1.05 * highest);
        let bars = Series::new("", phase.colour, Mark::Bars, points);
        let bars = (!bars.points.is_empty()).then_some(bars);
        Panel { x, y, ..panel(phase.name, "samples", bars) }
    }
}

fn panel(title: &str, y: &'static str, series: impl IntoIterator<Item = Series>) -> Panel {
    let series: Vec<Series> = series.into_iter().collect();
    Panel {
        title: title.to_owned(),
        x: Scale::linear("epoch").whole(),
        y: Scale::linear(y),
        legend: if series.len() > 1 { Legend::Free } else { Legend::None },
        series,
        ..Panel::default()
    }
}

fn logarithmic(mut panel: Panel) -> Panel {
    panel.y.logarithmic = true;
    panel
}

/// Points of a plane, coloured by class.
pub(crate) fn scatter(
    points: &[([f64; 2], u8)],
    names: &[String],
    axes: [&'static str; 2],
) -> Figure {
    let classes: BTreeSet<u8> = points.iter().map(|(_, label)| *label).collect();
    let series = classes.into_iter().map(|class| {
        let points = points.iter().filter(|(_, label)| *label == class);
        let colour = CLASSES[usize::from(class) % CLASSES.len()];
        let name = names.get(usize::from(class)).cloned().unwrap_or(class.to_string());
        Series::new(name, colour, Mark::Discs(3), points.map(|(at, _)| *at))
    });
    let panel = Panel {
        x: Scale::linear(axes[0]),
        y: Scale::linear(axes[1]),
        series: series.collect(),
        legend: Legend::Free,
        ..Panel::default()
    };
    Figure { title: String::new(), columns: 1, panels: vec![panel] }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::figures::plot;

    fn epoch(number: usize) -> EpochMetrics {
        let sweeps = json!({"sweeps": 3.5, "converged": 1.0, "not_finite": 0, "residual": null,
            "by_sweeps": [0, 0, 4, 6]});
        let metrics = json!({"epoch": number, "step": 10 * number, "dropped": 0,
            "train": {"reconstruction_error": 9.0, "kl": 2.0, "elbo": -3.0}, "test": null,
            "phases": {"encoder_free": null, "decoder_free": sweeps, "decoder_nudged": null,
                "encoder_nudged": null},
            "gradient_check": {"cosine": 0.99, "norm_ratio": 1.0, "worst_cosine": 0.9},
            "gradient_norm": 2.0 / number as f64, "learning_rate": 1e-3,
            "images_per_second": 100.0, "seconds": 1.0});
        serde_json::from_value(metrics).unwrap()
    }

    #[test]
    fn every_metric_has_a_curve() {
        let figures = all(&[epoch(1), epoch(2)], "validation");
        assert_eq!(figures.len(), 5);
        let losses = &figures[0].1.panels;
        assert!(losses.len() == 3 && losses.iter().all(|p| p.series.len() == 1), "{losses:?}");
        assert_eq!(figures[1].1.panels.len(), 1, "only the sweeps");
        let cosines = &figures[3].1.panels[0].series;
        assert_eq!(cosines.len(), 2);
        assert_eq!(cosines[0].points, [[1.0, 0.99].into(), [2.0, 0.99].into()]);
        let bars = &figures[4].1.panels[0].series[0];
        assert_eq!((bars.mark, bars.points.len()), (Mark::Bars, 4));
        assert!((bars.points[3].y - 6.0).abs() < 1e-12);
        assert!(all(&[], "test").is_empty());
        for (_, figure) in &figures {
            assert!(plot::svg(figure).unwrap().contains("<svg"));
        }
    }
}
