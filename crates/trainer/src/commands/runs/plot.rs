//! The curves of several runs in one picture.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use hvae_runtime::{files, terminal};

use crate::commands::output::require;
use crate::figures::plot::{self, Figure, Legend, Mark, Panel, Scale, Series, colour};
use crate::run::dir::RunDir;
use crate::run::metrics::{EpochMetrics, MeanLosses};
use crate::run::summary::Summary;

/// One of the losses.
type Loss = fn(&MeanLosses) -> f64;

/// Draws the losses of `runs` into the picture `out`, and as SVG beside it.
pub(super) fn draw(runs: &[PathBuf], out: &Path) -> Result<()> {
    let vector = out.with_extension("svg");
    [out, &vector].into_iter().try_for_each(require)?;
    let runs = runs.iter().map(|path| Summary::of(&RunDir::open(path)?));
    let runs = runs.collect::<Result<Vec<_>>>()?;
    let finished = runs.iter().any(|run| run.done() > 0);
    ensure!(finished, "no run has finished an epoch: there is nothing to draw");
    let stem = out.file_stem().unwrap_or_default().to_string_lossy();
    plot::save(&figure(&runs), files::parent_of(out), &stem)?;
    terminal::result(&out.display().to_string());
    Ok(())
}

fn figure(runs: &[Summary]) -> Figure {
    let losses: [(&str, &'static str, Loss); 3] = [
        ("Evidence lower bound", "ELBO, nats", |losses| losses.elbo),
        ("Reconstruction error", "squared error per image", |losses| losses.reconstruction_error),
        ("KL divergence", "KL, nats", |losses| losses.divergence),
    ];
    let panels = losses.map(|(title, axis, loss)| panel(runs, title, axis, loss));
    Figure { title: String::new(), columns: 3, panels: panels.into() }
}

fn panel(runs: &[Summary], title: &str, axis: &'static str, loss: fn(&MeanLosses) -> f64) -> Panel {
    let curve = |(run, colour): (&Summary, _)| {
        let point = |epoch: &EpochMetrics| Some([epoch.epoch as f64, loss(epoch.test.as_ref()?)]);
        let points = run.epochs.iter().filter_map(point);
        Series::new(&run.path, colour, Mark::Line, points)
    };
    Panel {
        title: format!("{title} after each epoch"),
        x: Scale::linear("epoch").whole(),
        y: Scale::linear(axis),
        series: runs.iter().zip(colour::ALL.into_iter().cycle()).map(curve).collect(),
        legend: Legend::Free,
        ..Panel::default()
    }
}
