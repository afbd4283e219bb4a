//! The configuration of a run: a preset, overridden by a file, overridden by the command line.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Error, Result};
use hvae_data::config::DataConfig;
use hvae_model::{EpConfig, Kind, PhaseSettings, PriorConfig, ReadPolicy, VaeConfig};
use serde::{Deserialize, Serialize};

use crate::config::{overrides, overrides::Usage, presets, training::TrainingConfig};

/// The settings of a run. With the images and the code they determine its results.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunConfig {
    /// Batches, learning rate, schedule, seed.
    pub(crate) training: TrainingConfig,
    /// Which images.
    pub data: DataConfig,
    /// Architecture and objective.
    pub model: VaeConfig,
    /// The prior of the latents.
    pub prior: PriorConfig,
    /// Phases of equilibrium propagation.
    pub ep: EpConfig,
}

/// What the command line changes in a configuration, in the order in which it is applied.
#[derive(Clone, Copy, Default)]
pub(crate) struct Changes<'a> {
    /// `ep.check_every`, whose default depends on the device.
    pub(crate) check_every: Option<usize>,
    /// `section.key=value` as the user typed it; the value as TOML or as a plain word.
    pub(crate) set: &'a [String],
    /// The kind of model, which chooses the preset.
    pub(crate) kind: Option<Kind>,
    /// Applies the flags of single settings.
    pub(crate) flags: Option<&'a dyn Fn(&mut RunConfig)>,
}

impl Changes<'_> {
    fn apply_to(&self, table: &mut toml::Table) -> Result<()> {
        if let Some(every) = self.check_every {
            let every = i64::try_from(every).context("ep.check_every")?;
            overrides::insert(table, "ep.check_every", every.into())?;
        }
        for text in self.set {
            overrides::set(table, text)?;
        }
        if let Some(kind) = self.kind {
            overrides::insert(table, "model.kind", kind.name().into())?;
        }
        Ok(())
    }
}

impl RunConfig {
    /// The preset, overridden by `file`, overridden by `set` (`section.key=value`); checked.
    pub fn resolve(file: Option<&Path>, set: &[String]) -> Result<Self> {
        Self::resolve_with(file, &Changes { set, ..Changes::default() })
    }

    /// The preset, overridden by `file`, overridden by `changes`; checked.
    pub(crate) fn resolve_with(file: Option<&Path>, changes: &Changes<'_>) -> Result<Self> {
        let Some(path) = file else { return Self::parse("", "configuration", changes) };
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("reading configuration {}", path.display()))?;
        Self::parse(&text, &path.display().to_string(), changes)
    }

    /// The preset, overridden by `settings` under their names, `section.key`; checked.
    pub(crate) fn of_settings(settings: &BTreeMap<String, toml::Value>) -> Result<Self> {
        let mut table = toml::Table::new();
        for (key, value) in settings {
            overrides::insert(&mut table, key, value.clone())?;
        }
        Self::of_table(table, None)
    }

    /// The configuration in `text`, TOML from `source`, overridden by `changes`; checked.
    pub(crate) fn parse(text: &str, source: &str, changes: &Changes<'_>) -> Result<Self> {
        Self::read(text, changes).map_err(|error| {
            // A mistake that is not in the file was made on the command line.
            if Self::read(text, &Changes::default()).is_ok() {
                Usage(error).into()
            } else {
                error.context(format!("in {source}"))
            }
        })
    }

    fn read(text: &str, changes: &Changes<'_>) -> Result<Self> {
        let with_line = |error: toml::de::Error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = 1 + before.matches('\n').count();
            Error::msg(format!("line {line}: {}", plain(error.message())))
        };
        let mut table: toml::Table = text.parse().map_err(with_line)?;
        changes.apply_to(&mut table)?;
        Self::of_table(table, changes.flags)
    }

    fn of_table(table: toml::Table, flags: Option<&dyn Fn(&mut Self)>) -> Result<Self> {
        let config: Result<Self, _> = presets::over_preset(table)?.try_into();
        let mut config =
            config.map_err(|error: toml::de::Error| Error::msg(plain(&error.to_string())))?;
        if let Some(flags) = flags {
            flags(&mut config);
        }
        config.check()?;
        Ok(config)
    }

    /// As TOML, with every key.
    pub fn to_toml(&self) -> Result<String> {
        let text = toml::to_string(self).context("writing the configuration as TOML")?;
        presets::with_explicit_none(text, self.model.kind.name())
    }

    /// The first difference to `other` that a resumed run may not have, as `key = now (was then)`.
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
        then.data.dataset = self.data.dataset.clone();
        let (now, then) = (toml::Table::try_from(self)?, toml::Table::try_from(&then)?);
        let show = |value: Option<&toml::Value>| value.map_or("none".into(), ToString::to_string);
        for (section, values) in &now {
            let sections =
                [Some(values), then.get(section)].map(|s| s.and_then(toml::Value::as_table));
            for key in sections.into_iter().flatten().flat_map(toml::Table::keys) {
                let [new, old] = sections.map(|section| section.and_then(|s| s.get(key)));
                if new != old {
                    let (new, old) = (show(new), show(old));
                    return Ok(Some(format!("{section}.{key} = {new} (was {old})")));
                }
            }
        }
        Ok(None)
    }

    /// The first setting of the model or the shape of its images that differs from `other`, in the
    /// same words: weights of the one are not valid in the other.
    pub fn model_change_since(&self, other: &Self) -> Result<Option<String>> {
        let (model, prior) = (self.model.clone(), self.prior);
        let mut now = Self { model, prior, ..other.clone() };
        (now.data.channels, now.data.size) = (self.data.channels, self.data.size);
        now.change_since(other)
    }

    fn check(&self) -> Result<()> {
        self.training.check()?;
        self.data.check()?;
        self.model.check().context("model")?;
        self.prior.check()?;
        PhaseSettings::new(&self.ep, ReadPolicy::EveryStep).context("ep")?;
        Ok(())
    }
}

