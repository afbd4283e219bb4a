//! Paper and measurement side by side: a table for the terminal, CSV and JSON files.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use hvae_model::chn_ham::Form;
use serde::Serialize;

use crate::converge::paper::Row;
use crate::converge::weights::Training;
use hvae_runtime::files;

/// A row of the table measured on one training.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct SeedResult {
    /// Seed of the training.
    pub(crate) seed: u64,
    /// Iterations, mean over the test images, counted as in the paper.
    pub(crate) iterations: f64,
    /// The same with the solver's default Anderson acceleration; rows with Anderson only.
    pub(crate) default_anderson: Option<f64>,
    /// Largest number of iterations of a test image.
    pub(crate) max_iterations: usize,
    /// Percent of the test images that converged within the limit.
    pub(crate) converged: f64,
    /// Test accuracy in percent.
    pub(crate) accuracy: f64,
    /// Seconds of the measurement.
    pub(crate) seconds: f64,
}

/// A row of the table, published and measured.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct RowResult {
    pub(crate) paper: Row,
    /// Epochs after which the weights were taken.
    pub(crate) epochs: u16,
    /// Whether network and images are those of the paper.
    pub(crate) comparable: bool,
    /// By seed.
    pub(crate) seeds: Vec<SeedResult>,
}

/// Mean and sample standard deviation (0 for one value).
fn moments(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let square = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>();
    (mean, if values.len() > 1 { (square / (count - 1.0)).sqrt() } else { 0.0 })
}

impl RowResult {
    /// Mean and standard deviation over the seeds.
    fn over_seeds(&self, pick: impl Fn(&SeedResult) -> f64) -> (f64, f64) {
        moments(&self.seeds.iter().map(pick).collect::<Vec<_>>())
    }

    /// The published name, with the number of epochs if it differs.
    fn name(&self) -> String {
        if self.epochs == self.paper.epochs {
            return self.paper.name.to_owned();
        }
        let name = self.paper.name.split(',').next().unwrap_or(self.paper.name);
        let unit = if self.epochs == 1 { "epoch" } else { "epochs" };
        format!("{name}, {} {unit}", self.epochs)
    }

    /// Largest accepted distance of the mean from the published one: for a HAM the larger of 15 %
    /// and two published standard deviations, for a CHN 25 %.
    fn tolerance(&self) -> f64 {
        match self.paper.form {
            Form::Ham => (0.15 * self.paper.iterations).max(2.0 * self.paper.deviation),
            Form::Chn => 0.25 * self.paper.iterations,
        }
    }

    /// Whether the measurement agrees, in words.
    fn verdict(&self) -> &'static str {
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

    /// Mean iterations with the solver's default Anderson acceleration.
    fn default_anderson(&self) -> Option<f64> {
        let values: Vec<f64> = self.seeds.iter().filter_map(|s| s.default_anderson).collect();
        (!values.is_empty()).then(|| moments(&values).0)
    }
}

/// Residuals of a row against iterations.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Curve {
    /// Layers of the network.
    pub(crate) layers: u8,
    /// Name of the row.
    pub(crate) name: &'static str,
    /// Geometric mean over test images of residual 0, 1, ...
    pub(crate) residuals: Vec<f64>,
}

/// The contents of `results.json`.
#[derive(Debug, Serialize)]
pub(crate) struct Results {
    /// Version of this format.
    pub(crate) format: u32,
    /// The commit of the program.
    pub(crate) commit: &'static str,
    /// The arguments.
    pub(crate) command: String,
    /// Where the run is smaller than the paper's protocol.
    pub(crate) shortfall: Option<String>,
    /// Number of test images.
    pub(crate) test_images: usize,
    /// The table.
    pub(crate) rows: Vec<RowResult>,
    pub(crate) trainings: Vec<Training>,
    /// Residuals against iterations, for the first seed.
    pub(crate) curves: Vec<Curve>,
    /// Total time in seconds.
    pub(crate) seconds: f64,
}

