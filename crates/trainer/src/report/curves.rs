//! The charts of the page, each with a sentence on what good looks like.

use std::collections::BTreeSet;

use plotters::style::RGBColor;
use serde::Serialize;

use crate::figures::plot::colour::{ALL, BLUE, GREEN, PURPLE, VERMILION};
use crate::figures::plot::{Mark, Panel, Point, Scale, Series};
use crate::report::chart::Chart;
use crate::run::PriorUse;
use crate::run::metrics::{EpochMetrics, MeanLosses, PhaseMeans, PhaseStats};
use crate::run::summary::Summary;

/// Charts under one heading.
#[derive(Debug, Serialize)]
pub(super) struct Section {
    pub(super) title: &'static str,
    charts: Vec<Chart>,
}

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

/// Panels with their hints.
type Panels = Vec<(Panel, String)>;

/// All metrics that an epoch of the run has.
pub(super) fn all(summary: &Summary) -> Vec<Section> {
    let curves = Curves { summary, epochs: &summary.epochs };
    let sections = [
        ("Losses", curves.losses()),
        ("Latents", curves.latents()),
        ("Learned prior", curves.prior()),
        ("Equilibria", curves.equilibria()),
        ("Sweeps of the last epoch", curves.histograms()),
        ("Gradients and speed", curves.optimization()),
    ];
    let sections = sections.into_iter().map(|(title, mut panels)| {
        panels.retain(|(panel, _)| !panel.series.is_empty());
        let charts = panels.into_iter().map(|(panel, hint)| Chart::new(&panel, hint)).collect();
        Section { title, charts }
    });
    sections.filter(|section| !section.charts.is_empty()).collect()
}

