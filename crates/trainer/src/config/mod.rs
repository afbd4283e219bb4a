//! The configuration of a run: a TOML file, overridden key by key, then checked.

mod overrides;
pub mod schedule;

use std::path::Path;

use anyhow::{Context, Error, Result, ensure};
use hvae_model::{EpConfig, Phases, VaeConfig};
use serde::{Deserialize, Serialize};

use crate::config::schedule::Schedule;
use crate::optimizer::OptimizerKind;
use hvae_data::config::DataConfig;

/// All that a run depends on besides data and code.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunConfig {
    /// Batches, learning rate, schedule, seed.
    pub training: TrainingConfig,
    /// Which images.
    pub data: DataConfig,
    /// Architecture and objective.
    pub model: VaeConfig,
    /// Phases of equilibrium propagation.
    pub ep: EpConfig,
}

/// How a model is trained.
///
/// | setting | default | meaning | range |
/// |---|---|---|---|
/// | `epochs` | 10 | passes over the training images, in total | >= 1 |
/// | `batch_size` | 128 | images per step | >= 1 |
/// | `optimizer` | `adam` | what moves the weights | `adam`, `sgd` |
/// | `momentum` | 0.9 | of `sgd` | in [0, 1) |
/// | `learning_rate` | 8e-3 | at its highest | > 0 |
/// | `visible_rate` | 3 | factor on the rate of the decoder's image layer, after division by its gain | > 0 |
/// | `warmup_steps` | 200 | steps over which the learning rate rises linearly from 0 | >= 0 |
/// | `schedule` | `cosine` | how the learning rate falls then | `cosine`, `linear`, `constant` |
/// | `decay_epochs` | 10 | epochs until the fall ends; then the rate stays | >= 1 |
/// | `final_learning_rate` | 0.1 | share of `learning_rate` reached then | in [0, 1] |
/// | `kl_weight` | 1 | weight of the KL divergence | >= 0 |
/// | `kl_warmup_steps` | 0 | steps over which that weight rises linearly from 0 | >= 0 |
/// | `clip_norm` | none | largest Euclidean norm of a step's gradient | > 0 |
/// | `ema_decay` | 0.999 | decay per step of averaged weights, which then are the model; shorter at first; 0: no averages | in [0, 1) |
/// | `seed` | 1 | of weights, batch order and noise | |
/// | `evaluate_every` | 1 | epochs between two evaluations on the test images; the last epoch always has one | >= 1 |
/// | `patience` | none | evaluations without a lower test loss after which training ends | >= 1 |
/// | `checkpoint_every` | none | steps between checkpoints within an epoch; each epoch ends with one | >= 1 |
/// | `keep_checkpoints` | 3 | newest checkpoints kept, besides the best | >= 1 |
/// | `keep_best` | 1 | checkpoints of lowest test loss kept | >= 1 |
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainingConfig {
    /// Passes over the training images, in total.
    pub epochs: usize,
    /// Images per step.
    pub batch_size: usize,
    /// What moves the weights.
    pub optimizer: OptimizerKind,
    /// Momentum of [`OptimizerKind::Sgd`].
    pub momentum: f64,
    /// The learning rate at its highest.
    pub learning_rate: f64,
    /// Factor on the learning rate of the decoder's image layer, after division by its gain.
    pub visible_rate: f64,
    /// Steps over which the learning rate rises linearly from 0.
    pub warmup_steps: usize,
    /// How the learning rate falls then.
    pub schedule: Schedule,
    /// Epochs until the fall of the learning rate ends.
    pub decay_epochs: usize,
    /// Share of `learning_rate` reached then.
    pub final_learning_rate: f64,
    /// Weight of the KL divergence.
    pub kl_weight: f64,
    /// Steps over which that weight rises linearly from 0.
    pub kl_warmup_steps: usize,
    /// Largest norm of a step's gradient.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
    /// Decay per step of averaged weights, which are evaluated, sampled and exported in place of
    /// the last ones; 0 for none.
    pub ema_decay: f64,
    /// Seed of weights, batch order and noise.
    pub seed: u64,
    /// Epochs between two evaluations.
    pub evaluate_every: usize,
    /// Evaluations without a lower test loss after which training ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patience: Option<usize>,
    /// Steps between two checkpoints within an epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint_every: Option<usize>,
    /// Newest checkpoints kept, besides the best.
    pub keep_checkpoints: usize,
    /// Checkpoints of lowest test loss kept.
    pub keep_best: usize,
}

