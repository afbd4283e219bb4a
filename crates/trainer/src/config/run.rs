//! The configuration of a run: a preset, overridden by a TOML file, overridden by the command line,
//! then checked.

use std::path::Path;

use anyhow::{Context, Error, Result};
use hvae_data::config::DataConfig;
use hvae_model::{EpConfig, Kind, PhaseSettings, ReadPolicy, VaeConfig};
use serde::{Deserialize, Serialize};

use crate::config::training::TrainingConfig;
use crate::config::usage::Usage;
use crate::config::{overrides, presets};

/// The settings of a run. With the images and the code they determine its results.
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

/// What the command line changes in a configuration, in the order in which it is applied.
#[derive(Clone, Copy, Default)]
pub struct Changes<'a> {
    /// `ep.check_every`, whose default depends on the device.
    pub check_every: Option<usize>,
    /// `section.key=value` as the user typed it.
    pub set: &'a [String],
    /// The kind of model, which chooses the preset.
    pub kind: Option<Kind>,
    /// Applies the flags of single settings.
    pub flags: Option<&'a dyn Fn(&mut RunConfig)>,
}

impl std::fmt::Debug for Changes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = f.debug_struct("Changes");
        debug.field("set", &self.set).field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl Changes<'_> {
    fn apply_to(&self, table: &mut toml::Table) -> Result<()> {
        if let Some(every) = self.check_every {
            let every = i64::try_from(every).context("ep.check_every")?;
            overrides::insert(table, &["ep"], "check_every", every.into())?;
        }
        for text in self.set {
            overrides::set(table, text)?;
        }
        if let Some(kind) = self.kind {
            overrides::insert(table, &["model"], "kind", kind.name().into())?;
        }
        Ok(())
    }
}

impl RunConfig {
    /// The preset, overridden by `file`, overridden by `set` (`section.key=value`, the value as
    /// TOML or as a plain word); checked.
    ///
    /// # Errors
    ///
    /// For a file that cannot be read, an unknown key, or an invalid value; the message names the
    /// key.
    pub fn resolve(file: Option<&Path>, set: &[String]) -> Result<Self> {
        Self::resolve_with(file, &Changes { set, ..Changes::default() })
    }

    /// The preset, overridden by `file`, overridden by `changes`; checked.
    ///
    /// # Errors
    ///
    /// As [`Self::resolve`].
    pub fn resolve_with(file: Option<&Path>, changes: &Changes<'_>) -> Result<Self> {
        let Some(path) = file else { return Self::parse_with("", "configuration", changes) };
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("reading configuration {}", path.display()))?;
        Self::parse_with(&text, &path.display().to_string(), changes)
    }

    /// The configuration in `text`, TOML from `source`, overridden by `set`; checked.
    ///
    /// # Errors
    ///
    /// As [`Self::resolve`]; the message names `source`.
    pub fn parse(text: &str, source: &str, set: &[String]) -> Result<Self> {
        Self::parse_with(text, source, &Changes { set, ..Changes::default() })
    }

    /// The configuration in `text`, TOML from `source`, overridden by `changes`; checked.
    pub(crate) fn parse_with(text: &str, source: &str, changes: &Changes<'_>) -> Result<Self> {
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
        let config: Result<Self, _> = presets::over_preset(table)?.try_into();
        let mut config =
            config.map_err(|error: toml::de::Error| Error::msg(plain(&error.to_string())))?;
        if let Some(flags) = changes.flags {
            flags(&mut config);
        }
        config.check()?;
        Ok(config)
    }

    /// As TOML, with every key.
    ///
    /// # Errors
    ///
    /// When a value has no TOML form.
    pub fn to_toml(&self) -> Result<String> {
        let text = toml::to_string(self).context("writing the configuration as TOML")?;
        presets::with_explicit_none(text, self.model.kind.name())
    }

    /// The first setting that differs from `other`, as `key = now (was then)`, except those that
    /// may change when a run is resumed.
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
                    let (new, old) = (show(new), show(old));
                    return Ok(Some(format!("{section}.{key} = {new} (was {old})")));
                }
            }
        }
        Ok(None)
    }

    /// The first setting of the model or the shape of its images that differs from `other`, in the
    /// same words: weights of the one are not valid in the other.
    ///
    /// # Errors
    ///
    /// As [`Self::change_since`].
    pub fn model_change_since(&self, other: &Self) -> Result<Option<String>> {
        let mut now = Self { model: self.model.clone(), ..other.clone() };
        (now.data.channels, now.data.size) = (self.data.channels, self.data.size);
        now.change_since(other)
    }

    fn check(&self) -> Result<()> {
        self.training.check()?;
        self.data.check()?;
        self.model.check().context("model")?;
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
        assert_eq!(config.data.dataset, Dataset::Synthetic);
    }

    #[test]
    fn hidden_layers_share_an_activation_or_have_one_each() {
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
    fn optional_settings_can_be_none() {
        let resolve = |sets: [&str; 2]| RunConfig::resolve(None, &sets.map(str::to_owned)).unwrap();
        let reach = |set| resolve(["model.kind=tdh-vae", set]).model.visible_reach;
        assert_eq!(reach("model.visible_reach=5"), Some(5));
        assert_eq!(reach("model.visible_reach=none"), None);
        // A complete configuration leaves out a setting without a value.
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        let all = resolve(["model.kind=tdh-vae", "model.visible_reach=none"]);
        std::fs::write(&path, all.to_toml().unwrap()).unwrap();
        assert_eq!(RunConfig::resolve(Some(&path), &[]).unwrap(), all);
    }

    #[test]
    fn mistakes_in_a_file_are_one_line_with_its_name() {
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
        // A mistake of the command line is not reported as one of the file.
        std::fs::write(&path, good).unwrap();
        let error = RunConfig::resolve(Some(&path), &["training.epochs=0".to_owned()]);
        let error = error.unwrap_err();
        assert!(error.is::<Usage>() && !format!("{error:#}").contains("mine.toml"), "{error:#}");
    }
}