struct Curves<'a> {
    summary: &'a Summary,
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
        (!points.is_empty()).then(|| Series::new(name, colour, Mark::Line, points))
    }

    fn losses(&self) -> Panels {
        let monitor = self.summary.config.data.monitor();
        let both = |loss: fn(&MeanLosses) -> f64| {
            let train = self.line("training", BLUE, |e| Some(loss(&e.train)));
            let test = self.line(monitor, VERMILION, |e| e.test.as_ref().map(loss));
            train.into_iter().chain(test)
        };
        let overfit = format!(
            "Lower is better. It should fall and level off; a {monitor} curve that rises while the \
             training curve falls is overfitting."
        );
        let errors = both(|l| l.reconstruction_error);
        vec![
            hinted(panel("Reconstruction error", "squared error per image", errors), &overfit),
            hinted(
                panel("KL divergence", "nats per image", both(|l| l.divergence)),
                "What the latents say about an image. A few nats or more is good; near 0 the \
                 posterior has collapsed to the prior.",
            ),
            hinted(
                panel("ELBO", "nats per image", both(|l| l.elbo)),
                "Higher is better: the lower bound on ln p(x). It decides which checkpoint is the \
                 best.",
            ),
        ]
    }

    fn latents(&self) -> Panels {
        let active = self.line("", BLUE, |e| Some(e.latents.as_ref()?.active_units as f64));
        let Some(used) = self.summary.last(|e| e.latents.clone()) else { return Vec::new() };
        let mut sorted = used.kl.clone();
        sorted.sort_by(|a, b| b.total_cmp(a));
        let points = sorted.iter().zip(1..).map(|(&kl, rank)| (f64::from(rank), kl));
        let bars = bars("KL divergence of each latent", ["rank", "nats"], BLUE, points);
        let all = used.kl.len() as f64;
        let active = Panel {
            y: Scale::linear("latents").limits(0.0, 1.05 * all),
            level: Some(all),
            ..panel("Active units", "", active)
        };
        vec![
            hinted(
                bars,
                "After the last evaluation, largest first. Latents near 0 are unused: few of them \
                 are normal, most of them are posterior collapse.",
            ),
            hinted(
                active,
                &format!(
                    "Latents whose posterior mean varies from image to image (variance above \
                     0.01), of {all} (dashed). Below a quarter, lower training.kl_weight."
                ),
            ),
        ]
    }

    /// Of a prior that is a Hopfield network.
    fn prior(&self) -> Panels {
        let Some(last) = self.summary.last(|e| e.prior) else { return Vec::new() };
        let line = |name, colour, value: fn(&PriorUse) -> f64| {
            self.line(name, colour, move |e| e.prior.as_ref().map(value))
        };
        let used = line("", BLUE, |p| p.in_use);
        let thresholds = [
            line("beta_eff", BLUE, |p| p.beta_eff),
            line("b1", GREEN, |p| p.b1),
            line("b2", PURPLE, |p| p.b2),
            line("b3", VERMILION, |p| p.b3),
        ];
        let all = last.patterns as f64;
        let used = Panel {
            y: Scale::linear("patterns").limits(0.0, 1.05 * all),
            level: Some(all),
            ..panel("Patterns in use", "", used)
        };
        let thresholds = panel("Inverse temperature", "beta_eff", thresholds.into_iter().flatten());
        vec![
            hinted(
                used,
                "The exponential of the entropy of their weights. Below a third of all (dashed) many \
                 are dead: raise prior.start.",
            ),
            hinted(
                logarithmic(thresholds),
                "beta_eff = b D²/2 beside the thresholds of as many equidistant patterns as are in \
                 use: minima at patterns appear at b1, they are the lowest above b2, and the mean is \
                 none above b3.",
            ),
        ]
    }

    fn equilibria(&self) -> Panels {
        let ep = &self.summary.config.ep;
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
        let gains = panel("Largest loop gain", "factor per sweep", gains.into_iter().flatten());
        let sweeps = format!(
            "Fewer are faster. A curve near its limit ({} free, {} nudged) means that samples end \
             before equilibrium: raise the limits or the gains.",
            ep.free_sweeps, ep.nudged_sweeps
        );
        let residual = format!(
            "Should end below the tolerances: {:e} free, {:e} nudged. Above them gradients are \
             inexact.",
            ep.tolerance, ep.nudged_tolerance
        );
        vec![
            hinted(panel("Sweeps per sample", "sweeps", phases(|p| Some(p.sweeps))), &sweeps),
            hinted(
                logarithmic(panel("Final residual", "relative", phases(|p| p.residual))),
                &residual,
            ),
            hinted(
                Panel { level: Some(1.0), ..gains },
                "Must stay below 1 (dashed): then every sweep brings a state closer to its \
                 equilibrium. Above 1, raise the gains (model.*_gain).",
            ),
        ]
    }

    fn histograms(&self) -> Panels {
        let ep = &self.summary.config.ep;
        let histogram = |phase: &Phase| {
            let nudged = phase.name.ends_with("nudged");
            let limit = if nudged { ep.nudged_sweeps } else { ep.free_sweeps };
            let hint =
                format!("Samples by sweeps. Good: one hump, well below the limit of {limit}.");
            (self.histogram(phase), hint)
        };
        PHASES.iter().map(histogram).collect()
    }

    /// Number of samples by their number of sweeps, in the last epoch with this phase.
    fn histogram(&self, phase: &Phase) -> Panel {
        let last = self.epochs.iter().rev().find_map(|e| (phase.stats)(&e.phases));
        let counts = last.map(|stats| stats.by_sweeps.as_slice()).unwrap_or_default();
        let first = counts.iter().position(|count| *count > 0).unwrap_or(0);
        let points = counts.iter().enumerate().skip(first);
        let points = points.map(|(sweeps, &count)| (sweeps as f64, count as f64));
        bars(phase.name, ["sweeps", "samples"], phase.colour, points)
    }

    fn optimization(&self) -> Panels {
        let one = |metric: fn(&EpochMetrics) -> f64| self.line("", BLUE, |e| Some(metric(e)));
        let cosines = [
            self.line("all parameters", BLUE, |e| Some(e.gradient_check?.cosine)),
            self.line("worst parameter", VERMILION, |e| Some(e.gradient_check?.worst_cosine)),
        ];
        let cosines = panel("EP and unrolled gradient", "cosine", cosines.into_iter().flatten());
        vec![
            hinted(
                cosines,
                "1 is the exact gradient. Above 0.99 is good; below 0.9 lower ep.nudge or the \
                 tolerances.",
            ),
            hinted(
                logarithmic(panel("Gradient norm", "mean norm", one(|e| e.gradient_norm))),
                "Smooth: level or falling. Jumps upwards mean that the learning rate is too high.",
            ),
            hinted(
                panel("Learning rate", "at the last step", one(|e| e.learning_rate)),
                "The schedule: a warm-up, then the decay that training.schedule names.",
            ),
            hinted(
                panel("Speed", "training images per second", one(|e| e.images_per_second)),
                "Level. It falls when sweeps become more, or when the machine has other work.",
            ),
        ]
    }
}

fn hinted(panel: Panel, hint: &str) -> (Panel, String) {
    (panel, hint.to_owned())
}

fn panel(title: &str, y: &'static str, series: impl IntoIterator<Item = Series>) -> Panel {
    Panel {
        title: title.to_owned(),
        x: Scale::linear("epoch").whole(),
        y: Scale::linear(y),
        series: series.into_iter().collect(),
        ..Panel::default()
    }
}

fn logarithmic(mut panel: Panel) -> Panel {
    panel.y.logarithmic = true;
    panel
}

