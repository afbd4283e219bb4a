//! Paper and measurement side by side: a table for people, CSV and JSON.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use crate::converge::paper::Row;
use crate::converge::weights::Training;
use hvae_runtime::files;

/// One row of the table on one training.
#[derive(Debug, Clone, Serialize)]
pub struct Sample {
    /// Seed of the training.
    pub seed: u64,
    /// Mean over the test images of the iterations, counted as the paper counts them.
    pub iterations: f64,
    /// The same with Anderson acceleration as the solver has it by default; rows with Anderson only.
    pub own: Option<f64>,
    /// Largest number of iterations of a test image.
    pub most: usize,
    /// Percent of the test images that converged within the limit.
    pub converged: f64,
    /// Percent of the test images that are classified right.
    pub accuracy: f64,
    /// Seconds of the count.
    pub seconds: f64,
}

/// A row of the table, published and measured.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    /// What was published.
    pub paper: Row,
    /// Epochs after which the weights were taken.
    pub epochs: u16,
    /// Whether network and images are the published ones.
    pub comparable: bool,
    /// What was measured, for each seed.
    pub samples: Vec<Sample>,
}

/// Mean and standard deviation (of the sample; 0 of one value).
pub fn moments(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let square = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>();
    (mean, if values.len() > 1 { (square / (count - 1.0)).sqrt() } else { 0.0 })
}

impl Measured {
    /// Mean and deviation over the seeds.
    pub fn over_seeds(&self, pick: impl Fn(&Sample) -> f64) -> (f64, f64) {
        moments(&self.samples.iter().map(pick).collect::<Vec<_>>())
    }

    /// The published name, with the epochs where they differ from the published ones.
    pub fn name(&self) -> String {
        if self.epochs == self.paper.epochs {
            return self.paper.name.to_owned();
        }
        let name = self.paper.name.split(',').next().unwrap_or(self.paper.name);
        let unit = if self.epochs == 1 { "epoch" } else { "epochs" };
        format!("{name}, {} {unit}", self.epochs)
    }

    /// How far the mean may be from the published one: for a HAM the larger of 15 % and two
    /// published deviations, for a CHN 25 %.
    pub fn tolerance(&self) -> f64 {
        match self.paper.form {
            hvae_model::chn_ham::Form::Ham => {
                (0.15 * self.paper.iterations).max(2.0 * self.paper.deviation)
            }
            hvae_model::chn_ham::Form::Chn => 0.25 * self.paper.iterations,
        }
    }

    /// In words.
    pub fn verdict(&self) -> &'static str {
        if !self.comparable {
            return "not comparable";
        }
        let (mean, _) = self.over_seeds(|s| s.iterations);
        let (accuracy, _) = self.over_seeds(|s| s.accuracy);
        let within = (mean - self.paper.iterations).abs() <= self.tolerance();
        let as_accurate = accuracy >= self.paper.accuracy - 0.5;
        match (within, as_accurate) {
            (true, true) => "agrees",
            (true, false) => "agrees, less accurate",
            (false, true) => "differs",
            (false, false) => "differs, less accurate",
        }
    }
}

/// Mean residuals over the iterations, of one row.
#[derive(Debug, Clone, Serialize)]
pub struct Curve {
    /// Layers of the network.
    pub layers: u8,
    /// Name of the row.
    pub name: &'static str,
    /// Geometric mean over test images of residual 0, 1, ...
    pub residuals: Vec<f64>,
}

/// All numbers of a run, as `report.json` holds them.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Version of this format.
    pub format: u32,
    /// The commit of the program.
    pub commit: &'static str,
    /// The options.
    pub command: String,
    /// What falls short of the paper's protocol.
    pub shortfall: Option<String>,
    /// Test images that were counted on.
    pub test_images: usize,
    /// The table.
    pub rows: Vec<Measured>,
    /// The trainings.
    pub trainings: Vec<Training>,
    /// Residuals over iterations, on the first seed.
    pub curves: Vec<Curve>,
    /// Seconds in all.
    pub seconds: f64,
}

/// Writes the report and the tables into `folder`.
///
/// # Errors
///
/// When a file cannot be written.
pub fn write(report: &Report, folder: &Path) -> Result<()> {
    let json = serde_json::to_string_pretty(report)? + "\n";
    let tables = [
        ("report.json", json),
        ("table.csv", csv_table(&report.rows)),
        ("samples.csv", csv_samples(&report.rows)),
        ("curves.csv", csv_curves(&report.curves)),
    ];
    for (name, text) in tables {
        files::write(&folder.join(name), &text)?;
    }
    Ok(())
}

