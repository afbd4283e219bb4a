mod plot;

use std::cmp::Ordering;
use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};
use hvae_runtime::terminal;
use serde_json::Value;

use crate::commands::context::{Context, Ended, Run};
use crate::commands::output::JsonArgs;
use crate::run::metrics::EpochMetrics;
use crate::run::summary::{self, Summary};

/// List the runs with their last metrics, or plot the curves of some
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae runs
  hvae runs --sort elbo
  hvae runs --runs elsewhere --json
  hvae runs --plot checkpoints/h-vae-001 checkpoints/th-vae-001 --out curves.png

Columns: epochs trained and configured; seed and learning rate; train and test reconstruction error,
KL divergence and ELBO of the last epoch; FID of samples of the prior, if `hvae eval` was run; total
seconds. The train error is a mean over the epoch with the weights of each step, the others are
measured after it with the averaged weights (training.ema_decay). With --json each run is one line.")]
#[allow(clippy::struct_field_names, reason = "fields are named like their flags")]
pub struct Runs {
    /// Folder that holds the runs
    #[arg(long, value_name = "DIR", default_value = "checkpoints")]
    runs: PathBuf,
    /// Order of the runs: by name, or from the best; runs without the number are last
    #[arg(long, value_enum, default_value_t = Sort::Name, value_name = "COLUMN")]
    sort: Sort,
    /// Instead, draw the losses of these runs against the epochs
    #[arg(long, value_name = "RUN", num_args = 1..)]
    plot: Vec<PathBuf>,
    /// Output of --plot: a .png; the same as .svg is written beside it
    #[arg(long, value_name = "FILE", default_value = "runs.png", requires = "plot", value_parser = crate::cli::values::file(&["png"]))]
    out: PathBuf,
    #[command(flatten)]
    json: JsonArgs,
}

/// What runs are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Sort {
    Name,
    Seed,
    Rate,
    Epochs,
    Train,
    Test,
    Kl,
    Elbo,
    Fid,
    Seconds,
}

const HEADINGS: [&str; 11] =
    ["run", "dataset", "epochs", "seed", "rate", "train", "test", "KL", "ELBO", "FID", "seconds"];
/// Columns of text, aligned to the left.
const TEXTS: usize = 2;

impl Run for Runs {
    fn run(self, _: &Context) -> Result<Ended> {
        self.json.require()?;
        if !self.plot.is_empty() {
            plot::draw(&self.plot, &self.out)?;
            return Ok(Ended::Done);
        }
        let (mut runs, broken) = summary::all(&self.runs)?;
        for problem in &broken {
            terminal::warning(problem);
        }
        runs.sort_by(|a, b| self.sort.compare(a, b));
        if runs.is_empty() {
            let folder = self.runs.display();
            terminal::line(&format!("no runs in {folder}; `hvae train` creates one"));
        } else {
            print(&runs);
        }
        let line = |run: &Summary| Ok(run.to_json()?.to_string() + "\n");
        self.json.write_text(&runs.iter().map(line).collect::<Result<String>>()?)?;
        Ok(Ended::Done)
    }
}

impl Sort {
    /// The number of a run to sort by; the lower, the earlier.
    fn number(self, run: &Summary) -> Option<f64> {
        let last = |metric: fn(&EpochMetrics) -> Option<f64>| run.last(metric);
        match self {
            Self::Name => None,
            Self::Seed => Some(run.config.training.seed as f64),
            Self::Rate => Some(run.config.training.learning_rate),
            Self::Epochs => Some(-(run.done() as f64)),
            Self::Train => last(|epoch| Some(epoch.train.reconstruction_error)),
            Self::Test => last(|epoch| Some(epoch.test?.reconstruction_error)),
            Self::Kl => last(|epoch| Some(epoch.test?.divergence)),
            Self::Elbo => last(|epoch| Some(-epoch.test?.elbo)),
            Self::Fid => run.fid(),
            Self::Seconds => Some(run.seconds()),
        }
    }

    fn compare(self, a: &Summary, b: &Summary) -> Ordering {
        let key = |run: &Summary| self.number(run).unwrap_or(f64::INFINITY);
        key(a).total_cmp(&key(b)).then_with(|| a.path.cmp(&b.path))
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
    let shown = |digits: usize, x: Option<f64>| x.map_or("-".into(), |x| format!("{x:.digits$}"));
    let number = |digits, metric: fn(&EpochMetrics) -> Option<f64>| shown(digits, run.last(metric));
    // Named where it is not what the column says.
    let validation = run.config.data.monitor();
    let test = number(2, |epoch| Some(epoch.test?.reconstruction_error));
    let training = &run.config.training;
    [
        run.path.clone(),
        run.config.data.dataset.to_string(),
        format!("{}/{}", run.done(), training.epochs),
        training.seed.to_string(),
        Value::from(training.learning_rate).to_string(),
        number(2, |epoch| Some(epoch.train.reconstruction_error)),
        if validation == "test" { test } else { format!("{test} ({validation})") },
        number(2, |epoch| Some(epoch.test?.divergence)),
        number(1, |epoch| Some(epoch.test?.elbo)),
        shown(2, run.fid()),
        format!("{:.0}", run.seconds()),
    ]
}
