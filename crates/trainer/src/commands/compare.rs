mod protocol;
mod seeds;
mod table;

use std::path::{Path, PathBuf};

use anyhow::{Error, Result, bail, ensure};
use burn::tensor::Device;
use clap::Args;
use hvae_data::images::Images;
use hvae_model::Kind;
use hvae_runtime::{files, interrupt, terminal};
use serde_json::json;

use crate::api::train::{Resumed, RunRequest, check_every, resume, start};
use crate::api::trained::Trained;
use crate::cli::new_run::Target;
use crate::cli::scoring::ScoreArgs;
use crate::cli::values::count;
use crate::commands::context::{Context, Ended, Run};
use crate::commands::eval::score;
use crate::commands::output::{JsonArgs, write_json};
use crate::config::{Changes, RunConfig};
use crate::figures::plot;
use crate::run::choice::CheckpointChoice;
use crate::run::dir::RunDir;
use crate::run::metrics::{PhaseMeans, PhaseStats};
use crate::run::summary::{self, Summary};
use crate::training::Finished;

use protocol::Basis;
use table::Row;

/// Compare the scores of runs, or of a model of each kind that is trained first
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae compare                                     all trained runs under checkpoints/
  hvae compare checkpoints/f-vae-001 checkpoints/th-vae-001
  hvae compare --features inception --out results
  hvae compare --train                             train all five kinds, then score them
  hvae compare --seeds 3                           the same with three seeds each
  hvae compare --train --epochs 1 --count 1000     a quick comparison

With --train, --seeds, --epochs or --set it trains compare-f-vae, compare-h-vae, ... with the
presets of their kinds (compare-f-vae-seed1, ... with --seeds). Runs of these names that exist
already are resumed if they have the same settings, apart from epochs. The table goes to stdout and,
as Markdown, CSV and JSON with a figure, to --out. Free and nudged sweeps are means per image,
encoder and decoder together. For runs that differ in their seed alone a second table has means and
standard deviations.

Runs that are tested on different images are refused. Runs that differ in likelihood, number of test
images or training images are compared, with a warning.")]
pub struct Compare {
    /// Runs to compare [default: all under --runs that are trained]
    #[arg(value_name = "RUN")]
    names: Vec<PathBuf>,
    /// Train a run of each kind, and compare these
    #[arg(long, conflicts_with = "names")]
    train: bool,
    /// The same with N seeds for each kind, from 1
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000), conflicts_with = "names")]
    seeds: Option<u64>,
    /// Folder that holds the runs
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
    #[command(flatten)]
    json: JsonArgs,
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
        self.json.require()?;
        let Some(paths) = self.paths(cx)? else { return Ok(Ended::Interrupted) };
        let (runs, differences) = open(paths, cx)?;
        files::require_writable_folder(&self.out)?;
        // Trained runs are kept, scores are not: an interrupt can end the process at once.
        interrupt::end_at_once();
        let mut rows = Vec::new();
        for (number, run) in runs.iter().enumerate() {
            let shown = run.path.display();
            terminal::line(&format!("scoring {shown} ({} of {})", number + 1, runs.len()));
            rows.push(self.row(run, &runs, cx));
        }
        self.write(&rows, &runs, &differences)?;
        let failed: Vec<_> = rows.iter().filter_map(|row| row.failed.as_deref()).collect();
        ensure!(failed.is_empty(), "{}", failed.join("; "));
        Ok(Ended::Done)
    }
}

impl Compare {
    /// The runs that the user named, or all that are trained, or one of each kind and seed, trained
    /// now; `None` if interrupted.
    fn paths(&self, cx: &Context) -> Result<Option<Vec<PathBuf>>> {
        if !self.names.is_empty() {
            return Ok(Some(self.names.clone()));
        }
        let changed = self.epochs.is_some() || !self.set.is_empty();
        if !self.train && self.seeds.is_none() && !changed {
            return self.trained().map(Some);
        }
        let mut paths = Vec::new();
        let seeds = self.seeds.map_or(vec![None], |count| (1..=count).map(Some).collect());
        for (kind, seed) in Kind::ALL.into_iter().flat_map(|k| seeds.iter().map(move |s| (k, *s))) {
            let path = self.path(kind, seed);
            let request = self.request(kind, seed, &path, cx)?;
            if start(request, &cx.global)?.0 == Finished::Interrupted {
                terminal::line("the same `hvae compare` command continues from here");
                return Ok(None);
            }
            paths.push(path);
        }
        Ok(Some(paths))
    }

