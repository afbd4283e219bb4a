//! `hvae runs`.

use anyhow::Result;

use crate::cli::runs::RunsArgs;
use crate::run::metrics::EpochMetrics;
use crate::run::summary;
use crate::run::summary::Summary;
use hvae_runtime::terminal;

pub(super) fn run(args: &RunsArgs) -> Result<()> {
    let (runs, broken) = summary::all(&args.runs)?;
    for problem in &broken {
        terminal::warning(problem);
    }
    if args.json {
        for run in &runs {
            terminal::result(&run.to_json()?.to_string());
        }
        return Ok(());
    }
    if runs.is_empty() {
        terminal::line(&format!("no runs in {}; `hvae train` makes one", args.runs.display()));
        return Ok(());
    }
    let head = ["run", "dataset", "epochs", "train", "test", "KL", "ELBO", "seconds"];
    let mut table: Vec<Vec<String>> = vec![head.map(str::to_owned).to_vec()];
    table.extend(runs.iter().map(row));
    let width = |column: usize| table.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..head.len()).map(|column| width(column).unwrap_or(0)).collect();
    for row in &table {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
            if column < 2 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        terminal::result(cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    Ok(())
}

fn row(run: &Summary) -> Vec<String> {
    let number = |digits: usize, metric: fn(&EpochMetrics) -> Option<f64>| {
        run.last(metric).map_or("-".to_owned(), |x| format!("{x:.digits$}"))
    };
    // Said where it is not what the column says.
    let watched = run.config.data.watched();
    let told = |loss: String| if watched == "test" { loss } else { format!("{loss} ({watched})") };
    vec![
        run.path.clone(),
        run.config.data.dataset.to_string(),
        format!("{}/{}", run.done(), run.config.training.epochs),
        number(2, |epoch| Some(epoch.train.reconstruction_error)),
        told(number(2, |epoch| Some(epoch.test?.reconstruction_error))),
        number(2, |epoch| Some(epoch.test?.divergence)),
        number(1, |epoch| Some(epoch.test?.elbo)),
        format!("{:.0}", run.seconds()),
    ]
}