impl TrainingConfig {
    /// Whether averaged weights are kept.
    pub fn averages(&self) -> bool {
        self.ema_decay > 0.0
    }
}

impl Default for TrainingConfig {
    fn default() -> Self {
        Self {
            epochs: 10,
            batch_size: 128,
            optimizer: OptimizerKind::Adam,
            momentum: 0.9,
            learning_rate: 8e-3,
            visible_rate: 3.0,
            warmup_steps: 200,
            schedule: Schedule::Cosine,
            decay_epochs: 10,
            final_learning_rate: 0.1,
            kl_weight: 1.0,
            kl_warmup_steps: 0,
            clip_norm: None,
            ema_decay: 0.999,
            seed: 1,
            evaluate_every: 1,
            patience: None,
            checkpoint_every: None,
            keep_checkpoints: 3,
            keep_best: 1,
        }
    }
}

/// Largest number of anything that is counted: far above what is sensible, far below what would
/// overflow.
const LARGEST_COUNT: usize = 10_000_000;

impl RunConfig {
    /// The defaults, overridden by `file`, overridden by `overrides` (`section.key=value`, the
    /// value as TOML or else as a plain word); checked.
    ///
    /// # Errors
    ///
    /// For a file that cannot be read, an unknown key, or a value that cannot work; the message
    /// names the key.
    pub fn resolve(file: Option<&Path>, overrides: &[String]) -> Result<Self> {
        let Some(path) = file else { return Self::parse("", "configuration", overrides) };
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("reading configuration {}", path.display()))?;
        Self::parse(&text, &path.display().to_string(), overrides)
    }

    /// The configuration that `text`, TOML from `source`, says, with some keys changed.
    ///
    /// # Errors
    ///
    /// As [`Self::resolve`]; the message names `source`.
    pub fn parse(text: &str, source: &str, overrides: &[String]) -> Result<Self> {
        Self::read(text, overrides).map_err(|error| {
            // A mistake that is not in the file was made on the command line.
            if Self::read(text, &[]).is_ok() {
                Usage(error).into()
            } else {
                error.context(format!("in {source}"))
            }
        })
    }

    fn read(text: &str, overrides: &[String]) -> Result<Self> {
        let in_its_line = |error: toml::de::Error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = 1 + before.matches('\n').count();
            Error::msg(format!("line {line}: {}", plain(error.message())))
        };
        let mut table: toml::Table = text.parse().map_err(in_its_line)?;
        for text in overrides {
            overrides::set(&mut table, text)?;
        }
        let table = overrides::over_preset(table)?;
        let config: Result<Self, _> = table.try_into();
        let config =
            config.map_err(|error: toml::de::Error| Error::msg(plain(&error.to_string())))?;
        config.check()?;
        Ok(config)
    }

    /// As TOML, every key spelled out.
    ///
    /// # Errors
    ///
    /// When a value has no TOML form.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).context("writing the configuration as TOML")
    }

    /// The first setting that differs from `other`, as `key = now (was then)`, leaving aside those
    /// that may change while a run goes on.
    ///
    /// # Errors
    ///
    /// When a configuration has no TOML form.
    pub fn change_since(&self, other: &Self) -> Result<Option<String>> {
        let mut then = other.clone();
        then.training = TrainingConfig {
            epochs: self.training.epochs,
            patience: self.training.patience,
            checkpoint_every: self.training.checkpoint_every,
            keep_checkpoints: self.training.keep_checkpoints,
            keep_best: self.training.keep_best,
            ..then.training
        };
        let (now, then) = (toml::Table::try_from(self)?, toml::Table::try_from(&then)?);
        let empty = toml::Table::new();
        for (section, values) in &now {
            let values = values.as_table().unwrap_or(&empty);
            let before = then.get(section).and_then(toml::Value::as_table).unwrap_or(&empty);
            for key in values.keys().chain(before.keys()) {
                let (new, old) = (values.get(key), before.get(key));
                if new != old {
                    let show =
                        |v: Option<&toml::Value>| v.map_or("none".to_owned(), ToString::to_string);
                    return Ok(Some(format!(
                        "{section}.{key} = {} (was {})",
                        show(new),
                        show(old)
                    )));
                }
            }
        }
        Ok(None)
    }

    /// The first setting of the model that differs from `other`, in the same words: weights learnt
    /// under the one mean nothing under the other.
    ///
    /// # Errors
    ///
    /// As [`Self::change_since`].
    pub fn model_change_since(&self, other: &Self) -> Result<Option<String>> {
        Self { model: self.model.clone(), ..other.clone() }.change_since(other)
    }

    fn check(&self) -> Result<()> {
        let t = &self.training;
        for (name, value) in [
            ("epochs", t.epochs),
            ("batch_size", t.batch_size),
            ("decay_epochs", t.decay_epochs),
            ("evaluate_every", t.evaluate_every),
            ("patience", t.patience.unwrap_or(1)),
            ("checkpoint_every", t.checkpoint_every.unwrap_or(1)),
            ("keep_checkpoints", t.keep_checkpoints),
            ("keep_best", t.keep_best),
        ] {
            ensure!(
                (1..=LARGEST_COUNT).contains(&value),
                "training.{name} = {value}: must lie between 1 and {LARGEST_COUNT}"
            );
        }
        let positive = |x: f64| x.is_finite() && x > 0.0;
        let rate = t.learning_rate;
        ensure!(positive(rate), "training.learning_rate = {rate}: must be a positive number");
        let visible = t.visible_rate;
        ensure!(positive(visible), "training.visible_rate = {visible}: must be a positive number");
        let last = t.final_learning_rate;
        ensure!(
            (0.0..=1.0).contains(&last),
            "training.final_learning_rate = {last}: must lie in [0, 1]"
        );
        let momentum = t.momentum;
        ensure!(
            (0.0..1.0).contains(&momentum),
            "training.momentum = {momentum}: must lie in [0, 1)"
        );
        let decay = t.ema_decay;
        ensure!(
            (0.0..1.0).contains(&decay),
            "training.ema_decay = {decay}: must lie in [0, 1), such as 0.999, or 0 for no averages"
        );
        let kl = t.kl_weight;
        ensure!(kl.is_finite() && kl >= 0.0, "training.kl_weight = {kl}: must be 0 or more");
        if let Some(norm) = t.clip_norm {
            ensure!(positive(norm), "training.clip_norm = {norm}: must be a positive number");
        }
        self.data.check()?;
        self.model.check().context("model")?;
        Phases::new(&self.ep).context("ep")?;
        Ok(())
    }
}

