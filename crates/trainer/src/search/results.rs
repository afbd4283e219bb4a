//! What a study has found, as a table and for other programs.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use crate::report::number;
use crate::search::file::Settings;
use crate::search::study::Study;
use crate::search::trial::{State, Trial, ranked};

/// The best trials with two objectives, or as many as `count` from the best.
pub(crate) fn winners<'a>(study: &Study, trials: &'a [Trial], count: usize) -> Vec<&'a Trial> {
    let space = &study.space;
    let all = ranked(trials, &space.objectives, &space.file.budget.levels(), 1);
    if space.objectives.all().len() == 1 {
        return all.into_iter().take(count).collect();
    }
    let done = all.first().map_or(0, |trial| trial.done());
    let alike: Vec<&Trial> = all.into_iter().filter(|trial| trial.done() == done).collect();
    let values: Vec<&[f64]> = alike.iter().filter_map(|trial| trial.values()).collect();
    space.objectives.front(&values).into_iter().map(|at| alike[at]).collect()
}

/// The command that trains with the settings of a trial, on all training images.
pub(crate) fn command(run: &Path) -> String {
    let config = run.join("config.toml");
    format!("hvae train --config {} --set data.validation_images=none", config.display())
}

/// The best trials, a line each, and how to train the best.
pub(crate) fn table(study: &Study, trials: &[Trial]) -> String {
    let best = winners(study, trials, 5);
    let Some(first) = best.first() else { return "no trial has a result".to_owned() };
    let head = ["trial".to_owned(), "epochs".to_owned()];
    let names = study.space.objectives.names().map(str::to_owned);
    let mut rows: Vec<Vec<String>> = vec![head.into_iter().chain(names).collect()];
    rows.extend(best.iter().map(|trial| {
        let values = trial.values().unwrap_or_default().iter().map(|value| number(*value));
        [trial.number.to_string(), trial.done().to_string()].into_iter().chain(values).collect()
    }));
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    let settings = best.iter().map(|trial| in_words(&trial.parameters));
    let line = |(row, settings): (&Vec<String>, String)| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}"));
        cells.collect::<Vec<_>>().join("  ") + "  " + &settings + "\n"
    };
    let lines: String =
        rows.iter().zip([String::new()].into_iter().chain(settings)).map(line).collect();
    format!("{lines}the best: {}", command(&study.run(first)))
}

/// Settings as `--set` takes them.
pub(crate) fn in_words(settings: &Settings) -> String {
    let words: Vec<String> = settings.iter().map(|(key, value)| format!("{key}={value}")).collect();
    words.join(" ")
}

/// All of it.
pub(crate) fn json(study: &Study, trials: &[Trial]) -> Result<Value> {
    let numbers = winners(study, trials, 1).iter().map(|trial| trial.number).collect::<Vec<_>>();
    let count = |state| trials.iter().filter(|trial| trial.state == state).count();
    let objectives = study.space.objectives.all();
    Ok(json!({
        "study": study.folder.display().to_string(),
        "space": serde_json::to_value(&study.space.file)?,
        "objectives": objectives.iter().map(|(name, _)| name).collect::<Vec<_>>(),
        "best": numbers,
        "complete": count(State::Complete),
        "paused": count(State::Paused),
        "failed": count(State::Failed),
        "running": count(State::Running),
        "epochs": trials.iter().map(Trial::done).sum::<usize>(),
        "seconds": trials.iter().map(|trial| trial.seconds).sum::<f64>(),
        "trials": serde_json::to_value(trials)?,
    }))
}
