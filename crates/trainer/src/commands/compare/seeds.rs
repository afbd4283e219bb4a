//! Runs that differ in their seed alone.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use crate::commands::compare::table::{COLUMNS, Column, Row};
use crate::config::RunConfig;

/// Runs with the same settings and different seeds.
#[derive(Debug, Serialize)]
pub(super) struct Group {
    /// The kind of model, with the name of the first run if there are several groups of the kind.
    model: String,
    seeds: Vec<u64>,
    /// By the headings of the table.
    numbers: BTreeMap<&'static str, Spread>,
}

/// Mean over the seeds and standard deviation (with `n - 1`).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Spread {
    mean: f64,
    deviation: f64,
}

impl Spread {
    /// Of two numbers or more.
    fn of(numbers: &[f64]) -> Option<Self> {
        let n = numbers.len() as f64;
        let mean = numbers.iter().sum::<f64>() / n;
        let squares: f64 = numbers.iter().map(|x| (x - mean).powi(2)).sum();
        (numbers.len() > 1).then(|| Self { mean, deviation: (squares / (n - 1.0)).sqrt() })
    }
}

/// The groups of two runs or more, in their order; `configs` are those of the `rows`.
pub(super) fn groups(rows: &[Row], configs: &[&RunConfig]) -> Vec<Group> {
    let mut found: Vec<(RunConfig, Vec<&Row>)> = Vec::new();
    for (row, config) in rows.iter().zip(configs) {
        let mut settings = (*config).clone();
        settings.training.seed = 0;
        match found.iter_mut().find(|(other, _)| *other == settings) {
            Some((_, group)) => group.push(row),
            None => found.push((settings, vec![row])),
        }
    }
    found.retain(|(_, rows)| rows.len() > 1);
    let kind = |config: &RunConfig| config.model.kind.name();
    let alike = |name: &str| found.iter().filter(|(config, _)| kind(config) == name).count();
    let group = |(config, rows): &(RunConfig, Vec<&Row>)| {
        let numbers = COLUMNS.iter().filter_map(|column: &Column| {
            let numbers = rows.iter().filter_map(|row| (column.number)(row));
            Some((column.heading, Spread::of(&numbers.collect::<Vec<_>>())?))
        });
        let several = alike(kind(config)) > 1;
        let model = if several { rows[0].model.clone() } else { kind(config).to_owned() };
        let seeds = rows.iter().map(|row| row.seed).collect();
        Group { model, seeds, numbers: numbers.collect() }
    };
    found.iter().map(group).collect()
}

/// A table of the groups; empty without any.
pub(super) fn markdown(groups: &[Group]) -> String {
    if groups.is_empty() {
        return String::new();
    }
    let headings = COLUMNS.map(|column| column.heading).join(" | ");
    let mut text = format!(
        "\nMean \u{b1} standard deviation over seeds:\n\n| model | seeds | {headings} |\n|---|---|{}\n",
        "---|".repeat(COLUMNS.len())
    );
    for group in groups {
        let cell = |column: Column| match group.numbers.get(column.heading) {
            Some(Spread { mean, deviation }) => {
                let digits = column.digits;
                format!("{mean:.digits$} \u{b1} {deviation:.digits$}")
            }
            None => "-".to_owned(),
        };
        let (seeds, cells) = (group.seeds.len(), COLUMNS.map(cell).join(" | "));
        let _ = writeln!(text, "| {} | {seeds} | {cells} |", group.model);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_is_that_of_a_sample() {
        let found = Spread::of(&[1.0, 2.0, 6.0]);
        assert_eq!(found, Some(Spread { mean: 3.0, deviation: 7.0_f64.sqrt() }));
        assert_eq!(Spread::of(&[1.0]), None);
    }
}