/// A message of the TOML parser in one line, without Rust's names of types.
fn plain(message: &str) -> String {
    let message = message.trim().replace('\n', ", ");
    [
        ("expected usize", "expected a whole number"),
        ("expected u64", "expected a whole number"),
        ("expected f64", "expected a number"),
        ("expected a sequence", "expected a list such as [512]"),
    ]
    .into_iter()
    .fold(message, |text, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use hvae_data::dataset::Dataset;
    use hvae_model::{Activation, HiddenActivation};

    use super::*;

    fn resolve(overrides: &[&str]) -> Result<RunConfig> {
        let overrides: Vec<String> = overrides.iter().map(|&s| s.to_owned()).collect();
        RunConfig::resolve(None, &overrides)
    }

    fn assert_reads_back(config: &RunConfig) {
        let written = config.to_toml().unwrap();
        assert_eq!(RunConfig::parse(&written, "", &Changes::default()).unwrap(), *config);
    }

    #[test]
    fn overrides_reach_every_kind_of_value() {
        let config = resolve(&[
            "training.learning_rate=0.005",
            "model.hidden=[64, 32]",
            "model.hidden_activation=tanh",
            "data.dataset=\"synthetic\"",
        ]);
        let mut config = config.unwrap();
        assert!((config.training.learning_rate - 0.005).abs() < f64::EPSILON);
        assert_eq!(config.model.hidden, [64, 32]);
        assert_eq!(config.model.hidden_activation, Activation::Tanh.into());
        assert_eq!(config.data.dataset, Dataset::Synthetic);
        config.training.clip_norm = Some(3.5);
        assert_reads_back(&config);
    }

    #[test]
    fn hidden_layers_share_an_activation_or_have_one_each() {
        let each = HiddenActivation::Each(vec![Activation::Relu, Activation::Tanh]);
        for list in [r#"["relu", "tanh"]"#, "[relu, tanh]"] {
            let overrides = ["model.hidden=[8, 4]", &format!("model.hidden_activation={list}")];
            let config = resolve(&overrides).unwrap();
            assert_eq!(config.model.hidden_activation, each);
            assert_reads_back(&config);
        }
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
            ("model.hidden_activation=[relu, tanh]", "hidden_activation"),
            ("model.hidden_activation=[relu, tanh]", "one for each"),
            ("ep.nudge=0", "nudge"),
            ("ep.damping=1", "damping"),
            ("ep.free_sweeps=0", "free_sweeps"),
            ("ep.tolerance=-1", "tolerance"),
            ("model.hidden=[1000000000]", "hidden"),
            ("data.train_images=100000000000", "data.train_images"),
            ("data.dataset=imagenet", "imagenet"),
            ("epochs", "section.key=value"),
        ] {
            let message = format!("{:#}", resolve(&[override_]).unwrap_err());
            assert_eq!(message.lines().count(), 1, "{override_}: {message}");
            assert!(message.contains(expected), "{override_}: {message}");
        }
    }

    #[test]
    fn optional_settings_can_be_none() {
        for (set, reach) in [("model.visible_reach=5", Some(5)), ("model.visible_reach=none", None)]
        {
            let config = resolve(&["model.kind=tdh-vae", set]).unwrap();
            assert_eq!(config.model.visible_reach, reach);
            // A complete configuration leaves out a setting without a value.
            assert_reads_back(&config);
        }
    }

    #[test]
    fn mistakes_in_a_file_are_one_line_with_its_name() {
        for (text, expected) in [
            ("[training]\nepochs = 3\n[model\nlatent = 3\n", "mine.toml: line 3: "),
            ("[training]\nepochs = 0\n", "mine.toml: training.epochs = 0"),
            ("[training]\nlearnign_rate = 1.0\n", "mine.toml: unknown field `learnign_rate`"),
            ("[model]\nvisible_gain = 0.0\n", "mine.toml: model: "),
        ] {
            let error = RunConfig::parse(text, "mine.toml", &Changes::default()).unwrap_err();
            let message = format!("{error:#}");
            assert_eq!(message.lines().count(), 1, "{message}");
            assert!(message.contains(expected) && !error.is::<Usage>(), "{message}");
        }
        // A mistake of the command line is not reported as one of the file.
        let changes = Changes { set: &["training.epochs=0".to_owned()], ..Changes::default() };
        let good = "[training]\nepochs = 3\n";
        let error = RunConfig::parse(good, "mine.toml", &changes).unwrap_err();
        assert!(error.is::<Usage>() && !format!("{error:#}").contains("mine.toml"), "{error:#}");
    }
}
