//! The section `[training]` of a configuration.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use crate::optimizer::OptimizerKind;

/// How the learning rate decays after its warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Schedule {
    /// Half a period of a cosine.
    Cosine,
    Linear,
    /// No decay.
    Constant,
}

/// Upper limit of every count: far above what is sensible, far below an overflow.
const MAX_COUNT: usize = 10_000_000;

/// How a model is trained. `docs/settings.md` has a table of meanings, defaults and ranges.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TrainingConfig {
    pub(crate) epochs: usize,
    pub(crate) batch_size: usize,
    pub(crate) optimizer: OptimizerKind,
    pub(crate) momentum: f64,
    pub(crate) learning_rate: f64,
    pub(crate) visible_rate: f64,
    pub(crate) warmup_steps: usize,
    pub(crate) schedule: Schedule,
    pub(crate) decay_epochs: usize,
    pub(crate) final_learning_rate: f64,
    pub(crate) kl_weight: f64,
    pub(crate) kl_warmup_steps: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) clip_norm: Option<f64>,
    pub(crate) ema_decay: f64,
    pub(crate) seed: u64,
    pub(crate) evaluate_every: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) patience: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) checkpoint_every: Option<usize>,
    pub(crate) keep_checkpoints: usize,
    pub(crate) keep_best: usize,
}

impl TrainingConfig {
    /// Whether averaged weights are kept.
    pub(crate) fn averages(&self) -> bool {
        self.ema_decay > 0.0
    }

    /// Refuses a value outside its range.
    pub(super) fn check(&self) -> Result<()> {
        for (name, value) in [
            ("epochs", self.epochs),
            ("batch_size", self.batch_size),
            ("decay_epochs", self.decay_epochs),
            ("evaluate_every", self.evaluate_every),
            ("patience", self.patience.unwrap_or(1)),
            ("checkpoint_every", self.checkpoint_every.unwrap_or(1)),
            ("keep_checkpoints", self.keep_checkpoints),
            ("keep_best", self.keep_best),
        ] {
            ensure!(
                (1..=MAX_COUNT).contains(&value),
                "training.{name} = {value}: must lie between 1 and {MAX_COUNT}"
            );
        }
        let positive: fn(f64) -> bool = |x| x.is_finite() && x > 0.0;
        let not_negative: fn(f64) -> bool = |x| x.is_finite() && x >= 0.0;
        let share: fn(f64) -> bool = |x| (0.0..=1.0).contains(&x);
        let below_one: fn(f64) -> bool = |x| (0.0..1.0).contains(&x);
        let decays = "must lie in [0, 1), such as 0.999, or 0 for no averages";
        for (name, value, is_valid, range) in [
            ("learning_rate", self.learning_rate, positive, "must be a positive number"),
            ("visible_rate", self.visible_rate, positive, "must be a positive number"),
            ("clip_norm", self.clip_norm.unwrap_or(1.0), positive, "must be a positive number"),
            ("final_learning_rate", self.final_learning_rate, share, "must lie in [0, 1]"),
            ("momentum", self.momentum, below_one, "must lie in [0, 1)"),
            ("ema_decay", self.ema_decay, below_one, decays),
            ("kl_weight", self.kl_weight, not_negative, "must be 0 or more"),
        ] {
            ensure!(is_valid(value), "training.{name} = {value}: {range}");
        }
        Ok(())
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
