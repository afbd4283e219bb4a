mod protocol;
mod table;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use burn::tensor::Device;
use clap::Args;
use hvae_data::images::Images;
use hvae_model::Kind;
use hvae_runtime::{files, interrupt, terminal};

use crate::api::train::{RunRequest, check_every, resume, start};
use crate::api::trained::Trained;
use crate::cli::new_run::Target;
use crate::cli::scoring::ScoreArgs;
use crate::cli::values::count;
use crate::commands::context::{Context, Ended, Run};
use crate::commands::eval::score;
use crate::commands::output::write_json;
use crate::config::{Changes, RunConfig};
use crate::figures::plot;
use crate::run::dir::{CheckpointChoice, RunDir};
use crate::run::metrics::{PhaseMeans, PhaseStats};
use crate::run::summary::Summary;
use crate::training::Finished;

use protocol::Basis;
use table::Row;

/// Train or load a model of each kind and compare their scores
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae compare                                     train all five kinds, then score them
  hvae compare --epochs 1 --count 1000             a quick comparison
  hvae compare checkpoints/f-vae-001 checkpoints/th-vae-001
  hvae compare --features inception --out results

Without runs it trains compare-f-vae, compare-h-vae, ... with the presets of their kinds. Runs of
these names that exist already are resumed if they have the same settings, apart from epochs. The
table goes to stdout and, as Markdown, CSV and JSON with a figure, to --out. Free and nudged sweeps
are means per image, encoder and decoder together.

Runs that are tested on different images are refused. Runs that differ in likelihood, number of test
images or training images are compared, with a warning.")]
pub struct Compare {
    /// Runs to compare [default: one of each kind, trained now]
    #[arg(value_name = "RUN")]
    names: Vec<PathBuf>,
    /// Folder for the runs that are trained
    #[arg(long, value_name = "DIR", default_value = "checkpoints", conflicts_with = "names")]
    runs: PathBuf,
    /// Epochs of the runs that are trained [default: as in their presets]
    #[arg(long, value_name = "N", value_parser = count(1..=10_000_000), conflicts_with = "names")]
    epochs: Option<usize>,
    /// Change one key of the configuration of all runs that are trained
    #[arg(long, value_name = "SECTION.KEY=VALUE", conflicts_with = "names")]
    set: Vec<String>,
    /// Folder for table and figure
    #[arg(long, value_name = "DIR", default_value = "compare")]
    out: PathBuf,
    /// Sizes of the estimates
    #[command(flatten)]
    scores: ScoreArgs,
}

/// Seed of all samples that are scored.
const SEED: u64 = 0;

struct Compared {
    path: PathBuf,
    summary: Summary,
    test: Images,
}

impl Run for Compare {
    fn run(self, cx: &Context) -> Result<Ended> {
        // Before hours of work; the folder itself is made once the runs are known to be comparable.
        files::require_writable(&self.out.join("compare.json"))?;
        let Some(paths) = self.paths(cx)? else { return Ok(Ended::Interrupted) };
        let (runs, differences) = open(paths, cx)?;
        files::require_writable_folder(&self.out)?;
        // Trained runs are kept, scores are not: an interrupt can end the process at once.
        interrupt::end_at_once();
        let mut rows = Vec::new();
        for (number, run) in runs.iter().enumerate() {
            let shown = run.path.display();
            terminal::line(&format!("scoring {shown} ({} of {})", number + 1, runs.len()));
            rows.push(self.row(run, &runs, cx)?);
        }
        self.write(&rows, &runs, &differences)?;
        Ok(Ended::Done)
    }
}

impl Compare {
    /// The runs that the user named, or else one of each kind, trained now; `None` if interrupted.
    fn paths(&self, cx: &Context) -> Result<Option<Vec<PathBuf>>> {
        if !self.names.is_empty() {
            return Ok(Some(self.names.clone()));
        }
        let mut paths = Vec::new();
        for kind in Kind::ALL {
            let path = self.path(kind);
            if start(self.request(kind, &path, cx)?, &cx.global)? == Finished::Interrupted {
                terminal::line("the same `hvae compare` command continues from here");
                return Ok(None);
            }
            paths.push(path);
        }
        Ok(Some(paths))
    }

    fn path(&self, kind: Kind) -> PathBuf {
        self.runs.join(format!("compare-{}", kind.name()))
    }

    /// A new run of `kind`, or the existing one.
    fn request(&self, kind: Kind, path: &Path, cx: &Context) -> Result<RunRequest> {
        let device = cx.device()?;
        let config = self.config(kind, device)?;
        if path.is_dir() {
            require_same_settings(path, &config)?;
            let (target, config) = resume(path, Some(config.training.epochs), None)?;
            return Ok(RunRequest::new(config, target, device));
        }
        RunDir::require_new(path)?;
        Ok(RunRequest::new(config, Target::New(path.to_owned()), device))
    }

    fn config(&self, kind: Kind, device: &Device) -> Result<RunConfig> {
        let flags = |config: &mut RunConfig| {
            config.training.epochs = self.epochs.unwrap_or(config.training.epochs);
        };
        let changes = Changes {
            check_every: check_every(device),
            set: &self.set,
            kind: Some(kind),
            flags: Some(&flags),
        };
        RunConfig::resolve_with(None, &changes)
    }

