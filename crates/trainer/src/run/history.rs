//! `metrics.jsonl`, one epoch a line, and `metrics.csv`, the same as a table.

use std::{collections::BTreeSet, io::Write};

use anyhow::{Context, Result, bail};

use crate::run::{dir::RunDir, metrics::EpochMetrics};

/// The metrics as JSON lines.
const METRICS: &str = "metrics.jsonl";
/// Their scalars as a table.
const TABLE: &str = "metrics.csv";

/// Adds an epoch.
pub(crate) fn append(run: &RunDir, metrics: &EpochMetrics) -> Result<()> {
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
pub(crate) fn cut(run: &RunDir, step: usize) -> Result<()> {
    if !run.path().join(METRICS).exists() {
        return Ok(());
    }
    let mut kept = lines(run)?;
    kept.retain(|(_, epoch)| epoch.step <= step);
    let text: String = kept.iter().flat_map(|(line, _)| [line.as_str(), "\n"]).collect();
    run.write_text(METRICS, &text)?;
    tabulate(run, &kept.into_iter().map(|(_, epoch)| epoch).collect::<Vec<_>>())
}

/// The epochs so far; empty for a run that has none. A truncated last line is ignored.
pub(crate) fn read(run: &RunDir) -> Result<Vec<EpochMetrics>> {
    Ok(lines(run)?.into_iter().map(|(_, epoch)| epoch).collect())
}

/// The lines so far with their epochs. Only the last line may be corrupt: a kill truncates it.
fn lines(run: &RunDir) -> Result<Vec<(String, EpochMetrics)>> {
    let path = run.path().join(METRICS);
    let (mut found, shown) = (Vec::new(), path.display());
    if !path.exists() {
        return Ok(found);
    }
    let bytes = std::fs::read(&path).with_context(|| format!("reading {shown}"))?;
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = text.lines().zip(1..).peekable();
    while let Some((line, number)) = lines.next() {
        match serde_json::from_str(line) {
            Ok(epoch) => found.push((line.to_owned(), epoch)),
            Err(_) if lines.peek().is_none() => {}
            Err(error) => bail!("{shown}: line {number} is corrupt ({error}); fix or delete it"),
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
    use crate::{config::RunConfig, run::metrics::MeanLosses};

    fn epoch(epoch: usize, test: Option<f64>) -> EpochMetrics {
        let test = test.map(|elbo| MeanLosses { elbo, ..MeanLosses::default() });
        EpochMetrics { epoch, step: 5 * epoch, test, ..EpochMetrics::default() }
    }

    fn new_run() -> (tempfile::TempDir, RunDir) {
        let root = tempfile::tempdir().unwrap();
        let run = RunDir::create(&root.path().join("run"), &RunConfig::default(), None).unwrap();
        (root, run)
    }

    #[test]
    fn the_table_has_a_column_for_every_number() {
        let (_root, run) = new_run();
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
        let (_root, run) = new_run();
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