/// Bars from 0 to each point.
pub(crate) fn bars(
    title: &str,
    axes: [&'static str; 2],
    colour: RGBColor,
    points: impl Iterator<Item = (f64, f64)>,
) -> Panel {
    let points: Vec<Point> = points.map(|(x, y)| Point { x, y, size: 0.8 }).collect();
    let highest = points.iter().map(|p| p.y).fold(1e-9, f64::max);
    let ends = points.first().zip(points.last()).map(|(first, last)| (first.x, last.x));
    let (first, last) = ends.unwrap_or_default();
    let series = (!points.is_empty()).then(|| Series::new("", colour, Mark::Bars, points));
    Panel {
        title: title.to_owned(),
        // A single bar is not as wide as the plot.
        x: Scale::linear(axes[0]).whole().limits(first - 0.6, last.max(first + 5.0) + 0.6),
        y: Scale::linear(axes[1]).limits(0.0, 1.05 * highest),
        series: series.into_iter().collect(),
        ..Panel::default()
    }
}

/// Points of a plane, coloured by class.
pub(crate) fn scatter(
    title: String,
    points: &[([f64; 2], u8)],
    names: &[String],
    axes: [&'static str; 2],
) -> Chart {
    let classes: BTreeSet<u8> = points.iter().map(|(_, label)| *label).collect();
    let series = classes.into_iter().map(|class| {
        let points = points.iter().filter(|(_, label)| *label == class);
        let colour = ALL[usize::from(class) % ALL.len()];
        let name = names.get(usize::from(class)).cloned().unwrap_or(class.to_string());
        Series::new(name, colour, Mark::Discs(3), points.map(|(at, _)| *at))
    });
    let panel = Panel {
        title,
        x: Scale::linear(axes[0]),
        y: Scale::linear(axes[1]),
        series: series.collect(),
        ..Panel::default()
    };
    let hint = "One cloud around 0 without holes, as wide as the prior (about -2 to 2), decodes to \
                good samples; classes in regions of their own mean that latents are informative.";
    Chart::new(&panel, hint)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::RunConfig;
    use crate::run::RunDir;

    fn epoch(number: usize) -> EpochMetrics {
        let sweeps = json!({"sweeps": 3.5, "converged": 1.0, "not_finite": 0, "residual": null,
            "by_sweeps": [0, 0, 4, 6]});
        let metrics = json!({"epoch": number, "step": 10 * number, "dropped": 0,
            "train": {"reconstruction_error": 9.0, "kl": 2.0, "elbo": -3.0}, "test": null,
            "latents": {"active_units": 2, "kl": [0.5, 1.5, 0.0]},
            "phases": {"encoder_free": null, "decoder_free": sweeps, "decoder_nudged": null,
                "encoder_nudged": null},
            "gradient_check": {"cosine": 0.99, "norm_ratio": 1.0, "worst_cosine": 0.9},
            "gradient_norm": 2.0 / number as f64, "learning_rate": 1e-3,
            "images_per_second": 100.0, "seconds": 1.0});
        serde_json::from_value(metrics).unwrap()
    }

    fn charts(epochs: Vec<EpochMetrics>) -> Vec<Value> {
        let root = tempfile::tempdir().unwrap();
        let run = RunDir::create(&root.path().join("run"), &RunConfig::default(), None).unwrap();
        let summary = Summary { epochs, ..Summary::of(&run).unwrap() };
        let charts = all(&summary).into_iter().flat_map(|section| section.charts);
        charts.map(|chart| serde_json::to_value(chart).unwrap()).collect()
    }

    fn find<'a>(charts: &'a [Value], title: &str) -> &'a Value {
        charts.iter().find(|c| c["title"] == title).unwrap()
    }

    #[test]
    fn every_metric_has_a_chart_with_a_hint() {
        let found = charts(vec![epoch(1), epoch(2)]);
        assert!(found.iter().all(|c| c["hint"].as_str().unwrap().ends_with('.')), "{found:?}");
        assert_eq!(found.len(), 3 + 2 + 2 + 4, "no residuals, no loop gains");
        let cosine = find(&found, "EP and unrolled gradient");
        assert_eq!(cosine["lines"][0]["told"][1][2], "epoch 2: 0.9900");
        assert_eq!(cosine["lines"][1]["last"], "0.9000");
        let bars = find(&found, "decoder, free")["lines"][0]["bars"].as_array().unwrap();
        let heights: Vec<f64> = bars.iter().map(|bar| bar[3].as_f64().unwrap()).collect();
        assert!(bars.len() == 2 && (heights[1] / heights[0] - 1.5).abs() < 1e-9, "{heights:?}");
        let latents = find(&found, "KL divergence of each latent")["lines"][0]["told"].to_string();
        assert!(latents.contains("rank 1: 1.500") && latents.contains("rank 3: 0"), "{latents}");
        assert!(charts(Vec::new()).is_empty());
    }

    #[test]
    fn one_epoch_is_numbers_and_two_are_lines() {
        let single = |epochs| find(&charts(epochs), "Gradient norm")["single"].clone();
        assert_eq!(single(vec![epoch(1)]), true);
        assert_eq!(single(vec![epoch(1), epoch(2)]), false);
    }
}
