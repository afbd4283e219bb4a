//! Paper and measurement side by side: a table for the terminal, CSV and JSON files.

use std::{fmt::Write as _, path::Path};

use anyhow::Result;
use hvae_model::chn_ham::Form;
use hvae_runtime::files;
use serde::Serialize;

use crate::converge::paper::Row;
use crate::converge::weights::Training;
use crate::figures::csv;

/// A row of the table measured on one training.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct SeedResult {
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
    pub(crate) seeds: Vec<SeedResult>,
}

/// Mean and sample standard deviation (0 for one value).
struct Moments {
    mean: f64,
    deviation: f64,
}

impl Moments {
    fn of(values: &[f64]) -> Self {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let square = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>();
        let deviation = if values.len() > 1 { (square / (count - 1.0)).sqrt() } else { 0.0 };
        Self { mean, deviation }
    }
}

struct Means {
    iterations: Moments,
    accuracy: Moments,
    converged: f64,
    default_anderson: Option<f64>,
}

impl RowResult {
    fn means(&self) -> Means {
        let seeds = || self.seeds.iter();
        let over =
            |pick: fn(&SeedResult) -> f64| Moments::of(&seeds().map(pick).collect::<Vec<_>>());
        let default: Vec<f64> = seeds().filter_map(|s| s.default_anderson).collect();
        Means {
            iterations: over(|s| s.iterations),
            accuracy: over(|s| s.accuracy),
            converged: over(|s| s.converged).mean,
            default_anderson: (!default.is_empty()).then(|| Moments::of(&default).mean),
        }
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

    fn verdict(&self) -> &'static str {
        if !self.comparable {
            return "not comparable";
        }
        let Means { iterations, accuracy, .. } = self.means();
        let within = (iterations.mean - self.paper.iterations).abs() <= self.tolerance();
        let as_accurate = accuracy.mean >= self.paper.accuracy - 0.5;
        match (within, as_accurate) {
            (true, true) => "agrees",
            (true, false) => "agrees, less accurate",
            (false, true) => "differs",
            (false, false) => "differs, less accurate",
        }
    }
}

/// Residuals of a row against iterations.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Curve {
    pub(crate) layers: u8,
    pub(crate) name: &'static str,
    /// Geometric mean over test images of residual 0, 1, ...
    pub(crate) residuals: Vec<f64>,
}

/// The contents of `results.json`.
#[derive(Debug, Serialize)]
pub(crate) struct Results {
    pub(crate) format: u32,
    pub(crate) commit: &'static str,
    pub(crate) command: String,
    /// Where the run is smaller than the paper's protocol.
    pub(crate) shortfall: Option<String>,
    pub(crate) test_images: usize,
    pub(crate) rows: Vec<RowResult>,
    pub(crate) trainings: Vec<Training>,
    /// Residuals against iterations, for the first seed.
    pub(crate) curves: Vec<Curve>,
    pub(crate) seconds: f64,
}

pub(crate) fn write(results: &Results, folder: &Path) -> Result<()> {
    let json = serde_json::to_string_pretty(results)? + "\n";
    let tables = [
        ("results.json", json),
        ("table.csv", csv_table(&results.rows)),
        ("seeds.csv", csv_seeds(&results.rows)),
        ("curves.csv", csv_curves(&results.curves)),
    ];
    tables.into_iter().try_for_each(|(name, text)| files::write(&folder.join(name), &text))
}

fn cell(number: Option<f64>) -> String {
    number.map_or(String::new(), |number| number.to_string())
}

fn csv_table(rows: &[RowResult]) -> String {
    let row = |row: &RowResult| {
        let Row { name, iterations, deviation, accuracy, .. } = row.paper;
        let Means { iterations: counted, accuracy: found, converged, default_anderson } =
            row.means();
        let paper = format!("\"{name}\",{},{iterations},{deviation}", row.epochs);
        let default = cell(default_anderson);
        let measured = format!("{},{},{default}", counted.mean, counted.deviation);
        let accuracies = format!("{accuracy},{},{}", found.mean, found.deviation);
        let (seeds, verdict) = (row.seeds.len(), row.verdict());
        format!("{paper},{measured},{accuracies},{converged},{seeds},\"{verdict}\"")
    };
    csv(
        "row,epochs,paper_iterations,paper_sd,iterations,sd,default_anderson,\
         paper_accuracy,accuracy,accuracy_sd,converged,seeds,verdict",
        rows.iter().map(row),
    )
}

fn csv_seeds(rows: &[RowResult]) -> String {
    let row = |name: &str, result: &SeedResult| {
        let SeedResult { seed, iterations, max_iterations, converged, .. } = result;
        let SeedResult { default_anderson, accuracy, seconds, .. } = result;
        let counts = format!("{iterations},{},{max_iterations}", cell(*default_anderson));
        format!("\"{name}\",{seed},{counts},{converged},{accuracy},{seconds}")
    };
    csv(
        "row,seed,iterations,default_anderson,max_iterations,converged,accuracy,seconds",
        rows.iter().flat_map(|r| r.seeds.iter().map(move |s| row(r.paper.name, s))),
    )
}

fn csv_curves(curves: &[Curve]) -> String {
    let row = |name: &str, (i, residual): (usize, &f64)| format!("\"{name}\",{i},{residual}");
    let rows = |c: &Curve| -> Vec<String> {
        c.residuals.iter().enumerate().map(|at| row(c.name, at)).collect()
    };
    csv("row,iteration,residual", curves.iter().flat_map(rows))
}

pub(crate) fn table(rows: &[RowResult]) -> String {
    let mut text = format!(
        "{:<34} {:>14} {:>14} {:>7} default Anderson {:>8} {:>9} {:>10}  verdict",
        "iterations to 1e-4", "paper", "measured", "ratio", "paper %", "accuracy", "converged"
    );
    for row in rows {
        let Means { iterations, accuracy, converged, default_anderson } = row.means();
        let Moments { mean, deviation } = iterations;
        let published = format!("{:.1} ± {:.1}", row.paper.iterations, row.paper.deviation);
        let measured = match row.seeds.len() {
            1 => format!("{mean:.1}"),
            _ => format!("{mean:.1} ± {deviation:.1}"),
        };
        let ratio = mean / row.paper.iterations;
        let default = default_anderson.map_or(String::new(), |d| format!("{d:.1}"));
        let (name, paper, found) = (row.name(), row.paper.accuracy, accuracy.mean);
        let _ = write!(
            text,
            "\n{name:<34} {published:>14} {measured:>14} {ratio:>7.2} {default:>16} {paper:>8.1} \
             {found:>9.2} {converged:>9.1}%  {}",
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
        let Moments { mean, deviation } = Moments::of(&[1.0, 2.0, 3.0, 4.0]);
        assert!((mean - 2.5).abs() < 1e-12 && (deviation - (5.0_f64 / 3.0).sqrt()).abs() < 1e-12);
        assert!(Moments::of(&[7.0]).deviation.abs() < 1e-12);
        let text = table(&[measured(4, &[11.0, 13.0], 97.9)]);
        assert!(text.contains("11.9 ± 0.4") && text.contains("12.0 ± 1.4"), "{text}");
    }
}