    /// The trained runs on the images that most of them have.
    fn trained(&self) -> Result<Vec<PathBuf>> {
        let (mut runs, broken) = summary::all(&self.runs)?;
        for problem in &broken {
            terminal::warning(problem);
        }
        runs.retain(|run| run.done() > 0);
        let images = |run: &Summary| (run.config.data.dataset.to_string(), run.config.data.size);
        let count =
            |run: &Summary| runs.iter().filter(|other| images(other) == images(run)).count();
        let Some(most) = runs.iter().rev().max_by_key(|run| count(run)).map(images) else {
            let runs = self.runs.display();
            bail!(
                "no run in {runs} has finished an epoch: name runs, or train one of each kind with \
                 --train"
            )
        };
        for other in runs.iter().filter(|run| images(run) != most) {
            terminal::line(&format!("left out: {}, which is not of {}", other.path, most.0));
        }
        Ok(runs.iter().filter(|run| images(run) == most).map(|r| PathBuf::from(&r.path)).collect())
    }

    fn path(&self, kind: Kind, seed: Option<u64>) -> PathBuf {
        let seed = seed.map_or(String::new(), |seed| format!("-seed{seed}"));
        self.runs.join(format!("compare-{}{seed}", kind.name()))
    }

    /// A new run of `kind` with `seed`, or the existing one.
    fn request(
        &self,
        kind: Kind,
        seed: Option<u64>,
        path: &Path,
        cx: &Context,
    ) -> Result<RunRequest> {
        let device = cx.device()?;
        let config = self.config(kind, seed, device)?;
        if path.join("config.toml").is_file() {
            require_same_settings(path, &config)?;
            let epochs = Some(config.training.epochs);
            let (target, config, _) = resume(path, Resumed { epochs, ..Resumed::default() })?;
            return Ok(RunRequest::new(config, target, device));
        }
        RunDir::require_new(path)?;
        Ok(RunRequest::new(config, Target::New(path.to_owned()), device))
    }

    fn config(&self, kind: Kind, seed: Option<u64>, device: &Device) -> Result<RunConfig> {
        let flags = |config: &mut RunConfig| {
            config.training.seed = seed.unwrap_or(config.training.seed);
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

    /// The metrics of `run`, one of `runs`, and its scores, or why it has none.
    fn row(&self, run: &Compared, runs: &[Compared], cx: &Context) -> Row {
        let score = || {
            let trained = Trained::load(&run.path, CheckpointChoice::Latest, cx.device()?)?;
            let scores = score(&trained, &run.test, &self.scores, SEED, cx)?;
            Ok((trained.model.parameters(), scores))
        };
        let (scored, failed) = match score() {
            Ok(scored) => (Some(scored), None),
            Err::<_, Error>(error) => {
                let text = format!("{} could not be scored: {error:#}", run.path.display());
                terminal::warning(&text);
                (None, Some(text))
            }
        };
        let (parameters, scores) = scored.unzip();
        let summary = &run.summary;
        let sweeps = |phases: fn(&PhaseMeans) -> [&Option<PhaseStats>; 2]| {
            let of = |phase: &Option<PhaseStats>| Some(phase.as_ref()?.sweeps);
            summary.last(|epoch| {
                let [encoder, decoder] = phases(&epoch.phases).map(of);
                Some(encoder? + decoder?)
            })
        };
        Row {
            model: label(summary.config.model.kind, &run.path, runs),
            run: run.path.clone(),
            seed: summary.config.training.seed,
            parameters,
            epochs: summary.done(),
            seconds: summary.seconds(),
            free_sweeps: sweeps(|phases| [&phases.encoder_free, &phases.decoder_free]),
            nudged_sweeps: sweeps(|phases| [&phases.encoder_nudged, &phases.decoder_nudged]),
            gradient_cosine: summary.last(|epoch| Some(epoch.gradient_check?.cosine)),
            scores,
            failed,
        }
    }

    fn write(&self, rows: &[Row], runs: &[Compared], differences: &[String]) -> Result<()> {
        let configs: Vec<&RunConfig> = runs.iter().map(|run| &run.summary.config).collect();
        let groups = seeds::groups(rows, &configs);
        let markdown = table::markdown(rows, differences) + &seeds::markdown(&groups);
        terminal::result(&markdown);
        let write = |name: &str, text: &str| files::write(&self.out.join(name), text);
        write("compare.md", &markdown)?;
        write("compare.csv", &table::csv(rows))?;
        let all = json!({ "runs": rows, "seeds": groups, "differences": differences });
        write_json(&self.out.join("compare.json"), &all)?;
        self.json.write(&all)?;
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
            let wanted = compare.config(kind, None, &Device::flex()).unwrap();
            assert_eq!((wanted.model.kind, wanted.training.epochs), (kind, 3));
            let path = compare.path(kind, None);
            let mut config = wanted.clone();
            config.training.epochs = 2;
            RunDir::create(&path, &config, None).unwrap();
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
