//! The section `[training]` of a configuration.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use crate::config::schedule::Schedule;
use crate::optimizer::OptimizerKind;

/// Upper limit of every count: far above what is sensible, far below an overflow.
const MAX_COUNT: usize = 10_000_000;

/// How a model is trained. `docs/settings.md` has a table of defaults and ranges.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainingConfig {
    /// Passes over the training images, in total.
    pub epochs: usize,
    /// Images per step.
    pub batch_size: usize,
    /// Update rule of the weights.
    pub optimizer: OptimizerKind,
    /// Momentum of [`OptimizerKind::Sgd`], in `[0, 1)`.
    pub momentum: f64,
    /// The peak learning rate.
    pub learning_rate: f64,
    /// Factor on the learning rate of the decoder's image layer, after division by its gain.
    pub visible_rate: f64,
    /// Steps over which the learning rate rises linearly from 0.
    pub warmup_steps: usize,
    /// Shape of the decay after the warm-up.
    pub schedule: Schedule,
    /// Epochs until the decay of the learning rate ends; then it is constant.
    pub decay_epochs: usize,
    /// Share of `learning_rate` at the end of the decay, in `[0, 1]`.
    pub final_learning_rate: f64,
    /// Weight of the KL divergence.
    pub kl_weight: f64,
    /// Steps over which that weight rises linearly from 0.
    pub kl_warmup_steps: usize,
    /// Euclidean norm to which a step's gradient is clipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
    /// Decay per step of averaged weights, which are evaluated, sampled and exported instead of the
    /// newest ones, in `[0, 1)`; 0 for no averages.
    pub ema_decay: f64,
    /// Seed of weights, batch order and noise.
    pub seed: u64,
    /// Epochs between two evaluations; the last epoch always has one.
    pub evaluate_every: usize,
    /// Evaluations without a lower validation loss after which training ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patience: Option<usize>,
    /// Steps between two checkpoints within an epoch; each epoch ends with one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint_every: Option<usize>,
    /// Newest checkpoints kept, besides the best.
    pub keep_checkpoints: usize,
    /// Checkpoints of lowest validation loss kept.
    pub keep_best: usize,
}

impl TrainingConfig {
    /// Whether averaged weights are kept.
    pub fn averages(&self) -> bool {
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
        let positive = |x: f64| x.is_finite() && x > 0.0;
        for (name, value) in [
            ("learning_rate", self.learning_rate),
            ("visible_rate", self.visible_rate),
            ("clip_norm", self.clip_norm.unwrap_or(1.0)),
        ] {
            ensure!(positive(value), "training.{name} = {value}: must be a positive number");
        }
        let last = self.final_learning_rate;
        ensure!(
            (0.0..=1.0).contains(&last),
            "training.final_learning_rate = {last}: must lie in [0, 1]"
        );
        let momentum = self.momentum;
        ensure!(
            (0.0..1.0).contains(&momentum),
            "training.momentum = {momentum}: must lie in [0, 1)"
        );
        let decay = self.ema_decay;
        ensure!(
            (0.0..1.0).contains(&decay),
            "training.ema_decay = {decay}: must lie in [0, 1), such as 0.999, or 0 for no averages"
        );
        let kl = self.kl_weight;
        ensure!(kl.is_finite() && kl >= 0.0, "training.kl_weight = {kl}: must be 0 or more");
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
