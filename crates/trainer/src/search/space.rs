//! A space that was checked: parameters, their conditions, and the configuration at a point.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, anyhow, bail, ensure};
use toml::Value;

use crate::config::RunConfig;
use crate::search::domain::{Domain, number, rounded, same};
use crate::search::file::{Known, ParameterFile, ParameterKind, Settings, SpaceFile};
use crate::search::objective::Objectives;
use crate::search::tpe::{Axes, Axis, Point};
use crate::training::model::image_layer;

/// What a parameter may not be, and why.
const NOT_SEARCHED: [(&str, &str); 8] = [
    ("training.epochs", "budget.epochs says how long a trial is"),
    ("training.evaluate_every", "trials are compared at the same epochs"),
    ("training.patience", "budget.rungs says which trials end early"),
    ("training.seed", "it would be chosen by luck; --confirm trains other seeds"),
    ("training.keep_checkpoints", "it changes no result"),
    ("training.keep_best", "it changes no result"),
    ("training.checkpoint_every", "it changes no result"),
    ("model.likelihood", "their losses cannot be compared"),
];
/// Values of a step or choice at most.
const MAX_VALUES: f64 = 10_000.0;

/// A parameter and when it applies.
#[derive(Debug, Clone)]
pub(crate) struct Parameter {
    pub(crate) key: String,
    pub(crate) domain: Domain,
    /// Parameters before it, each with the values with which it applies.
    when: Vec<(usize, Vec<Value>)>,
}

/// A space.
#[derive(Debug, Clone)]
pub(crate) struct Space {
    pub(crate) file: SpaceFile,
    pub(crate) objectives: Objectives,
    /// Each after those that its condition names.
    pub(crate) parameters: Vec<Parameter>,
    axes: Vec<Axis>,
    /// Points that are tried first.
    pub(crate) known: Vec<Settings>,
}

impl Axes for Space {
    fn axes(&self) -> &[Axis] {
        &self.axes
    }

    fn applies(&self, axis: usize, before: &[Option<f64>]) -> bool {
        self.parameters[axis].when.iter().all(|(other, values)| {
            let value = before[*other].map(|at| self.parameters[*other].domain.at(at));
            value.is_some_and(|value| values.iter().any(|allowed| same(allowed, &value)))
        })
    }
}

impl Space {
    /// Checks a space, before anything is trained.
    pub(crate) fn new(file: SpaceFile) -> Result<Self> {
        file.budget.check()?;
        ensure!((2..=1000).contains(&file.sampler.levels), "sampler.levels: from 2 to 1000");
        ensure!(!file.parameters.is_empty(), "parameters: there is none to search");
        let objectives = Objectives::new(&file.objectives)?;
        let mut space =
            Self { file, objectives, parameters: Vec::new(), axes: Vec::new(), known: Vec::new() };
        let base = space.config(&Settings::new()).context("settings")?;
        ensure!(
            base.data.validation_images.is_some(),
            "settings: data.validation_images is missing: trials are compared on held-out training \
             images, such as 5000"
        );
        let every = base.training.evaluate_every;
        let unmeasured = space.file.budget.rungs.iter().find(|rung| !rung.is_multiple_of(every));
        if let Some(rung) = unmeasured {
            bail!("budget.rungs: epoch {rung} is not evaluated: training.evaluate_every = {every}");
        }
        space.add_parameters()?;
        for number in 0..space.file.enqueue.len() {
            let known = space.known_point(&space.file.enqueue[number]);
            space.known.push(known.with_context(|| format!("enqueue, point {}", number + 1))?);
        }
        Ok(space)
    }

    /// Adds the parameters, each once those that its condition names are there.
    fn add_parameters(&mut self) -> Result<()> {
        let mut left: Vec<(String, ParameterFile)> =
            self.file.parameters.clone().into_iter().collect();
        while !left.is_empty() {
            let waits = |file: &ParameterFile| {
                file.when.keys().any(|key| left.iter().any(|(other, _)| other == key))
            };
            let Some(next) = left.iter().position(|(_, file)| !waits(file)) else {
                let keys: Vec<&str> = left.iter().map(|(key, _)| key.as_str()).collect();
                bail!("parameters: the conditions of {} wait for each other", keys.join(", "));
            };
            let (key, file) = left.remove(next);
            let added = self.add(&key, &file);
            added.with_context(|| format!("parameters.\"{key}\""))?;
        }
        Ok(())
    }

