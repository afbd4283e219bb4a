//! The file of a space, as it is written.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Error, Result, bail, ensure};
use hvae_model::Kind;
use serde::{Deserialize, Serialize};
use toml::Value;

use crate::config::RunConfig;
use crate::search::objective::Direction;

/// Settings by their names, such as `training.learning_rate`.
pub(crate) type Settings = BTreeMap<String, Value>;

/// A space: what is searched, how, and for how long.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct SpaceFile {
    /// A kind of model, whose preset has the settings that are not searched, or a configuration.
    pub(crate) config: String,
    /// Settings of all trials; those of parameters where their conditions do not hold.
    pub(crate) settings: Settings,
    /// Points that are tried first.
    pub(crate) enqueue: Vec<Known>,
    /// Metrics, and whether more or less of them is better.
    pub(crate) objectives: BTreeMap<String, Direction>,
    pub(crate) budget: Budget,
    pub(crate) sampler: Sampler,
    pub(crate) constraints: Constraints,
    pub(crate) parameters: BTreeMap<String, ParameterFile>,
}

/// A point that is known: a kind or a configuration, or settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Known {
    Config(String),
    Settings(Settings),
}

/// How much is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Budget {
    /// Configurations, in all.
    pub(crate) trials: usize,
    /// Epochs of a trial that is not pruned.
    pub(crate) epochs: usize,
    /// Epochs at which trials pause; the best go on.
    pub(crate) rungs: Vec<usize>,
    /// One in so many goes on at each rung.
    pub(crate) eta: usize,
}

/// How points are chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Sampler {
    pub(crate) kind: SamplerKind,
    pub(crate) seed: u64,
    /// Trials before the first that is chosen by a model; they are random.
    pub(crate) startup: usize,
    /// Values of each parameter on a grid.
    pub(crate) levels: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SamplerKind {
    /// Tree-structured Parzen estimator: Bayesian.
    Tpe,
    /// Independent of what was found.
    Random,
    /// Every combination of a few values each, in order.
    Grid,
}

/// What a configuration must satisfy to be tried.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Constraints {
    /// Weights and biases.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_parameters: Option<u64>,
}

/// A parameter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ParameterFile {
    pub(crate) kind: ParameterKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) low: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) high: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) step: Option<Value>,
    /// Whether whole numbers are uniform in their logarithm.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) log: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) values: Option<Vec<Value>>,
    /// Values of other settings with which it applies: one, or a list.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) when: Settings,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ParameterKind {
    Linear,
    Log,
    Int,
    Step,
    Choice,
}

impl Default for SpaceFile {
    fn default() -> Self {
        Self {
            config: Kind::HVae.name().to_owned(),
            settings: Settings::new(),
            enqueue: Vec::new(),
            objectives: BTreeMap::new(),
            budget: Budget::default(),
            sampler: Sampler::default(),
            constraints: Constraints::default(),
            parameters: BTreeMap::new(),
        }
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self { trials: 60, epochs: 10, rungs: Vec::new(), eta: 3 }
    }
}

impl Default for Sampler {
    fn default() -> Self {
        Self { kind: SamplerKind::Tpe, seed: 1, startup: 10, levels: 4 }
    }
}

impl SpaceFile {
    /// The space in the file `path`, in which no other file is named any more.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let shown = path.display();
        let text = std::fs::read_to_string(path).with_context(|| format!("reading {shown}"))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        Self::parse(&text, folder).with_context(|| format!("in {shown}"))
    }

    /// The space in `text`; files that it names are in `folder`.
    pub(crate) fn parse(text: &str, folder: &Path) -> Result<Self> {
        let mut file: Self = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = 1 + before.matches('\n').count();
            Error::msg(format!("line {line}: {}", error.message().trim().replace('\n', ", ")))
        })?;
        if kind(&file.config).is_none() {
            let mut settings = flat(&folder.join(&file.config)).context("config")?;
            settings.append(&mut file.settings);
            let kind = settings.get("model.kind").and_then(Value::as_str);
            file.config = kind.unwrap_or(Kind::HVae.name()).to_owned();
            file.settings = settings;
        }
        for number in 0..file.enqueue.len() {
            let Known::Config(name) = &file.enqueue[number] else { continue };
            let settings = file.of_config(name, folder);
            let settings = settings.with_context(|| format!("enqueue: {name}"))?;
            file.enqueue[number] = Known::Settings(settings);
        }
        Ok(file)
    }

    /// The values that a kind or a configuration has of the parameters.
    fn of_config(&self, name: &str, folder: &Path) -> Result<Settings> {
        let config = match kind(name) {
            Some(kind) => RunConfig::resolve(None, &[format!("model.kind={}", kind.name())])?,
            None => RunConfig::resolve(Some(&folder.join(name)), &[])?,
        };
        let mut settings = flat_table(toml::Table::try_from(&config)?)?;
        settings.retain(|key, _| self.parameters.contains_key(key));
        Ok(settings)
    }

    /// As TOML.
    pub(crate) fn to_toml(&self) -> Result<String> {
        toml::to_string(self).context("writing the space as TOML")
    }

    /// The section in which two spaces differ, apart from the number of trials.
    pub(crate) fn difference(&self, other: &Self) -> Result<Option<String>> {
        let [mine, others] = [self, other].map(|file| {
            let mut file = file.clone();
            file.budget.trials = 0;
            toml::Table::try_from(&file)
        });
        let (mine, others) = (mine?, others?);
        let keys = mine.keys().chain(others.keys());
        let mut different = keys.filter(|key| mine.get(*key) != others.get(*key));
        Ok(different.next().cloned())
    }
}

/// The kind of this name.
pub(crate) fn kind(name: &str) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| kind.name() == name)
}

/// The settings in a configuration file.
fn flat(path: &Path) -> Result<Settings> {
    let shown = path.display();
    if !path.is_file() {
        bail!("{shown} is neither a file nor one of {}", Kind::ALL.map(Kind::name).join(", "));
    }
    RunConfig::resolve(Some(path), &[])?;
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {shown}"))?;
    flat_table(text.parse().with_context(|| format!("in {shown}"))?)
}

fn flat_table(table: toml::Table) -> Result<Settings> {
    let mut settings = Settings::new();
    for (section, keys) in table {
        let Value::Table(keys) = keys else { bail!("{section} is not a section") };
        settings.extend(keys.into_iter().map(|(key, value)| (format!("{section}.{key}"), value)));
    }
    Ok(settings)
}

impl Budget {
    /// Epochs at which trials pause, and those of a whole trial.
    pub(crate) fn levels(&self) -> Vec<usize> {
        self.rungs.iter().copied().chain([self.epochs]).collect()
    }

    pub(crate) fn check(&self) -> Result<()> {
        let Self { trials, epochs, rungs, eta } = self;
        ensure!((1..=100_000).contains(trials), "budget.trials = {trials}: from 1 to 100000");
        ensure!((1..=100_000).contains(epochs), "budget.epochs = {epochs}: from 1 to 100000");
        ensure!((2..=1000).contains(eta), "budget.eta = {eta}: from 2 to 1000");
        let rising = self.levels().windows(2).all(|pair| pair[0] < pair[1]);
        ensure!(
            rising && rungs.first() != Some(&0),
            "budget.rungs = {rungs:?}: numbers of epochs that rise, from 1 to less than \
             budget.epochs = {epochs}"
        );
        Ok(())
    }
}