/// A mistake on the command line, beyond what the grammar of the flags can tell.
#[derive(Debug)]
pub struct Usage(pub anyhow::Error);

impl Usage {
    /// One that this sentence tells.
    pub fn new(text: impl Into<String>) -> Self {
        Self(anyhow::Error::msg(text.into()))
    }
}

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // With its causes: an outer error prints this one alone.
        write!(f, "{:#}", self.0)
    }
}

impl std::error::Error for Usage {}

/// A sentence of the parser, which has lines of its own and the words of its language, in one line and plain
/// words.
fn plain(sentence: &str) -> String {
    let sentence = sentence.trim().replace('\n', ", ");
    [
        ("expected usize", "expected a whole number"),
        ("expected u64", "expected a whole number"),
        ("expected f64", "expected a number"),
        ("expected a sequence", "expected a list such as [512]"),
    ]
    .into_iter()
    .fold(sentence, |text, (theirs, ours)| text.replace(theirs, ours))
}

#[cfg(test)]
mod tests {
    use hvae_model::{Activation, HiddenActivation};

    use super::*;

    fn error(overrides: &[&str]) -> String {
        let overrides: Vec<String> = overrides.iter().map(|&s| s.to_owned()).collect();
        format!("{:#}", RunConfig::resolve(None, &overrides).unwrap_err())
    }

    #[test]
    fn overrides_reach_every_kind_of_value() {
        let overrides = [
            "training.learning_rate=0.005".to_owned(),
            "model.hidden=[64, 32]".to_owned(),
            "model.hidden_activation=tanh".to_owned(),
            "data.dataset=\"synthetic\"".to_owned(),
        ];
        let config = RunConfig::resolve(None, &overrides).unwrap();
        assert!((config.training.learning_rate - 0.005).abs() < f64::EPSILON);
        assert_eq!(config.model.hidden, [64, 32]);
        assert_eq!(config.model.hidden_activation, Activation::Tanh.into());
        assert_eq!(config.data.dataset, hvae_data::dataset::Dataset::Synthetic);
    }

    #[test]
    fn hidden_layers_have_one_nonlinearity_or_one_each() {
        let each = HiddenActivation::Each(vec![Activation::Relu, Activation::Tanh]);
        for list in [r#"["relu", "tanh"]"#, "[relu, tanh]"] {
            let overrides = ["model.hidden=[8, 4]", &format!("model.hidden_activation={list}")];
            let config = RunConfig::resolve(None, &overrides.map(str::to_owned)).unwrap();
            assert_eq!(config.model.hidden_activation, each);
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("config.toml");
            std::fs::write(&path, config.to_toml().unwrap()).unwrap();
            assert_eq!(RunConfig::resolve(Some(&path), &[]).unwrap(), config);
        }
        let message = error(&["model.hidden_activation=[relu, tanh]"]);
        assert!(message.contains("hidden_activation") && message.contains("one for each"));
    }