    fn add(&mut self, key: &str, file: &ParameterFile) -> Result<()> {
        if let Some((_, why)) = NOT_SEARCHED.iter().find(|(name, _)| *name == key) {
            bail!("cannot be searched: {why}");
        }
        let is_data = key.starts_with("data.") && key != "data.train_images";
        ensure!(!is_data, "cannot be searched: trials on other images cannot be compared");
        let domain = domain(file)?;
        let when = file.when.iter().map(|(other, values)| self.condition(other, values));
        let when: Vec<_> = when.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
        self.axes.push(domain.axis());
        self.parameters.push(Parameter { key: key.to_owned(), domain, when });
        let number = self.parameters.len() - 1;
        let mut needed = BTreeMap::new();
        self.require(number, &mut needed)?;
        // With values for which it applies.
        for value in self.parameters[number].domain.extremes() {
            let mut settings: Settings = needed
                .iter()
                .map(|(&at, values)| (self.parameters[at].key.clone(), values[0].clone()))
                .collect();
            settings.insert(key.to_owned(), value.clone());
            self.config(&settings).with_context(|| format!("{key} = {value}"))?;
        }
        Ok(())
    }

    /// A condition on another parameter; `None` if it is one on a setting, which holds.
    fn condition(&self, key: &str, values: &Value) -> Result<Option<(usize, Vec<Value>)>> {
        let values = match values {
            Value::Array(values) => values.clone(),
            value => vec![value.clone()],
        };
        let shown = values.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ");
        let never = |why: String| anyhow!("when \"{key}\" = {shown}: never holds: {why}");
        let Some(at) = self.parameters.iter().position(|parameter| parameter.key == key) else {
            let setting = self.setting(key)?;
            let setting = setting.ok_or_else(|| never("there is no such setting".to_owned()))?;
            let holds = values.iter().any(|value| same(value, &setting));
            ensure!(holds, never(format!("it is {setting}, and no parameter")));
            return Ok(None);
        };
        let domain = &self.parameters[at].domain;
        let has_values = !matches!(domain, Domain::Real { .. });
        ensure!(
            has_values,
            never("it is any number; its kind must be int, step or choice".to_owned())
        );
        let possible: Vec<Value> =
            values.into_iter().filter(|value| domain.position(value).is_some()).collect();
        ensure!(!possible.is_empty(), never("the parameter has no such value".to_owned()));
        Ok(Some((at, possible)))
    }

    /// The value of a setting that is no parameter.
    fn setting(&self, key: &str) -> Result<Option<Value>> {
        let table = toml::Table::try_from(self.config(&Settings::new())?)?;
        let found = key.split_once('.').and_then(|(section, key)| table.get(section)?.get(key));
        Ok(found.cloned())
    }

    /// Collects the values that other parameters must have for the parameter `number` to apply.
    fn require(&self, number: usize, needed: &mut BTreeMap<usize, Vec<Value>>) -> Result<()> {
        for (at, values) in &self.parameters[number].when {
            let both = needed.entry(*at).or_insert_with(|| values.clone());
            both.retain(|value| values.iter().any(|other| same(other, value)));
            let key = &self.parameters[*at].key;
            ensure!(!both.is_empty(), "when \"{key}\": never holds: other conditions exclude it");
            self.require(*at, needed)?;
        }
        Ok(())
    }

