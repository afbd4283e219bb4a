//! `metrics.jsonl`, one epoch a line, and `metrics.csv`, the same as a table.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::run::dir::RunDir;
use crate::run::metrics::EpochMetrics;

/// The metrics as JSON lines.
const METRICS: &str = "metrics.jsonl";
/// Their scalars as a table.
const TABLE: &str = "metrics.csv";

/// Adds an epoch.
///
/// # Errors
///
/// When a file cannot be written.
pub fn append(run: &RunDir, metrics: &EpochMetrics) -> Result<()> {
    let path = run.path().join(METRICS);
    let line = serde_json::to_string(metrics).context("writing metrics")? + "\n";
    let append = || {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&path)?;
        file.write_all(line.as_bytes())?;
        file.sync_data()
    };
    append().with_context(|| format!("writing {}", path.display()))?;
    tabulate(run, &read(run)?)
}

/// Removes the metrics of steps after `step`, which will be repeated, and a truncated last line.
///
/// # Errors
///
/// When a file cannot be read or written.
pub fn cut(run: &RunDir, step: usize) -> Result<()> {
    let path = run.path().join(METRICS);
    if !path.exists() {
        return Ok(());
    }
    let text = text_of(&path)?;
    let kept: Vec<_> =
        parse(&path, &text)?.into_iter().filter(|(_, epoch)| epoch.step <= step).collect();
    run.write_text(METRICS, &kept.iter().flat_map(|(line, _)| [line, "\n"]).collect::<String>())?;
    tabulate(run, &kept.into_iter().map(|(_, epoch)| epoch).collect::<Vec<_>>())
}

/// The epochs so far; empty for a run that has none. A truncated last line is ignored.
///
/// # Errors
///
/// When the file cannot be read, or another line is corrupt.
pub fn read(run: &RunDir) -> Result<Vec<EpochMetrics>> {
    let path = run.path().join(METRICS);
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = text_of(&path)?;
    Ok(parse(&path, &text)?.into_iter().map(|(_, epoch)| epoch).collect())
}

fn text_of(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The lines of the file `path` with their epochs. Only the last line may be corrupt: a kill
/// truncates it.
fn parse<'t>(path: &Path, text: &'t str) -> Result<Vec<(&'t str, EpochMetrics)>> {
    let mut found = Vec::new();
    let mut lines = text.lines().zip(1..).peekable();
    while let Some((line, number)) = lines.next() {
        match serde_json::from_str(line) {
            Ok(epoch) => found.push((line, epoch)),
            Err(_) if lines.peek().is_none() => {}
            Err(error) => {
                bail!("{}: line {number} is corrupt ({error}); fix or delete it", path.display())
            }
        }
    }
    Ok(found)
}

/// Writes the table: a column for every number that any epoch has, empty where an epoch lacks it.
fn tabulate(run: &RunDir, epochs: &[EpochMetrics]) -> Result<()> {
    let rows: Vec<Vec<(String, f64)>> = epochs.iter().map(EpochMetrics::scalars).collect();
    let first = ["epoch", "step"];
    let others: BTreeSet<&str> = rows
        .iter()
        .flatten()
        .map(|(name, _)| name.as_str())
        .filter(|name| !first.contains(name))
        .collect();
    let columns: Vec<&str> = first.into_iter().chain(others).collect();
    let mut text = columns.join(",") + "\n";
    for row in &rows {
        let cell = |column: &&str| {
            let found = row.iter().find(|(name, _)| name == column);
            found.map_or(String::new(), |(_, number)| number.to_string())
        };
        text += &(columns.iter().map(cell).collect::<Vec<_>>().join(",") + "\n");
    }
    run.write_text(TABLE, &text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RunConfig;
    use crate::run::metrics::MeanLosses;
    use crate::run::sums::EpochSums;

    fn epoch(epoch: usize, test: Option<f64>) -> EpochMetrics {
        let losses = |elbo| MeanLosses { reconstruction_error: 1.0, divergence: 2.0, elbo };
        EpochMetrics {
            epoch,
            step: 5 * epoch,
            train: losses(-4.0),
            test: test.map(losses),
            phases: EpochSums::default().phases(),
            dropped: 0,
            loop_gains: None,
            gradient_check: None,
            gradient_norm: 0.5,
            learning_rate: 0.1,
            images_per_second: 10.0,
            seconds: 3.0,
        }
    }

    #[test]
    fn the_table_has_a_column_for_every_number() {
        let root = tempfile::tempdir().unwrap();
        let run = RunDir::create(&root.path().join("run"), &RunConfig::default()).unwrap();
        let epochs = [epoch(1, Some(-3.5)), epoch(2, None), epoch(3, None)];
        let mut lines: Vec<String> =
            epochs.iter().map(|epoch| serde_json::to_string(epoch).unwrap()).collect();
        lines.push(r#"{"epoch":4,"st"#.to_owned());
        std::fs::write(run.path().join(METRICS), lines.join("\n")).unwrap();
        cut(&run, 12).unwrap();
        let table = std::fs::read_to_string(run.path().join(TABLE)).unwrap();
        let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split(',').collect()).collect();
        let column = |name| rows[0].iter().position(|column| *column == name).unwrap();
        assert_eq!(rows.len(), 3);
        for (row, expected) in rows[1..].iter().zip([["1", "5", "-3.5"], ["2", "10", ""]]) {
            assert_eq!([row[0], row[1], row[column("test.elbo")]], expected);
        }
        assert_eq!(read(&run).unwrap(), epochs[..2]);
    }

    #[test]
    fn a_corrupt_line_is_an_error_unless_it_is_the_last() {
        let root = tempfile::tempdir().unwrap();
        let run = RunDir::create(&root.path().join("run"), &RunConfig::default()).unwrap();
        let good = serde_json::to_string(&epoch(1, None)).unwrap();
        let text = [&good, "{\"epoch\":2,\"st", &good].join("\n");
        std::fs::write(run.path().join(METRICS), &text).unwrap();
        for error in [read(&run).unwrap_err(), cut(&run, 15).unwrap_err()] {
            let message = error.to_string();
            assert!(message.contains("metrics.jsonl: line 2 is corrupt"), "{message}");
        }
        assert_eq!(std::fs::read_to_string(run.path().join(METRICS)).unwrap(), text);
    }
}
