//! The results of a comparison as tables, as JSON and as a figure.

use std::path::PathBuf;

use plotters::chart::SeriesLabelPosition::LowerRight;
use serde::Serialize;

use crate::{
    commands::{compare::protocol, eval::RunScores},
    evaluation::scores::{Distances, Scores},
    figures::plot::{Figure, Legend, Mark, Panel, Point, Scale, Series, colour},
    run::{metrics::EpochMetrics, summary::Summary},
};

/// The metrics and scores of a run.
#[derive(Serialize)]
pub(super) struct Row {
    /// The kind of model, and the run's name if needed to tell it apart.
    pub(super) model: String,
    pub(super) run: PathBuf,
    pub(super) seed: u64,
    pub(super) parameters: Option<usize>,
    pub(super) epochs: usize,
    pub(super) seconds: f64,
    /// Per image, encoder and decoder together.
    pub(super) free_sweeps: Option<f64>,
    pub(super) nudged_sweeps: Option<f64>,
    pub(super) gradient_cosine: Option<f64>,
    pub(super) scores: Option<RunScores>,
    /// Why it has no scores.
    pub(super) failed: Option<String>,
}

impl Row {
    fn score(&self, of: impl Fn(&Scores) -> Option<f64>) -> Option<f64> {
        self.scores.as_ref().and_then(|found| of(&found.scores))
    }
}

pub(super) struct Column {
    pub(super) heading: &'static str,
    pub(super) number: fn(&Row) -> Option<f64>,
    /// Digits after the point in Markdown.
    pub(super) digits: usize,
}

const fn column(heading: &'static str, digits: usize, number: fn(&Row) -> Option<f64>) -> Column {
    Column { heading, number, digits }
}

pub(super) const COLUMNS: [Column; 12] = [
    column("parameters", 0, |row| Some(row.parameters? as f64)),
    column("epochs", 0, |row| Some(row.epochs as f64)),
    column("seconds", 0, |row| Some(row.seconds)),
    column("free sweeps", 1, |row| row.free_sweeps),
    column("nudged sweeps", 1, |row| row.nudged_sweeps),
    column("reconstruction", 2, |row| row.score(|s| Some(s.losses?.reconstruction_error))),
    column("KL", 1, |row| row.score(|s| Some(s.losses?.divergence))),
    column("ELBO", 1, |row| row.score(|s| Some(s.losses?.elbo))),
    column("NLL", 1, |row| row.score(|s| Some(s.likelihood?.nll.mean))),
    column("FID prior", 2, |row| row.score(|s| s.prior.fid)),
    column("FID mixture", 2, |row| row.score(|s| s.mixture.fid)),
    column("gradient cosine", 4, |row| row.gradient_cosine),
];

/// Digits after the point in CSV, except of whole numbers.
const CSV_DIGITS: usize = 6;

impl Column {
    /// The number of `row`; empty if there is none or it is not finite.
    fn cell(&self, row: &Row, digits: usize) -> String {
        let number = (self.number)(row).filter(|number| number.is_finite());
        number.map_or(String::new(), |number| format!("{number:.digits$}"))
    }
}

