//! `hvae compare`.

mod protocol;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use burn::tensor::Device;
use clap::Parser;
use hvae_model::Kind;
use serde_json::{Value, json};

use crate::cli::runs::CompareArgs;
use crate::cli::{Cli, Command, Global, TrainArgs};
use crate::config::RunConfig;
use crate::figures::plot;
use crate::figures::plot::{Figure, Legend, Mark, Panel, Scale, Series, colour};
use crate::run::metrics::EpochMetrics;
use crate::run::summary::Summary;
use crate::run::{RunDir, Which};
use hvae_runtime::{files, interrupt, terminal};

use crate::commands::{Ended, eval, load, train};
use protocol::Basis;

/// Seed of all that is drawn to score.
const SEED: u64 = 0;

/// The columns: heading, where the number stands in a row's JSON, digits after the point.
const COLUMNS: [(&str, &str, usize); 12] = [
    ("parameters", "/parameters", 0),
    ("epochs", "/epochs", 0),
    ("seconds", "/seconds", 0),
    ("free sweeps", "/free_sweeps", 1),
    ("nudged sweeps", "/nudged_sweeps", 1),
    ("reconstruction", "/scores/reconstruction_error", 2),
    ("KL", "/scores/kl", 1),
    ("ELBO", "/scores/elbo", 1),
    ("NLL", "/scores/likelihood/nll/mean", 1),
    ("FID prior", "/scores/prior/fid", 2),
    ("FID mixture", "/scores/mixture/fid", 2),
    ("gradient cosine", "/gradient_cosine", 4),
];

pub(super) fn run(args: &CompareArgs, global: &Global, device: &Device) -> Result<Ended> {
    // Before hours of work, not after; the folder itself is made when all is known to fit.
    files::require_writable(&args.out.join("compare.json"))?;
    let paths = if args.names.is_empty() {
        match train_all(args, global, device)? {
            Some(runs) => runs,
            None => return Ok(Ended::Interrupted),
        }
    } else {
        args.names.clone()
    };
    for (number, path) in paths.iter().enumerate() {
        let place = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let same = |other: &PathBuf| place(other) == place(path);
        ensure!(!paths[..number].iter().any(same), "{} is named twice", path.display());
    }
    // Before the work, so that what cannot be compared costs none.
    let runs: Vec<RunDir> = paths.iter().map(|path| RunDir::open(path)).collect::<Result<_>>()?;
    let summaries: Vec<Summary> = runs.iter().map(Summary::of).collect::<Result<_>>()?;
    let each = runs.iter().zip(&summaries);
    let bases = each.map(|(run, summary)| Basis::of(run, &summary.config, global, device));
    let differences = protocol::differences(&bases.collect::<Result<Vec<_>>>()?)?;
    for difference in &differences {
        terminal::warning(difference);
    }
    files::require_writable_folder(&args.out)?;
    // Scores are not kept piecemeal; the runs are.
    interrupt::end_at_once();
    let mut rows = Vec::new();
    for (number, (path, summary)) in paths.iter().zip(&summaries).enumerate() {
        terminal::line(&format!("scoring {} ({} of {})", path.display(), number + 1, paths.len()));
        rows.push(row(args, path, summary, &summaries, global, device)?);
    }
    let table = markdown(&rows, &differences);
    terminal::result(&table);
    let write = |name: &str, text: &str| files::write(&args.out.join(name), text);
    write("compare.md", &table)?;
    write("compare.csv", &csv(&rows))?;
    write("compare.json", &(serde_json::to_string_pretty(&rows)? + "\n"))?;
    plot::save(&figure(&rows, &summaries), &args.out, "compare")?;
    terminal::line(&format!("written to {}", args.out.display()));
    Ok(Ended::Done)
}

/// Trains one model of each kind, each under its own preset, or goes on with those that are there.
fn train_all(args: &CompareArgs, global: &Global, device: &Device) -> Result<Option<Vec<PathBuf>>> {
    let mut runs = Vec::new();
    for kind in Kind::ALL {
        let path = args.runs.join(run_name(kind));
        let (mut train, wanted) = wanted(args, kind, hvae_device::is_host(device))?;
        if path.is_dir() {
            same_settings(&path, &wanted)?;
            train = training(vec![
                "--resume".to_owned(),
                path.display().to_string(),
                format!("--epochs={}", wanted.training.epochs),
            ])?;
        }
        if train::run(&train, global, device.clone())? == Ended::Interrupted {
            terminal::line("`hvae compare` with the same arguments goes on from here");
            return Ok(None);
        }
        runs.push(path);
    }
    Ok(Some(runs))
}

