//! The page of a study: one HTML file, without scripts and external resources.

use anyhow::Result;
use minijinja::context;
use minijinja::value::Serde;

use crate::report::{self, Table, Tile, duration, number, percent};
use crate::search::charts::{Surrogate, history, parallel};
use crate::search::confirm::{confirmed, known};
use crate::search::domain::Domain;
use crate::search::file::SamplerKind;
use crate::search::halving::planned_epochs;
use crate::search::progress::epochs;
use crate::search::results::{command, winners};
use crate::search::study::Study;
use crate::search::trial::{State, Trial};

const TEMPLATE: &str = include_str!("page.html");
/// Where there is no number.
const NONE: &str = "–";
/// Columns of the table of the best.
const BEST: usize = 8;

/// The page of `study`.
pub(crate) fn render(study: &Study) -> Result<String> {
    let trials = study.trials()?;
    let file = &study.space.file;
    let surrogate = Surrogate::new(study, &trials);
    let best = winners(study, &trials, BEST);
    let known = known(study, &trials).filter(|known| best.iter().all(|t| t.number != known.number));
    let columns: Vec<&Trial> = best.iter().copied().chain(known).collect();
    let mut matter = Vec::new();
    if !best.is_empty() {
        matter.push(parallel(study, &trials));
    }
    if let Some(surrogate) = &surrogate {
        matter.push(surrogate.bars(&study.space));
        matter.extend(surrogate.contour(study, &trials));
    }
    let sampler = match file.sampler.kind {
        SamplerKind::Tpe => "tree-structured Parzen estimator",
        SamplerKind::Random => "random search",
        SamplerKind::Grid => "grid",
    };
    report::fill(
        TEMPLATE,
        context! {
            name => study.folder.file_name().map(|name| name.to_string_lossy().into_owned()),
            kind => &file.config,
            sampler,
            seed => file.sampler.seed,
            objectives => study.space.objectives.names().collect::<Vec<_>>().join(" and "),
            tiles => Serde(tiles(study, &trials, &best)?),
            history => Serde(history(study, &trials)),
            matter => Serde(matter),
            parameters => Serde(parameters(study, surrogate.as_ref(), best.first().copied())),
            best => Serde(best_table(study, &columns)?),
            failed => Serde(failed(&trials)),
            command => best.first().map(|trial| command(&study.run(trial))),
            space => file.to_toml()?,
        },
    )
}

fn tiles(study: &Study, trials: &[Trial], best: &[&Trial]) -> Result<Vec<Tile>> {
    let budget = &study.space.file.budget;
    let count = |state| trials.iter().filter(|trial| trial.state == state).count();
    let tile = |name, value, note| Tile { name, value, note };
    let first = best.first();
    let value = |trial: &Trial| trial.values().map(|values| values[0]);
    let name = study.space.objectives.all()[0].0.clone();
    let shown = first.and_then(|trial| value(trial)).map_or(NONE.to_owned(), number);
    let of = first.map_or(String::new(), |t| format!("trial {}, {}", t.number, epochs(t.done())));
    let mut tiles = vec![tile("Best", shown, format!("{name}; {of}"))];
    if let Some(known) = known(study, trials) {
        let shown = value(known).map_or(NONE.to_owned(), number);
        tiles.push(tile("Known", shown, format!("trial 1, {}", epochs(known.done()))));
    }
    let [done, paused, failed] = [State::Complete, State::Paused, State::Failed].map(count);
    let states = format!("{done} complete, {paused} paused, {failed} failed");
    tiles.push(tile("Trials", format!("{} of {}", trials.len(), budget.trials), states));
    let trained: usize = trials.iter().map(Trial::done).sum();
    let planned = format!("about {} planned", planned_epochs(budget, study.space.known.len()));
    tiles.push(tile("Epochs", trained.to_string(), planned));
    let seconds: f64 = trials.iter().map(|trial| trial.seconds).sum();
    tiles.push(tile("Time", duration(seconds), "of training, all processes".to_owned()));
    let seeds = first.map(|trial| confirmed(study, trial)).transpose()?.unwrap_or_default();
    let spread = spread(&seeds, 0).unwrap_or(NONE.to_owned());
    let note = if seeds.is_empty() { "not done: --confirm 3" } else { "the best, other seeds" };
    tiles.push(tile("Confirmed", spread, note.to_owned()));
    Ok(tiles)
}