    /// The point of known settings: values of parameters, and otherwise those of all trials.
    fn known_point(&self, known: &Known) -> Result<Settings> {
        let Known::Settings(settings) = known else { bail!("not read") };
        let keys: BTreeSet<&str> = self.parameters.iter().map(|p| p.key.as_str()).collect();
        if let Some(key) = settings.keys().find(|key| !keys.contains(key.as_str())) {
            bail!("{key} is not a parameter");
        }
        let mut fault = None;
        let mut values = Settings::new();
        self.point(|axis, _| {
            let Parameter { key, domain, .. } = &self.parameters[axis];
            let value =
                settings.get(key).cloned().map_or_else(|| self.setting(key), |v| Ok(Some(v)));
            let value = value.ok().flatten().map(|value| match value {
                // As `model.hidden = [512]`.
                Value::Array(items) if items.len() == 1 && !is_list(domain) => items[0].clone(),
                other => other,
            });
            match value.as_ref().and_then(|value| Some((domain.position(value)?, value))) {
                Some((at, value)) => {
                    values.insert(key.clone(), value.clone());
                    at
                }
                None => {
                    let shown = value.map_or("no value".to_owned(), |value| value.to_string());
                    fault.get_or_insert(format!("{key} has {shown}, which is outside its range"));
                    0.5
                }
            }
        });
        fault.map_or(Ok(values), |fault| Err(anyhow!(fault)))
    }

    /// The settings at a point.
    pub(crate) fn settings(&self, point: &Point) -> Settings {
        let both = self.parameters.iter().zip(point);
        let value = |(parameter, at): (&Parameter, &Option<f64>)| {
            Some((parameter.key.clone(), parameter.domain.at((*at)?)))
        };
        both.filter_map(value).collect()
    }

    /// The point at these settings.
    pub(crate) fn point_of(&self, settings: &Settings) -> Point {
        let at = |p: &Parameter| p.domain.position(settings.get(&p.key)?);
        self.parameters.iter().map(at).collect()
    }

    /// The configuration of a trial with these settings; checked.
    pub(crate) fn config(&self, settings: &Settings) -> Result<RunConfig> {
        let epochs = |key: &str| {
            Some((key.to_owned(), Value::Integer(i64::try_from(self.file.budget.epochs).ok()?)))
        };
        // A whole schedule, and one checkpoint besides the best.
        let defaults = [
            Some(("model.kind".to_owned(), Value::String(self.file.config.clone()))),
            epochs("training.decay_epochs"),
            Some(("training.keep_checkpoints".to_owned(), Value::Integer(1))),
        ];
        let mut all: Settings = defaults.into_iter().flatten().collect();
        all.extend(self.file.settings.clone());
        all.extend(settings.clone());
        all.extend(epochs("training.epochs"));
        if let Some(width) = all.get_mut("model.hidden").filter(|value| value.is_integer()) {
            *width = Value::Array(vec![width.clone()]);
        }
        RunConfig::of_settings(&all)
    }

    /// Weights and biases of a model with this configuration.
    pub(crate) fn parameters_of(config: &RunConfig) -> f64 {
        let amplitudes = if config.model.learned_amplitudes { config.model.latent } else { 0 };
        config.model.stored_numbers(image_layer(config.data.shape())) + amplitudes as f64
    }

    /// Why a configuration is not tried.
    pub(crate) fn violation(&self, config: &RunConfig) -> Option<String> {
        let (most, parameters) =
            (self.file.constraints.max_parameters?, Self::parameters_of(config));
        (parameters > most as f64)
            .then(|| format!("{parameters} parameters, constraints.max_parameters = {most}"))
    }
}

fn is_list(domain: &Domain) -> bool {
    matches!(domain, Domain::List { values, .. } if values.iter().any(Value::is_array))
}

