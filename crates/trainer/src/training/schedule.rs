//! What changes from step to step: learning rate, KL weight, decay of the weight averages.

use crate::config::{Schedule, TrainingConfig};

/// The learning rate of `step` (from 0): linear warm-up, then a decay from `learning_rate` to its
/// final share at `decay_epochs`. It does not depend on the number of epochs, so that a run can be
/// extended.
pub(crate) fn learning_rate(training: &TrainingConfig, step: usize, steps_per_epoch: usize) -> f64 {
    let total = training.decay_epochs as f64 * steps_per_epoch as f64;
    let warmup = training.warmup_steps as f64;
    let step = step as f64;
    if step < warmup {
        return training.learning_rate * (step + 1.0) / warmup;
    }
    let done = ((step - warmup) / (total - warmup).max(1.0)).min(1.0);
    let height = match training.schedule {
        Schedule::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * done).cos()),
        Schedule::Linear => 1.0 - done,
        Schedule::Constant => return training.learning_rate,
    };
    let last = training.final_learning_rate;
    training.learning_rate * (last + (1.0 - last) * height)
}

/// The weight of the KL divergence at `step`: linear from 0 over its warm-up.
pub(crate) fn kl_weight(training: &TrainingConfig, step: usize) -> f64 {
    let warmup = training.kl_warmup_steps.max(1) as f64;
    training.kl_weight * ((step as f64 + 1.0) / warmup).min(1.0)
}

/// The decay of averaged weights at `step`: `min(decay, (1 + step) / (10 + step))`, so that the
/// initial weights, which are random, soon lose their share.
pub(crate) fn ema_decay(decay: f64, step: usize) -> f64 {
    let step = step as f64;
    decay.min((1.0 + step) / (10.0 + step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_learning_rate_rises_then_falls_to_its_final_share() {
        use Schedule::{Constant, Cosine, Linear};
        for (schedule, step, expected, tolerance) in [
            (Cosine, 0, 0.1, 1e-12),
            (Cosine, 9, 1.0, 1e-12),
            // Halfway from 1 to 0.1.
            (Cosine, 505, 0.55, 1e-12),
            (Cosine, 999, 0.1, 1e-4),
            (Cosine, 5000, 0.1, 1e-12),
            (Linear, 4, 0.5, 1e-12),
            (Linear, 10, 1.0, 1e-12),
            // A quarter of the way; the cosine would be at 0.868.
            (Linear, 10 + 990 / 4, 0.775, 1e-3),
            (Linear, 2000, 0.1, 1e-12),
            (Constant, 4, 0.5, 1e-12),
            (Constant, 10, 1.0, 1e-12),
            (Constant, 2000, 1.0, 1e-12),
        ] {
            let training = TrainingConfig { schedule, warmup_steps: 10, ..Default::default() };
            let share = learning_rate(&training, step, 100) / training.learning_rate;
            assert!((share - expected).abs() < tolerance, "{schedule:?} at {step}: {share}");
        }
    }

    #[test]
    fn the_kl_weight_warms_up() {
        let training = TrainingConfig { kl_warmup_steps: 4, kl_weight: 2.0, ..Default::default() };
        for (step, expected) in [0.5, 1.0, 1.5, 2.0, 2.0].into_iter().enumerate() {
            assert!((kl_weight(&training, step) - expected).abs() < 1e-12, "{step}");
        }
    }

    #[test]
    fn averages_start_with_a_short_memory() {
        for (step, expected) in [(0, 0.1), (90, 0.91), (100_000, 0.999)] {
            assert!((ema_decay(0.999, step) - expected).abs() < 1e-12, "{step}");
        }
    }
}