/// Mean and standard deviation of an objective over seeds.
fn spread(seeds: &[Vec<f64>], objective: usize) -> Option<String> {
    let values: Vec<f64> = seeds.iter().map(|values| values[objective]).collect();
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    match values.len() {
        0 => None,
        1 => Some(number(mean)),
        n => Some(format!("{} ± {}", number(mean), number((squares / (n - 1) as f64).sqrt()))),
    }
}

/// The parameters under the numbers that they have in the charts.
fn parameters(study: &Study, surrogate: Option<&Surrogate>, best: Option<&Trial>) -> Table {
    let head = ["parameter", "range", "importance", "best"];
    let rows = study.space.parameters.iter().enumerate().map(|(at, parameter)| {
        let share = surrogate.map_or(NONE.to_owned(), |s| percent(s.importance[at]));
        let best = best.and_then(|trial| trial.parameters.get(&parameter.key));
        let best = best.map_or(NONE.to_owned(), ToString::to_string);
        let range = range(&parameter.domain);
        vec![format!("{} {}", at + 1, parameter.key), range, share, best]
    });
    Table {
        title: "Parameters".to_owned(),
        head: head.map(str::to_owned).into(),
        rows: rows.collect(),
        note: None,
    }
}

fn range(domain: &Domain) -> String {
    match domain {
        Domain::Real { low, high, log: false } => format!("{low} to {high}"),
        Domain::Real { low, high, log: true } => format!("{low} to {high}, log"),
        Domain::Whole { low, high, .. } => format!("{low} to {high}, whole"),
        Domain::List { values, .. } => {
            values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        }
    }
}

/// A column for each of the best.
fn best_table(study: &Study, best: &[&Trial]) -> Result<Table> {
    let cell = |trial: &Trial, objective: usize| {
        trial.values().map_or(NONE.to_owned(), |values| number(values[objective]))
    };
    let row = |name: &str, cells: &dyn Fn(&Trial) -> String| -> Vec<String> {
        let cells = best.iter().map(|trial| cells(trial));
        [name.to_owned()].into_iter().chain(cells).collect()
    };
    let mut rows = Vec::new();
    for (objective, name) in study.space.objectives.names().enumerate() {
        rows.push(row(name, &|trial| cell(trial, objective)));
        let seeds = best.iter().map(|trial| confirmed(study, trial));
        let seeds = seeds.collect::<Result<Vec<_>>>()?;
        if seeds.iter().any(|seeds| !seeds.is_empty()) {
            let cells = seeds.iter().map(|seeds| {
                spread(seeds, objective)
                    .map_or(NONE.to_owned(), |s| format!("{s} ({})", seeds.len()))
            });
            rows.push(["other seeds".to_owned()].into_iter().chain(cells).collect());
        }
    }
    rows.push(row("epochs", &|trial| trial.done().to_string()));
    rows.push(row("time", &|trial| duration(trial.seconds)));
    for parameter in &study.space.parameters {
        rows.push(row(&parameter.key, &|trial| {
            trial.parameters.get(&parameter.key).map_or(NONE.to_owned(), ToString::to_string)
        }));
    }
    let numbers = best.iter().map(|trial| format!("trial {}", trial.number));
    Ok(Table {
        title: "Best configurations".to_owned(),
        head: [String::new()].into_iter().chain(numbers).collect(),
        rows,
        note: Some("other seeds: mean ± standard deviation (number of seeds)".to_owned()),
    })
}

fn failed(trials: &[Trial]) -> Table {
    let failed = trials.iter().filter(|trial| trial.state == State::Failed);
    let rows = failed.map(|trial| {
        let reason = trial.reason.clone().unwrap_or_default();
        vec![trial.number.to_string(), trial.done().to_string(), reason]
    });
    Table {
        title: "Failed trials".to_owned(),
        head: ["trial", "epochs", "reason"].map(str::to_owned).into(),
        rows: rows.collect(),
        note: None,
    }
}