/// The table, with the protocols and `differences` of the runs.
pub(super) fn markdown(rows: &[Row], differences: &[String]) -> String {
    let headings = COLUMNS.map(|column| column.heading);
    let mut lines = vec![
        format!("| model | {} |", headings.join(" | ")),
        format!("|---|{}", "---|".repeat(COLUMNS.len())),
    ];
    lines.extend(rows.iter().map(|row| {
        let cell = |column: Column| match column.cell(row, column.digits) {
            empty if empty.is_empty() => "-".to_owned(),
            number => number,
        };
        format!("| {} | {} |", row.model, COLUMNS.map(cell).join(" | "))
    }));
    lines.push(String::new());
    let scored = rows.iter().filter_map(|row| Some((row, &row.scores.as_ref()?.scores)));
    let scored: Vec<(String, &Scores)> =
        scored.map(|(row, scores)| (row.run.display().to_string(), scores)).collect();
    let protocol = |what: &str, of: fn(&Scores) -> &String| {
        protocol::lines(what, scored.iter().map(|(run, scores)| (run.as_str(), of(scores).clone())))
    };
    let protocols = [
        protocol("Reconstruction, KL, ELBO", |scores| &scores.loss_protocol),
        protocol("NLL", |scores| &scores.likelihood_protocol),
        protocol("FID", |scores| &scores.distance_protocol),
    ];
    lines.extend(protocols.into_iter().flatten().map(|line| line + "\n"));
    for (run, scores) in &scored {
        lines.extend(scores.missing.lines().map(|line| format!("{run}: {line}\n")));
    }
    lines.extend(rows.iter().filter_map(|row| Some(row.failed.clone()? + "\n")));
    lines.extend(differences.iter().map(|difference| format!("Note: {difference}\n")));
    lines.join("\n")
}

pub(super) fn csv(rows: &[Row]) -> String {
    let headings = COLUMNS.map(|column| column.heading.replace(' ', "_"));
    let row = |row: &Row| {
        let digits = |column: &Column| if column.digits == 0 { 0 } else { CSV_DIGITS };
        let cells = COLUMNS.map(|column| column.cell(row, digits(&column)));
        format!("{},{}", row.model, cells.join(","))
    };
    crate::figures::csv(&format!("model,{}", headings.join(",")), rows.iter().map(row))
}

/// The ELBO over the epochs, and the final distances.
pub(super) fn figure(rows: &[Row], summaries: &[&Summary]) -> Figure {
    let panels = vec![
        elbo_curves(rows, summaries),
        distances(rows, "Samples of the prior", |scores| &scores.prior),
        distances(rows, "Samples of the Gaussian mixture", |scores| &scores.mixture),
    ];
    Figure { title: "Models compared".to_owned(), columns: 3, panels }
}

/// A series of the run with index `i`, in its colour.
fn series(rows: &[Row], i: usize, mark: Mark, points: impl IntoIterator<Item = Point>) -> Series {
    let colours = [colour::GREY, colour::BLUE, colour::GREEN, colour::VERMILION, colour::PURPLE];
    Series::new(&rows[i].model, colours[i % colours.len()], mark, points)
}

fn elbo_curves(rows: &[Row], summaries: &[&Summary]) -> Panel {
    let point = |epoch: &EpochMetrics| Some([epoch.epoch as f64, epoch.test?.elbo].into());
    let curves = summaries
        .iter()
        .enumerate()
        .map(|(i, summary)| series(rows, i, Mark::Line, summary.epochs.iter().filter_map(point)));
    Panel {
        title: "Evidence lower bound".to_owned(),
        x: Scale::linear("epoch").whole(),
        y: Scale::linear("ELBO after each epoch, nats"),
        series: curves.collect(),
        legend: Legend::At(LowerRight),
        ..Panel::default()
    }
}

fn distances(rows: &[Row], title: &str, of: fn(&Scores) -> &Distances) -> Panel {
    let heights = rows.iter().map(|row| row.score(|scores| of(scores).fid)).enumerate();
    let heights: Vec<_> = heights.filter_map(|(i, fid)| Some((i, fid?))).collect();
    let highest = heights.iter().map(|(_, fid)| *fid).fold(1e-6, f64::max);
    let bar = |(i, fid): (usize, f64)| {
        series(rows, i, Mark::Bars, [Point { x: i as f64 + 1.0, y: fid, size: 0.7 }])
    };
    let names = rows.iter().map(|row| row.model.clone()).collect();
    Panel {
        title: title.to_owned(),
        x: Scale { names, ..Scale::linear("").limits(0.5, rows.len() as f64 + 0.5) },
        y: Scale::linear("FID").limits(0.0, 1.1 * highest),
        series: heights.into_iter().map(bar).collect(),
        legend: Legend::None,
        ..Panel::default()
    }
}
