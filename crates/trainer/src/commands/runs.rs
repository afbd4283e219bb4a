use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use hvae_runtime::terminal;

use crate::commands::context::{Context, Ended, Run};
use crate::run::metrics::EpochMetrics;
use crate::run::summary::{self, Summary};

/// List the runs with their last metrics
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae runs
  hvae runs --runs elsewhere --json

Columns: epochs trained and configured; train and test reconstruction error, KL divergence and ELBO
of the last epoch; total seconds.")]
pub struct Runs {
    /// Folder that holds the runs
    #[arg(long, value_name = "DIR", default_value = "checkpoints")]
    runs: PathBuf,
    /// Print one JSON object per line instead of a table
    #[arg(long)]
    json: bool,
}

const HEADINGS: [&str; 8] = ["run", "dataset", "epochs", "train", "test", "KL", "ELBO", "seconds"];
/// Columns of text, aligned to the left.
const TEXTS: usize = 2;

impl Run for Runs {
    fn run(self, _: &Context) -> Result<Ended> {
        let (runs, broken) = summary::all(&self.runs)?;
        for problem in &broken {
            terminal::warning(problem);
        }
        if self.json {
            for run in &runs {
                terminal::result(&run.to_json()?.to_string());
            }
        } else if runs.is_empty() {
            let folder = self.runs.display();
            terminal::line(&format!("no runs in {folder}; `hvae train` creates one"));
        } else {
            print(&runs);
        }
        Ok(Ended::Done)
    }
}

fn print(runs: &[Summary]) {
    let mut table = vec![HEADINGS.map(str::to_owned)];
    table.extend(runs.iter().map(row));
    let width = |column: usize| table.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..HEADINGS.len()).map(|c| width(c).unwrap_or(0)).collect();
    for row in &table {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
            if column < TEXTS { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        terminal::result(cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

fn row(run: &Summary) -> [String; HEADINGS.len()] {
    let number = |digits: usize, metric: fn(&EpochMetrics) -> Option<f64>| {
        run.last(metric).map_or("-".to_owned(), |x| format!("{x:.digits$}"))
    };
    // Named where it is not what the column says.
    let validation = run.config.data.monitor();
    let test = number(2, |epoch| Some(epoch.test?.reconstruction_error));
    [
        run.path.clone(),
        run.config.data.dataset.to_string(),
        format!("{}/{}", run.done(), run.config.training.epochs),
        number(2, |epoch| Some(epoch.train.reconstruction_error)),
        if validation == "test" { test } else { format!("{test} ({validation})") },
        number(2, |epoch| Some(epoch.test?.divergence)),
        number(1, |epoch| Some(epoch.test?.elbo)),
        format!("{:.0}", run.seconds()),
    ]
}