/// Writes all results into `folder`.
///
/// # Errors
///
/// If a file cannot be written.
pub(crate) fn write(results: &Results, folder: &Path) -> Result<()> {
    let json = serde_json::to_string_pretty(results)? + "\n";
    let tables = [
        ("results.json", json),
        ("table.csv", csv_table(&results.rows)),
        ("seeds.csv", csv_seeds(&results.rows)),
        ("curves.csv", csv_curves(&results.curves)),
    ];
    for (name, text) in tables {
        files::write(&folder.join(name), &text)?;
    }
    Ok(())
}

fn csv_table(rows: &[RowResult]) -> String {
    let mut text = "row,epochs,paper_iterations,paper_sd,iterations,sd,default_anderson,\
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
            row.default_anderson().map_or(String::new(), |d| d.to_string()),
            row.paper.accuracy,
            row.seeds.len(),
            row.verdict()
        );
    }
    text
}

fn csv_seeds(rows: &[RowResult]) -> String {
    let mut text =
        "row,seed,iterations,default_anderson,max_iterations,converged,accuracy,seconds\n"
            .to_owned();
    for row in rows {
        for s in &row.seeds {
            let default = s.default_anderson.map_or(String::new(), |d| d.to_string());
            let _ = writeln!(
                text,
                "\"{}\",{},{},{default},{},{},{},{}",
                row.paper.name,
                s.seed,
                s.iterations,
                s.max_iterations,
                s.converged,
                s.accuracy,
                s.seconds
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

/// The table for the terminal.
pub(crate) fn table(rows: &[RowResult]) -> String {
    let mut text = format!(
        "{:<34} {:>14} {:>14} {:>7} {:>16} {:>8} {:>9} {:>10}  {}",
        "iterations to 1e-4",
        "paper",
        "measured",
        "ratio",
        "default Anderson",
        "paper %",
        "accuracy",
        "converged",
        "verdict"
    );
    for row in rows {
        let (mean, deviation) = row.over_seeds(|s| s.iterations);
        let (accuracy, _) = row.over_seeds(|s| s.accuracy);
        let (converged, _) = row.over_seeds(|s| s.converged);
        let published = format!("{:.1} ± {:.1}", row.paper.iterations, row.paper.deviation);
        let measured = match row.seeds.len() {
            1 => format!("{mean:.1}"),
            _ => format!("{mean:.1} ± {deviation:.1}"),
        };
        let _ = write!(
            text,
            "\n{:<34} {published:>14} {:>14} {:>7.2} {:>16} {:>8.1} {accuracy:>9.2} {:>9.1}%  {}",
            row.name(),
            measured,
            mean / row.paper.iterations,
            row.default_anderson().map_or(String::new(), |d| format!("{d:.1}")),
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

    fn measured(row: usize, iterations: &[f64], accuracy: f64) -> RowResult {
        let result = |(seed, &iterations): (usize, &f64)| SeedResult {
            seed: seed as u64,
            iterations,
            default_anderson: None,
            max_iterations: 0,
            converged: 100.0,
            accuracy,
            seconds: 0.0,
        };
        let seeds = iterations.iter().enumerate().map(result).collect();
        let paper = TABLE[row];
        RowResult { paper, epochs: paper.epochs, comparable: true, seeds }
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
        let other = RowResult { epochs: 1, comparable: false, ..measured(1, &[48.8], 97.0) };
        assert_eq!((other.verdict(), other.name().as_str()), ("not comparable", "3L CHN, 1 epoch"));
        assert_eq!(measured(1, &[48.8], 97.0).name(), "3L CHN, 3 epochs");
    }

    #[test]
    fn the_standard_deviation_is_that_of_the_sample() {
        let (mean, deviation) = moments(&[1.0, 2.0, 3.0, 4.0]);
        assert!((mean - 2.5).abs() < 1e-12 && (deviation - (5.0_f64 / 3.0).sqrt()).abs() < 1e-12);
        assert!(moments(&[7.0]).1.abs() < 1e-12);
        let text = table(&[measured(4, &[11.0, 13.0], 97.9)]);
        assert!(text.contains("11.9 ± 0.4") && text.contains("12.0 ± 1.4"), "{text}");
    }
}