    #[test]
    fn the_written_configuration_reads_back_as_itself() {
        let mut config = RunConfig::default();
        config.training.clip_norm = Some(3.5);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        std::fs::write(&path, config.to_toml().unwrap()).unwrap();
        assert_eq!(RunConfig::resolve(Some(&path), &[]).unwrap(), config);
    }

    #[test]
    fn mistakes_are_named() {
        for (override_, expected) in [
            ("training.learnign_rate=1", "learnign_rate"),
            ("training.learning_rate=-1", "training.learning_rate"),
            ("training.learning_rate=nan", "training.learning_rate"),
            ("training.epochs=0", "training.epochs"),
            ("training.optimizer=lion", "lion"),
            ("training.momentum=1", "training.momentum"),
            ("training.schedule=steps", "steps"),
            ("training.ema_decay=1", "training.ema_decay"),
            ("training.evaluate_every=0", "training.evaluate_every"),
            ("training.patience=0", "training.patience"),
            ("training.checkpoint_every=0", "training.checkpoint_every"),
            ("training.keep_best=0", "training.keep_best"),
            ("model.hidden=[]", "hidden"),
            ("model.visible_gain=0", "visible_gain"),
            ("model.latent_gain=1e-200", "latent_gain"),
            ("model.sigma=0.001", "sigma"),
            ("model.visible_reach=0", "visible_reach"),
            ("training.epochs=none", "none"),
            ("model.hidden_activation=softmax", "hard-sigmoid"),
            ("model.hidden_activation=[relu, softmax]", "softmax"),
            ("ep.nudge=0", "nudge"),
            ("ep.damping=1", "damping"),
            ("ep.free_sweeps=0", "free_sweeps"),
            ("ep.tolerance=-1", "tolerance"),
            ("model.hidden=[1000000000]", "hidden"),
            ("data.train_images=100000000000", "data.train_images"),
            ("data.dataset=imagenet", "imagenet"),
            ("epochs", "section.key=value"),
        ] {
            let message = error(&[override_]);
            assert_eq!(message.lines().count(), 1, "{override_}: {message}");
            assert!(message.contains(expected), "{override_}: {message}");
        }
    }

    #[test]
    fn what_may_be_without_a_value_is_none() {
        let resolve = |sets: [&str; 2]| RunConfig::resolve(None, &sets.map(str::to_owned)).unwrap();
        let reach = |set| resolve(["model.kind=tdh-vae", set]).model.visible_reach;
        assert_eq!(reach("model.visible_reach=5"), Some(5));
        assert_eq!(reach("model.visible_reach=none"), None);
        // A configuration that was written in full says by leaving it out that there is none.
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        let all = resolve(["model.kind=tdh-vae", "model.visible_reach=none"]);
        std::fs::write(&path, all.to_toml().unwrap()).unwrap();
        assert_eq!(RunConfig::resolve(Some(&path), &[]).unwrap(), all);
    }

    #[test]
    fn mistakes_in_a_file_are_told_in_one_line_with_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mine.toml");
        let good = "[training]\nepochs = 3\n";
        for (text, expected) in [
            ("[training]\nepochs = 3\n[model\nlatent = 3\n", "mine.toml: line 3: "),
            ("[training]\nepochs = 0\n", "mine.toml: training.epochs = 0"),
            ("[training]\nlearnign_rate = 1.0\n", "mine.toml: unknown field `learnign_rate`"),
            ("[model]\nvisible_gain = 0.0\n", "mine.toml: model: "),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = RunConfig::resolve(Some(&path), &[]).unwrap_err();
            let message = format!("{error:#}");
            assert_eq!(message.lines().count(), 1, "{message}");
            assert!(message.contains(expected) && !error.is::<Usage>(), "{message}");
        }
        // The file is not to blame for what the command line says.
        std::fs::write(&path, good).unwrap();
        let error = RunConfig::resolve(Some(&path), &["training.epochs=0".to_owned()]);
        let error = error.unwrap_err();
        assert!(error.is::<Usage>() && !format!("{error:#}").contains("mine.toml"), "{error:#}");
    }
}