fn run_name(kind: Kind) -> String {
    format!("compare-{}", kind.name())
}

/// The arguments of `hvae train` with which the run of a kind begins.
fn new_run(args: &CompareArgs, kind: Kind) -> Vec<String> {
    let folder = args.runs.display().to_string();
    let mut line = vec!["--runs".to_owned(), folder, "--name".to_owned(), run_name(kind)];
    line.extend(["--model".to_owned(), kind.name().to_owned()]);
    line.extend(args.set.iter().map(|set| format!("--set={set}")));
    line.extend(args.epochs.map(|epochs| format!("--epochs={epochs}")));
    line
}

/// How the run of a kind begins, and the configuration that it has then.
fn wanted(args: &CompareArgs, kind: Kind, host: bool) -> Result<(Box<TrainArgs>, RunConfig)> {
    let begin = training(new_run(args, kind))?;
    let config = train::configuration(&begin, host)?;
    Ok((begin, config))
}

fn training(arguments: Vec<String>) -> Result<Box<TrainArgs>> {
    let line = ["hvae".to_owned(), "train".to_owned()].into_iter().chain(arguments);
    match Cli::try_parse_from(line)?.command {
        Command::Train(train) => Ok(train),
        _ => bail!("`hvae train` is another command"),
    }
}

/// Refuses to go on with a run of other settings than `wanted`, or of more epochs.
fn same_settings(path: &Path, wanted: &RunConfig) -> Result<()> {
    let found = RunDir::open(path)?.config()?;
    let (shown, there) = (path.display(), found.training.epochs);
    let advice = "move it away, or give another folder with --runs";
    if there > wanted.training.epochs {
        bail!("{shown} has {there} epochs, {} are asked for: {advice}", wanted.training.epochs);
    }
    let mut same = found;
    same.training.epochs = wanted.training.epochs;
    if same.to_toml()? != wanted.to_toml()? {
        let change = wanted.change_since(&same)?.map_or(String::new(), |c| format!(", {c}"));
        bail!("{shown} was trained under other settings than are asked for{change}: {advice}");
    }
    Ok(())
}

/// What is known of one run: of its training, and its scores.
fn row(
    args: &CompareArgs,
    path: &PathBuf,
    summary: &Summary,
    summaries: &[Summary],
    global: &Global,
    device: &Device,
) -> Result<Value> {
    let trained = load(path, Which::Latest, device)?;
    let scores = eval::score(&trained, &args.scores, SEED, global, device)?;
    let free = summary.last(|epoch| {
        let phases = &epoch.phases;
        Some(phases.encoder_free.as_ref()?.sweeps + phases.decoder_free.as_ref()?.sweeps)
    });
    let nudged = summary.last(|epoch| {
        let phases = &epoch.phases;
        Some(phases.encoder_nudged.as_ref()?.sweeps + phases.decoder_nudged.as_ref()?.sweeps)
    });
    Ok(json!({
        "model": label(trained.config.model.kind, path, summaries),
        "run": path,
        "parameters": trained.model.parameters(),
        "epochs": summary.done(),
        "seconds": summary.seconds(),
        "free_sweeps": free,
        "nudged_sweeps": nudged,
        "gradient_cosine": summary.last(|epoch| Some(epoch.gradient_check?.cosine)),
        "scores": scores,
    }))
}

/// The kind of a run, with its name where others are of the same kind.
fn label(kind: Kind, run: &Path, summaries: &[Summary]) -> String {
    let alike = summaries.iter().filter(|s| s.config.model.kind == kind).count();
    match run.file_name() {
        Some(name) if alike > 1 => format!("{} ({})", kind.name(), name.to_string_lossy()),
        _ => kind.name().to_owned(),
    }
}

/// The number of a column as a row shows it.
fn cell(row: &Value, pointer: &str, digits: usize) -> String {
    let number = row.pointer(pointer).and_then(Value::as_f64);
    number.map_or(String::new(), |x| format!("{x:.digits$}"))
}

