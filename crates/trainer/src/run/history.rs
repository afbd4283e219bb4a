//! `metrics.jsonl`, one event a line, and `metrics.csv`, the same as a table.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::run::RunDir;
use crate::run::metrics::EpochMetrics;

/// One event a line, each an [`EpochMetrics`].
pub(super) const METRICS: &str = "metrics.jsonl";
/// Its numbers as a table.
const TABLE: &str = "metrics.csv";

/// Adds an epoch.
///
/// # Errors
///
/// When a file cannot be written.
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

/// Drops the metrics of steps after `step`, which will be made again, and a last line that was cut
/// off. Other lines stay, whatever version of this program wrote them.
///
/// # Errors
///
/// When a file cannot be read or written.
pub(crate) fn cut(run: &RunDir, step: usize) -> Result<()> {
    let path = run.path().join(METRICS);
    if !path.exists() {
        return Ok(());
    }
    let text = text_of(&path)?;
    let before = |(line, event): (_, Value)| {
        (event["step"].as_u64()? <= step as u64).then_some([line, "\n"])
    };
    let kept: String = events(&path, &text)?.into_iter().filter_map(before).flatten().collect();
    run.write_text(METRICS, &kept)?;
    tabulate(run, &read(run)?)
}

/// The epochs so far, in whatever version of the schema they were written; empty for a run without
/// any. A last line that was cut off is left out.
///
/// # Errors
///
/// When the file cannot be read, or another line is damaged.
pub fn read(run: &RunDir) -> Result<Vec<Value>> {
    let path = run.path().join(METRICS);
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = text_of(&path)?;
    Ok(events(&path, &text)?.into_iter().map(|(_, event)| event).collect())
}

fn text_of(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The lines of the file `path` with what they say. Only the last may be damaged: a kill cuts it off.
fn events<'t>(path: &Path, text: &'t str) -> Result<Vec<(&'t str, Value)>> {
    let mut found = Vec::new();
    let mut lines = text.lines().zip(1..).peekable();
    while let Some((line, number)) = lines.next() {
        let event: Option<Value> = serde_json::from_str(line).ok();
        match event.filter(|event| event["step"].is_u64()) {
            Some(event) => found.push((line, event)),
            None if lines.peek().is_none() => {}
            None => bail!("{}: line {number} is damaged; mend or remove it", path.display()),
        }
    }
    Ok(found)
}

/// The numbers of an epoch under their paths, such as `test.elbo`; lists are left out.
pub fn flat(value: &Value) -> Vec<(String, f64)> {
    fn walk(path: &str, value: &Value, into: &mut Vec<(String, f64)>) {
        match value {
            Value::Object(fields) => {
                for (key, value) in fields {
                    let dot = if path.is_empty() { "" } else { "." };
                    walk(&format!("{path}{dot}{key}"), value, into);
                }
            }
            Value::Number(number) => into.extend(number.as_f64().map(|n| (path.to_owned(), n))),
            _ => {}
        }
    }
    let mut numbers = Vec::new();
    walk("", value, &mut numbers);
    numbers
}

/// Writes the table: a column for every number that any epoch has, empty where an epoch lacks it.
fn tabulate(run: &RunDir, epochs: &[Value]) -> Result<()> {
    let rows: Vec<Vec<(String, f64)>> = epochs.iter().map(flat).collect();
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

    #[test]
    fn the_table_has_a_column_for_every_number() {
        let root = tempfile::tempdir().unwrap();
        let run = RunDir::create(&root.path().join("run"), &RunConfig::default()).unwrap();
        let lines = [
            r#"{"epoch":1,"step":5,"test":{"elbo":-3.5,"kl":null},"list":[1,2]}"#,
            r#"{"epoch":2,"step":10,"test":{"elbo":-2.25,"kl":1}}"#,
            r#"{"epoch":3,"step":15,"test":null}"#,
            r#"{"epoch":4,"st"#,
        ];
        std::fs::write(run.path().join(METRICS), lines.join("\n")).unwrap();
        cut(&run, 12).unwrap();
        let table = std::fs::read_to_string(run.path().join(TABLE)).unwrap();
        assert_eq!(table, "epoch,step,test.elbo,test.kl\n1,5,-3.5,\n2,10,-2.25,1\n");
        assert_eq!(read(&run).unwrap().len(), 2);
        // Elsewhere a damaged line is none that a kill cut off: nothing is dropped without a word.
        let damaged = [lines[0], "{\"epoch\":2,\"st", lines[2]].join("\n");
        std::fs::write(run.path().join(METRICS), &damaged).unwrap();
        for error in [read(&run).unwrap_err(), cut(&run, 15).unwrap_err()] {
            let message = error.to_string();
            assert!(message.contains("metrics.jsonl: line 2 is damaged"), "{message}");
        }
        assert_eq!(std::fs::read_to_string(run.path().join(METRICS)).unwrap(), damaged);
    }
}
