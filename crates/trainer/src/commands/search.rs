use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use hvae_runtime::{files, terminal};

use crate::api::train::command;
use crate::cli::values::{count, run_name};
use crate::commands::context::{Context, Ended, Run};
use crate::commands::output::JsonArgs;
use crate::config::Usage;
use crate::search::confirm::confirm;
use crate::search::file::{SamplerKind, SpaceFile, kind};
use crate::search::space::Space;
use crate::search::study::{Study, is_study};
use crate::search::work::{Bench, work};
use crate::search::{page, presets, results};
use crate::training::Finished;

/// Search for hyperparameters: train many configurations, and learn from each which to try next
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae search h-vae                              60 trials of the built-in space of the h-vae
  hvae search my-space.toml --trials 100 --name wide
  hvae search h-vae --trials 8 --epochs 2 --set data.train_images=2000 --name quick
  hvae search searches/wide                      continue a study
  hvae search --join searches/wide               work on it in another process, too
  hvae search searches/wide --trials 200         more trials
  hvae search searches/wide --confirm 3          the best with three other seeds
  hvae search searches/wide --report             searches/wide/report.html

A study is a folder: space.toml, trials.jsonl with a line a trial, and the run of each trial under
runs/, where `hvae runs --runs STUDY/runs` lists them. Trials are compared on held-out training
images. Ctrl-C saves; the same command continues, as if it had not been stopped. docs/search.md
describes the file of a space.")]
pub struct Search {
    /// A kind of model, whose built-in space is searched, a file with a space, or a study
    #[arg(value_name = "SPACE")]
    space: PathBuf,
    /// Folder that holds the studies
    #[arg(long, value_name = "DIR", default_value = "searches")]
    searches: PathBuf,
    /// Name of the study's folder [default: that of the space]
    #[arg(long, value_parser = run_name)]
    name: Option<String>,
    /// Configurations to try, in total [default: as in the space]
    #[arg(long, value_name = "N", value_parser = count(1..=100_000))]
    trials: Option<usize>,
    /// Epochs of a whole trial [default: as in the space]
    #[arg(long, value_name = "N", value_parser = count(1..=100_000))]
    epochs: Option<usize>,
    /// Epochs at which trials pause, the best third of which goes on; `none` for no pruning
    /// [default: as in the space]
    #[arg(long, value_name = "N,...", value_delimiter = ',')]
    rungs: Vec<String>,
    /// How configurations are chosen [default: as in the space]
    #[arg(long, value_enum, value_name = "KIND")]
    sampler: Option<SamplerKind>,
    /// Seed of the choice; training keeps training.seed [default: as in the space]
    #[arg(long, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    seed: Option<u64>,
    /// Change one setting of all trials; may be given many times
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// Work on a study that other processes work on
    #[arg(long)]
    join: bool,
    /// Instead, train the best trial of a study with N other seeds
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000), conflicts_with = "join")]
    confirm: Option<u64>,
    /// Instead, write the report of a study, which a search ends with, too: report.html
    #[arg(long, conflicts_with = "join")]
    report: bool,
    #[command(flatten)]
    json: JsonArgs,
}

impl Run for Search {
    fn run(self, cx: &Context) -> Result<Ended> {
        self.json.require()?;
        let mut study = self.study()?;
        if let Some(trials) = self.trials.filter(|n| *n != study.space.file.budget.trials) {
            study.set_trials(trials)?;
        }
        let finished = self.work(&study, cx)?;
        let (trials, shown) = (study.trials()?, study.folder.display().to_string());
        terminal::result(&results::table(&study, &trials));
        self.json.write(&results::json(&study, &trials)?)?;
        if finished == Finished::Interrupted {
            let joining: &[&str] = if self.join { &["--join"] } else { &[] };
            let words = [&["search", &shown][..], joining].concat();
            terminal::line(&format!("saved; continue with: {}", command(&words, &cx.global, &[])));
        } else if trials.iter().any(|trial| !trial.epochs.is_empty()) {
            let path = study.folder.join("report.html");
            files::write(&path, &page::render(&study)?)?;
            terminal::result(&path.display().to_string());
        }
        Ok(finished.into())
    }
}

impl Search {
    /// Searches, or what is asked for instead.
    fn work(&self, study: &Study, cx: &Context) -> Result<Finished> {
        if self.report && self.confirm.is_none() {
            return Ok(Finished::Complete);
        }
        let mut bench = Bench::new(&cx.global, cx.device()?, study)?;
        let _alone = if self.join { None } else { Some(study.alone()?) };
        match self.confirm {
            Some(seeds) => confirm(study, &mut bench, seeds),
            None => work(study, &mut bench),
        }
    }

    /// The study that is named, or a new one of the space that is.
    fn study(&self) -> Result<Study> {
        if is_study(&self.space) {
            let changes = self.epochs.is_some() || self.sampler.is_some() || self.seed.is_some();
            let changes = changes || !self.set.is_empty() || !self.rungs.is_empty();
            if changes || self.name.is_some() {
                let text = "a study keeps its space: only --trials can change";
                return Err(Usage::new(text).into());
            }
            return Study::open(&self.space);
        }
        if self.report || self.confirm.is_some() {
            let shown = self.space.display();
            bail!("{shown} is not a study: --report and --confirm are for one that is there");
        }
        let (mut file, name) = self.read()?;
        self.change(&mut file)?;
        let space = Space::new(file).with_context(|| format!("in {}", self.space.display()))?;
        Study::create(&self.searches.join(self.name.as_ref().unwrap_or(&name)), &space)
    }

    /// The space, and its name.
    fn read(&self) -> Result<(SpaceFile, String)> {
        let shown = self.space.display().to_string();
        if let Some(kind) = kind(&shown) {
            let file = SpaceFile::parse(presets::space(kind), Path::new("."));
            return Ok((file?, kind.name().to_owned()));
        }
        if !self.space.is_file() {
            bail!("{shown} is neither a study, nor a file with a space, nor a kind of model");
        }
        let stem = self.space.file_stem().unwrap_or_default().to_string_lossy();
        Ok((SpaceFile::read(&self.space)?, stem.trim_start_matches("search-").to_owned()))
    }

    /// Applies the flags.
    fn change(&self, file: &mut SpaceFile) -> Result<()> {
        file.budget.trials = self.trials.unwrap_or(file.budget.trials);
        if let Some(epochs) = self.epochs {
            file.budget.epochs = epochs;
            file.budget.rungs.retain(|rung| *rung < epochs);
        }
        if !self.rungs.is_empty() {
            file.budget.rungs = self.rungs()?;
        }
        file.sampler.kind = self.sampler.unwrap_or(file.sampler.kind);
        file.sampler.seed = self.seed.unwrap_or(file.sampler.seed);
        for text in &self.set {
            let (key, value) = crate::config::setting(text).map_err(Usage)?;
            let searched = file.parameters.contains_key(&key);
            ensure!(!searched, Usage::new(format!("--set {text}: {key} is searched")));
            file.settings.insert(key, value);
        }
        Ok(())
    }

    fn rungs(&self) -> Result<Vec<usize>> {
        if self.rungs == ["none"] {
            return Ok(Vec::new());
        }
        let parse = |text: &String| {
            let wrong =
                || Usage::new(format!("--rungs {text}: must be numbers of epochs, or none"));
            text.parse().map_err(|_| wrong().into())
        };
        self.rungs.iter().map(parse).collect()
    }
}