fn csv_table(rows: &[Measured]) -> String {
    let mut text = "row,epochs,paper_iterations,paper_sd,iterations,sd,own_anderson,\
        paper_accuracy,accuracy,accuracy_sd,converged,seeds,verdict\n"
        .to_owned();
    for row in rows {
        let (mean, deviation) = row.over_seeds(|s| s.iterations);
        let (accuracy, spread) = row.over_seeds(|s| s.accuracy);
        let (converged, _) = row.over_seeds(|s| s.converged);
        let _ = writeln!(
            text,
            "\"{}\",{},{},{},{mean},{deviation},{},{},{accuracy},{spread},{converged},{},\"{}\"",
            row.paper.name,
            row.epochs,
            row.paper.iterations,
            row.paper.deviation,
            own(row).map_or(String::new(), |o| o.to_string()),
            row.paper.accuracy,
            row.samples.len(),
            row.verdict()
        );
    }
    text
}

fn csv_samples(rows: &[Measured]) -> String {
    let mut text = "row,seed,iterations,own_anderson,most,converged,accuracy,seconds\n".to_owned();
    for row in rows {
        for s in &row.samples {
            let own = s.own.map_or(String::new(), |o| o.to_string());
            let _ = writeln!(
                text,
                "\"{}\",{},{},{own},{},{},{},{}",
                row.paper.name, s.seed, s.iterations, s.most, s.converged, s.accuracy, s.seconds
            );
        }
    }
    text
}

fn csv_curves(curves: &[Curve]) -> String {
    let mut text = "row,iteration,residual\n".to_owned();
    for curve in curves {
        for (i, residual) in curve.residuals.iter().enumerate() {
            let _ = writeln!(text, "\"{}\",{i},{residual}", curve.name);
        }
    }
    text
}

fn own(row: &Measured) -> Option<f64> {
    let values: Vec<f64> = row.samples.iter().filter_map(|s| s.own).collect();
    (!values.is_empty()).then(|| moments(&values).0)
}

/// The table for people.
pub fn table(rows: &[Measured]) -> String {
    let mut text = format!(
        "{:<24} {:>14} {:>14} {:>7} {:>12} {:>8} {:>9} {:>10}  {}",
        "iterations to 1e-4",
        "paper",
        "measured",
        "ratio",
        "own Anderson",
        "paper %",
        "right %",
        "converged",
        "verdict"
    );
    for row in rows {
        let (mean, deviation) = row.over_seeds(|s| s.iterations);
        let (accuracy, _) = row.over_seeds(|s| s.accuracy);
        let (converged, _) = row.over_seeds(|s| s.converged);
        let published = format!("{:.1} ± {:.1}", row.paper.iterations, row.paper.deviation);
        let measured = match row.samples.len() {
            1 => format!("{mean:.1}"),
            _ => format!("{mean:.1} ± {deviation:.1}"),
        };
        let _ = write!(
            text,
            "\n{:<24} {published:>14} {:>14} {:>7.2} {:>12} {:>8.1} {accuracy:>9.2} {:>9.1}%  {}",
            row.name(),
            measured,
            mean / row.paper.iterations,
            own(row).map_or(String::new(), |o| format!("{o:.1}")),
            row.paper.accuracy,
            converged,
            row.verdict()
        );
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use super::*;
    use crate::converge::paper::TABLE;

    fn measured(row: usize, iterations: &[f64], accuracy: f64) -> Measured {
        let sample = |(seed, &iterations): (usize, &f64)| Sample {
            seed: seed as u64,
            iterations,
            own: None,
            most: 0,
            converged: 100.0,
            accuracy,
            seconds: 0.0,
        };
        let samples = iterations.iter().enumerate().map(sample).collect();
        let paper = TABLE[row];
        Measured { paper, epochs: paper.epochs, comparable: true, samples }
    }

    #[test]
    fn a_row_agrees_within_its_tolerance_and_at_its_accuracy() {
        // 3L HAM: 11.9, so 15 % is 1.785.
        assert_eq!(measured(4, &[13.6], 97.9).verdict(), "agrees");
        assert_eq!(measured(4, &[13.6], 97.3).verdict(), "agrees, less accurate");
        assert_eq!(measured(4, &[13.7], 97.9).verdict(), "differs");
        // 3L CHN, 3 epochs: 25 % of 39.1 is 9.775.
        assert_eq!(measured(1, &[48.8], 97.0).verdict(), "agrees");
        assert_eq!(measured(1, &[48.9], 90.0).verdict(), "differs, less accurate");
        let other = Measured { epochs: 1, comparable: false, ..measured(1, &[48.8], 97.0) };
        assert_eq!((other.verdict(), other.name().as_str()), ("not comparable", "3L CHN, 1 epoch"));
        assert_eq!(measured(1, &[48.8], 97.0).name(), "3L CHN, 3 epochs");
    }

    #[test]
    fn deviations_are_those_of_the_sample() {
        let (mean, deviation) = moments(&[1.0, 2.0, 3.0, 4.0]);
        assert!((mean - 2.5).abs() < 1e-12 && (deviation - (5.0_f64 / 3.0).sqrt()).abs() < 1e-12);
        assert!(moments(&[7.0]).1.abs() < 1e-12);
        let text = table(&[measured(4, &[11.0, 13.0], 97.9)]);
        assert!(text.contains("11.9 ± 0.4") && text.contains("12.0 ± 1.4"), "{text}");
    }
}
