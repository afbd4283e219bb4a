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
    pub(super) parameters: usize,
    pub(super) epochs: usize,
    pub(super) seconds: f64,
    /// Per image, encoder and decoder together.
    pub(super) free_sweeps: Option<f64>,
    pub(super) nudged_sweeps: Option<f64>,
    pub(super) gradient_cosine: Option<f64>,
    pub(super) scores: RunScores,
}

struct Column {
    heading: &'static str,
    number: fn(&Row) -> Option<f64>,
    /// Digits after the point in Markdown.
    digits: usize,
}

const fn column(heading: &'static str, digits: usize, number: fn(&Row) -> Option<f64>) -> Column {
    Column { heading, number, digits }
}

const COLUMNS: [Column; 12] = [
    column("parameters", 0, |row| Some(row.parameters as f64)),
    column("epochs", 0, |row| Some(row.epochs as f64)),
    column("seconds", 0, |row| Some(row.seconds)),
    column("free sweeps", 1, |row| row.free_sweeps),
    column("nudged sweeps", 1, |row| row.nudged_sweeps),
    column("reconstruction", 2, |row| Some(row.scores.scores.losses.reconstruction_error)),
    column("KL", 1, |row| Some(row.scores.scores.losses.divergence)),
    column("ELBO", 1, |row| Some(row.scores.scores.losses.elbo)),
    column("NLL", 1, |row| Some(row.scores.scores.likelihood.nll.mean)),
    column("FID prior", 2, |row| Some(row.scores.scores.prior.fid)),
    column("FID mixture", 2, |row| Some(row.scores.scores.mixture.fid)),
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
        let cells = COLUMNS.map(|column| column.cell(row, column.digits));
        format!("| {} | {} |", row.model, cells.join(" | "))
    }));
    lines.push(String::new());
    let runs: Vec<String> = rows.iter().map(|row| row.run.display().to_string()).collect();
    let protocol = |what: &str, of: fn(&Scores) -> &String| {
        let texts = rows.iter().map(|row| of(&row.scores.scores).clone());
        protocol::lines(what, runs.iter().map(String::as_str).zip(texts))
    };
    let protocols = [
        protocol("Reconstruction, KL, ELBO", |scores| &scores.loss_protocol),
        protocol("NLL", |scores| &scores.likelihood_protocol),
        protocol("FID", |scores| &scores.distance_protocol),
    ];
    lines.extend(protocols.into_iter().flatten().map(|line| line + "\n"));
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
    let heights = rows.iter().map(|row| of(&row.scores.scores).fid).enumerate();
    let heights: Vec<_> = heights.filter(|(_, fid)| fid.is_finite()).collect();
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