/// The domain that a parameter of the file asks for.
fn domain(file: &ParameterFile) -> Result<Domain> {
    let ParameterFile { kind, low, high, step, log, values, .. } = file;
    if *kind == ParameterKind::Choice {
        let values = values.clone().context("kind = \"choice\" needs values = [...]")?;
        ensure!(low.is_none() && high.is_none() && step.is_none() && !log, "a choice has no range");
        let repeats = |(at, value): (usize, &Value)| values[..at].iter().any(|v| same(v, value));
        ensure!(!values.iter().enumerate().any(repeats), "values: one is there twice");
        ensure!(values.len() >= 2, "values: a choice needs two or more");
        return Ok(Domain::List { values, ordered: false });
    }
    ensure!(values.is_none(), "values are for kind = \"choice\"");
    ensure!(step.is_none() || *kind == ParameterKind::Step, "step is for kind = \"step\"");
    ensure!(!log || *kind == ParameterKind::Int, "log is for kind = \"int\"");
    let end = |value: &Option<Value>, name| -> Result<(f64, Value)> {
        let value = value.clone().with_context(|| format!("{name} is missing"))?;
        let finite = number(&value).filter(|number| number.is_finite());
        Ok((finite.with_context(|| format!("{name} = {value}: must be a number"))?, value))
    };
    let ((low, low_value), (high, high_value)) = (end(low, "low")?, end(high, "high")?);
    ensure!(low < high, "the range from low = {low} to high = {high} is empty");
    let is_log = *log || *kind == ParameterKind::Log;
    ensure!(!is_log || low > 0.0, "low = {low} has no logarithm: it must be above 0");
    match kind {
        ParameterKind::Int => {
            let whole = low_value.as_integer().zip(high_value.as_integer());
            let (low, high) = whole.context("low and high of an int must be whole numbers")?;
            Ok(Domain::Whole { low, high, log: is_log })
        }
        ParameterKind::Step => {
            let (size, value) = end(step, "step")?;
            ensure!(size > 0.0, "step = {size}: must be above 0");
            let count = ((high - low) / size + 1e-9).floor() + 1.0;
            ensure!((2.0..=MAX_VALUES).contains(&count), "step = {size}: gives {count} values");
            let whole = low_value.is_integer() && value.is_integer();
            let at = |k: i32| match rounded(low + f64::from(k) * size, 12) {
                number if whole => Value::Integer(number as i64),
                number => Value::Float(number),
            };
            Ok(Domain::List { values: (0..count as i32).map(at).collect(), ordered: true })
        }
        _ => Ok(Domain::Real { low, high, log: is_log }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use std::path::Path;

    use hvae_model::Kind;

    use super::*;
    use crate::search::presets;

    const RATE: &str =
        "[parameters.\"training.learning_rate\"]\nkind = \"log\"\nlow = 1e-3\nhigh = 0.1\n";
    const HELD: &str = "[settings]\n\"data.validation_images\" = 10\n";

    fn fault(text: &str) -> String {
        let space = SpaceFile::parse(text, Path::new(".")).and_then(Space::new);
        format!("{:#}", space.unwrap_err())
    }

    #[test]
    fn built_in_spaces_are_valid_and_try_the_preset_first() {
        for kind in Kind::ALL {
            let file = SpaceFile::parse(presets::space(kind), Path::new(".")).unwrap();
            let space = Space::new(file).unwrap();
            let first = space.config(&space.known[0]).unwrap();
            let preset =
                RunConfig::resolve(None, &[format!("model.kind={}", kind.name())]).unwrap();
            assert_eq!((first.model, first.ep), (preset.model, preset.ep));
            assert_eq!(first.training.batch_size, preset.training.batch_size);
        }
    }

    #[test]
    fn mistakes_are_named_before_anything_is_trained() {
        let parameter = |key: &str, rest: &str| format!("{HELD}[parameters.\"{key}\"]\n{rest}\n");
        let rate = |rest: &str| parameter("training.learning_rate", rest);
        let when = |when: &str| format!("{HELD}{RATE}when = {when}\n");
        for (text, expected) in [
            (format!("trails = 3\n{HELD}{RATE}"), "trails"),
            (format!("{HELD}{RATE}hihg = 3\n"), "hihg"),
            (
                parameter("training.learnign_rate", "kind = \"log\"\nlow = 1\nhigh = 2"),
                "learnign_rate",
            ),
            (parameter("training.epochs", "kind = \"int\"\nlow = 1\nhigh = 2"), "budget.epochs"),
            (
                parameter("data.dataset", "kind = \"choice\"\nvalues = [\"mnist\", \"x\"]"),
                "data.dataset",
            ),
            (rate("kind = \"log\"\nlow = 0.0\nhigh = 1.0"), "low = 0 has no logarithm"),
            (
                rate("kind = \"linear\"\nlow = 0.3\nhigh = 0.3"),
                "from low = 0.3 to high = 0.3 is empty",
            ),
            (rate("kind = \"linear\"\nlow = -1.0\nhigh = 0.3"), "learning_rate = -1"),
            (rate("kind = \"linear\"\nlow = nan\nhigh = 0.3"), "low = nan"),
            (rate("kind = \"linear\"\nhigh = 0.3"), "low is missing"),
            (rate("kind = \"linear\"\nlow = 0.1\nhigh = 0.3\nstep = 0.1"), "step is for"),
            (rate("kind = \"step\"\nlow = 0.1\nhigh = 0.3\nstep = 0.0"), "step = 0"),
            (rate("kind = \"step\"\nlow = 0.1\nhigh = 0.3\nstep = 1.0"), "step = 1"),
            (rate("kind = \"choice\"\nvalues = [0.1, 0.1]"), "twice"),
            (rate("kind = \"choice\"\nvalues = []"), "two or more"),
            (rate("kind = \"int\"\nlow = 0.1\nhigh = 0.3"), "whole numbers"),
            (parameter("model.latent", "kind = \"int\"\nlow = 0\nhigh = 3"), "model.latent = 0"),
            (when("{ \"model.kind\" = \"th-vae\" }"), "never holds: it is \"h-vae\""),
            (when("{ \"model.kidn\" = \"th-vae\" }"), "there is no such setting"),
            (when("{ \"training.learning_rate\" = 0.1 }"), "wait for each other"),
            (
                format!("[objectives]\n\"test.elbo\" = \"maximise\"\n{HELD}{RATE}"),
                "nothing may be chosen by the test set",
            ),
            (RATE.to_owned(), "data.validation_images is missing"),
            (HELD.to_owned(), "there is none to search"),
            (
                format!("[budget]\nepochs = 4\nrungs = [2, 4]\n{HELD}{RATE}"),
                "budget.rungs = [2, 4]",
            ),
            (format!("[budget]\neta = 1\n{HELD}{RATE}"), "budget.eta = 1"),
            (
                format!(
                    "[budget]\nepochs = 4\nrungs = [1]\n{HELD}\"training.evaluate_every\" = 2\n{RATE}"
                ),
                "epoch 1 is not evaluated",
            ),
            (
                format!("enqueue = [{{ \"training.learning_rate\" = 5.0 }}]\n{HELD}{RATE}"),
                "outside its range",
            ),
            (
                format!("enqueue = [{{ \"model.latent\" = 5 }}]\n{HELD}{RATE}"),
                "model.latent is not a parameter",
            ),
            (format!("enqueue = [\"x-vae\"]\n{HELD}{RATE}"), "x-vae"),
            (format!("config = \"mine.toml\"\n{HELD}{RATE}"), "mine.toml"),
        ] {
            let message = fault(&text);
            assert!(message.contains(expected) && !message.contains('\n'), "{text}\n{message}");
        }
    }

    #[test]
    fn conditions_that_exclude_each_other_are_refused() {
        let message = fault(&format!(
            "{HELD}
            [parameters.\"model.kind\"]
            kind = \"choice\"
            values = [\"h-vae\", \"th-vae\"]
            [parameters.\"model.image_amplitude\"]
            kind = \"step\"
            low = 10
            high = 30
            step = 10
            when = {{ \"model.kind\" = \"th-vae\" }}
            [parameters.\"model.latent_amplitude\"]
            kind = \"linear\"
            low = 10
            high = 30
            when = {{ \"model.kind\" = \"h-vae\", \"model.image_amplitude\" = 10 }}"
        ));
        assert!(
            message.contains("latent_amplitude") && message.contains("never holds"),
            "{message}"
        );
    }
}