fn name(row: &Value) -> &str {
    text(&row["model"])
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn markdown(rows: &[Value], differences: &[String]) -> String {
    let headings = COLUMNS.map(|(heading, ..)| heading);
    let mut lines = vec![
        format!("| model | {} |", headings.join(" | ")),
        format!("|---|{}", "---|".repeat(COLUMNS.len())),
    ];
    lines.extend(rows.iter().map(|row| {
        let cells = COLUMNS.map(|(_, pointer, digits)| cell(row, pointer, digits));
        format!("| {} | {} |", name(row), cells.join(" | "))
    }));
    lines.push(String::new());
    for (what, key) in [
        ("Reconstruction, KL, ELBO", "loss_protocol"),
        ("NLL", "likelihood_protocol"),
        ("FID", "distance_protocol"),
    ] {
        let texts =
            rows.iter().map(|row| (text(&row["run"]), text(&row["scores"][key]).to_owned()));
        lines.extend(protocol::lines(what, texts).into_iter().map(|line| line + "\n"));
    }
    lines.extend(differences.iter().map(|difference| format!("Note: {difference}\n")));
    lines.join("\n")
}

fn csv(rows: &[Value]) -> String {
    let headings = COLUMNS.map(|(heading, ..)| heading.replace(' ', "_"));
    let mut lines = vec![format!("model,{}", headings.join(","))];
    lines.extend(rows.iter().map(|row| {
        let cells = COLUMNS.map(|(_, pointer, digits)| match digits {
            0 => cell(row, pointer, 0),
            _ => cell(row, pointer, 6),
        });
        format!("{},{}", name(row), cells.join(","))
    }));
    lines.join("\n") + "\n"
}

/// The ELBO over the epochs, and the final distances.
fn figure(rows: &[Value], summaries: &[Summary]) -> Figure {
    let colours = [colour::GREY, colour::BLUE, colour::GREEN, colour::VERMILION, colour::PURPLE];
    let series = |i: usize, mark, points| Series {
        name: name(&rows[i]).to_owned(),
        colour: colours[i % colours.len()],
        mark,
        points,
    };
    let elbo = summaries.iter().enumerate().map(|(i, summary)| {
        let point = |epoch: &EpochMetrics| Some([epoch.epoch as f64, epoch.test?.elbo, 1.0]);
        series(i, Mark::Line, summary.epochs.iter().filter_map(point).collect())
    });
    let bars = |of: &str| {
        let height = move |row: &Value| row["scores"][of]["fid"].as_f64();
        let bar = move |(i, row): (usize, &Value)| {
            height(row).map(|y| series(i, Mark::Bars, vec![[i as f64 + 1.0, y, 0.7]]))
        };
        rows.iter().enumerate().filter_map(bar).collect::<Vec<_>>()
    };
    let scale = |name| Scale { name, ..Scale::default() };
    let names: Vec<String> = rows.iter().map(|row| name(row).to_owned()).collect();
    let distance = |title: &str, of| {
        let series = bars(of);
        let highest = series.iter().map(|s| s.points[0][1]).fold(0.0, f64::max);
        let (ends, heights) = ((0.5, rows.len() as f64 + 0.5), (0.0, 1.1 * highest.max(1e-6)));
        Panel {
            title: title.to_owned(),
            x: Scale { limits: Some(ends), names: names.clone(), ..scale("") },
            y: Scale { limits: Some(heights), ..scale("FID") },
            series,
            legend: Legend::None,
            ..Panel::default()
        }
    };
    let curves = Panel {
        title: "Evidence lower bound".to_owned(),
        x: Scale { whole: true, ..scale("epoch") },
        y: scale("ELBO after each epoch, nats"),
        series: elbo.collect(),
        legend: Legend::LowerRight,
        ..Panel::default()
    };
    let panels = vec![
        curves,
        distance("Samples of the prior", "prior"),
        distance("Samples of the mixture", "mixture"),
    ];
    Figure { title: "Models compared".to_owned(), columns: 3, panels }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use super::*;

    /// On every device, whose usual settings differ.
    #[test]
    fn a_run_that_was_begun_is_gone_on_with() {
        let root = tempfile::tempdir().unwrap();
        for host in [true, false] {
            let runs = root.path().join(host.to_string()).display().to_string();
            let line = ["hvae", "compare", "--runs", &runs, "--set", "model.latent=4"];
            let Command::Compare(args) = Cli::try_parse_from(line).unwrap().command else {
                panic!("another command")
            };
            for kind in Kind::ALL {
                // As `hvae train` begins it.
                let begun = training(new_run(&args, kind)).unwrap();
                let config = train::configuration(&begun, host).unwrap();
                let every = if host { 1 } else { crate::training::phases::DEFERRED_CHECK_EVERY };
                assert_eq!((config.model.kind, config.ep.check_every), (kind, every));
                let path = args.runs.join(run_name(kind));
                RunDir::create(&path, &config).unwrap();
                let wanted = wanted(&args, kind, host).unwrap().1;
                same_settings(&path, &wanted).unwrap();
                let other = RunConfig::resolve(None, &["model.latent=5".to_owned()]).unwrap();
                let message = same_settings(&path, &other).unwrap_err().to_string();
                assert!(message.contains("= "), "{message}");
            }
        }
    }
}