    /// The metrics and scores of `run`, one of `runs`.
    fn row(&self, run: &Compared, runs: &[Compared], cx: &Context) -> Result<Row> {
        let trained = Trained::load(&run.path, CheckpointChoice::Latest, cx.device()?)?;
        let scores = score(&trained, &run.test, &self.scores, SEED, cx)?;
        let summary = &run.summary;
        let sweeps = |phases: fn(&PhaseMeans) -> [&Option<PhaseStats>; 2]| {
            let of = |phase: &Option<PhaseStats>| Some(phase.as_ref()?.sweeps);
            summary.last(|epoch| {
                let [encoder, decoder] = phases(&epoch.phases).map(of);
                Some(encoder? + decoder?)
            })
        };
        Ok(Row {
            model: label(trained.config.model.kind, &run.path, runs),
            run: run.path.clone(),
            parameters: trained.model.parameters(),
            epochs: summary.done(),
            seconds: summary.seconds(),
            free_sweeps: sweeps(|phases| [&phases.encoder_free, &phases.decoder_free]),
            nudged_sweeps: sweeps(|phases| [&phases.encoder_nudged, &phases.decoder_nudged]),
            gradient_cosine: summary.last(|epoch| Some(epoch.gradient_check?.cosine)),
            scores,
        })
    }

    fn write(&self, rows: &[Row], runs: &[Compared], differences: &[String]) -> Result<()> {
        let markdown = table::markdown(rows, differences);
        terminal::result(&markdown);
        let write = |name: &str, text: &str| files::write(&self.out.join(name), text);
        write("compare.md", &markdown)?;
        write("compare.csv", &table::csv(rows))?;
        write_json(&self.out.join("compare.json"), &rows)?;
        let summaries: Vec<&Summary> = runs.iter().map(|run| &run.summary).collect();
        plot::save(&table::figure(rows, &summaries), &self.out, "compare")?;
        terminal::line(&format!("written to {}", self.out.display()));
        Ok(())
    }
}

/// The runs in these folders, and how they differ in what scores depend on.
fn open(paths: Vec<PathBuf>, cx: &Context) -> Result<(Vec<Compared>, Vec<String>)> {
    for (number, path) in paths.iter().enumerate() {
        let place = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let same = |other: &PathBuf| place(other) == place(path);
        ensure!(!paths[..number].iter().any(same), "{} is named twice", path.display());
    }
    let (mut runs, mut bases) = (Vec::new(), Vec::new());
    for path in paths {
        let run = RunDir::open(&path)?;
        let summary = Summary::of(&run)?;
        let (basis, test) = Basis::of(&run, &summary.config, cx)?;
        bases.push(basis);
        runs.push(Compared { path, summary, test });
    }
    let differences = protocol::differences(&bases)?;
    for difference in &differences {
        terminal::warning(difference);
    }
    Ok((runs, differences))
}

/// Refuses to resume a run with other settings than `wanted`, or with more epochs.
fn require_same_settings(path: &Path, wanted: &RunConfig) -> Result<()> {
    let found = RunDir::open(path)?.config()?;
    let (shown, epochs) = (path.display(), found.training.epochs);
    let advice = "move it away, or give another folder with --runs";
    if epochs > wanted.training.epochs {
        bail!("{shown} has {epochs} epochs, more than {}: {advice}", wanted.training.epochs);
    }
    let mut same = found;
    same.training.epochs = wanted.training.epochs;
    if same != *wanted {
        let change = wanted.change_since(&same)?.map_or(String::new(), |c| format!(", {c}"));
        bail!("{shown} was trained with other settings{change}: {advice}");
    }
    Ok(())
}

/// The kind of a run, with its name if others are of the same kind.
fn label(kind: Kind, path: &Path, runs: &[Compared]) -> String {
    let alike = runs.iter().filter(|run| run.summary.config.model.kind == kind).count();
    match path.file_name() {
        Some(name) if alike > 1 => format!("{} ({})", kind.name(), name.to_string_lossy()),
        _ => kind.name().to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        compare: Compare,
    }

    #[test]
    fn a_run_with_the_same_settings_is_resumed() {
        let root = tempfile::tempdir().unwrap();
        let runs = root.path().display().to_string();
        let line = ["compare", "--runs", &runs, "--set", "model.latent=4", "--epochs", "3"];
        let compare = Line::try_parse_from(line).unwrap().compare;
        for kind in Kind::ALL {
            let wanted = compare.config(kind, &Device::flex()).unwrap();
            assert_eq!((wanted.model.kind, wanted.training.epochs), (kind, 3));
            let path = compare.path(kind);
            let mut config = wanted.clone();
            config.training.epochs = 2;
            RunDir::create(&path, &config).unwrap();
            require_same_settings(&path, &wanted).unwrap();
            config.training.epochs = 1;
            let message = require_same_settings(&path, &config).unwrap_err().to_string();
            assert!(message.contains("2 epochs, more than 1"), "{message}");
            let other = RunConfig::resolve(None, &["model.latent=5".to_owned()]).unwrap();
            let message = require_same_settings(&path, &other).unwrap_err().to_string();
            assert!(message.contains("= "), "{message}");
        }
    }
}
