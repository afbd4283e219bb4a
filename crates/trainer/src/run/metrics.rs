//! What a run reports of an epoch.

use hvae_model::PerPhase;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::run::latents::LatentUse;
use crate::run::prior::PriorUse;

/// Share of converged samples below which a phase deserves a warning.
const WARN_BELOW: f64 = 0.99;
/// Cosine of the gradient check below which training deserves a warning.
const COSINE_BELOW: f64 = 0.9;
/// What to do about a loop gain above 1.
const TOO_STRONG: &str = "the loop gain is above 1: raise the gains (model.*_gain), or lower \
                          training.learning_rate if it was below 1 before";

/// Means over the samples of one phase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PhaseStats {
    pub(crate) sweeps: f64,
    /// Share of samples whose residual met the tolerance.
    pub(crate) converged: f64,
    /// Number of samples whose state was not finite.
    pub(crate) not_finite: u64,
    /// Relative residual at the end, over finite samples; `None` without any.
    pub(crate) residual: Option<f64>,
    /// Histogram of the sweeps: entry `n` is the number of samples that took `n`.
    pub(crate) by_sweeps: Vec<u64>,
}

/// Mean losses per image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct MeanLosses {
    /// Sum over pixels of `(x^ - x)^2`; pixels in `[0, 1]`.
    pub(crate) reconstruction_error: f64,
    /// `KL(q(z|x) || p(z))`, nats.
    #[serde(rename = "kl")]
    pub(crate) divergence: f64,
    /// Evidence lower bound `ln p(x|z) - KL`, nats, at a sample `z` of the posterior.
    pub(crate) elbo: f64,
}

/// Means over the samples of each phase of a step.
pub(crate) type PhaseMeans = PerPhase<Option<PhaseStats>>;

/// Largest loop gain of encoder and decoder over a batch of images.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct LoopGains {
    #[serde(deserialize_with = "null_as_nan")]
    pub(crate) encoder: f64,
    #[serde(deserialize_with = "null_as_nan")]
    pub(crate) decoder: f64,
}

/// The EP gradient compared with the unrolled gradient.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct GradientCheck {
    /// Cosine between the gradients of all parameters.
    #[serde(deserialize_with = "null_as_nan")]
    pub(crate) cosine: f64,
    #[serde(deserialize_with = "null_as_nan")]
    pub(crate) norm_ratio: f64,
    /// Smallest cosine of a single parameter's gradients.
    #[serde(deserialize_with = "null_as_nan")]
    pub(crate) worst_cosine: f64,
}

/// One line of `metrics.jsonl`: an epoch.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EpochMetrics {
    pub(crate) epoch: usize,
    pub(crate) step: usize,
    /// Means over the epoch's training images, each with the weights before its step, at samples of
    /// the posterior.
    pub(crate) train: MeanLosses,
    /// Over the validation images, or the test images without a validation split: reconstruction
    /// error at the posterior mean, ELBO at samples of the posterior. `None` in an epoch without an
    /// evaluation.
    pub(crate) test: Option<MeanLosses>,
    /// How the latents of those images are used.
    #[serde(default)]
    pub(crate) latents: Option<LatentUse>,
    /// How a learned prior is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) prior: Option<PriorUse>,
    /// How the phases of training ended.
    pub(crate) phases: PhaseMeans,
    /// Training images that were dropped from a gradient, because a phase did not converge.
    pub(crate) dropped: u64,
    /// Loop gains on a batch of those images; `None` without feedback or evaluation.
    pub(crate) loop_gains: Option<LoopGains>,
    /// The gradient check on a batch of those images; `None` for a model that is trained by
    /// backpropagation, and without evaluation.
    pub(crate) gradient_check: Option<GradientCheck>,
    pub(crate) gradient_norm: f64,
    /// Learning rate of the last step.
    pub(crate) learning_rate: f64,
    /// Training images per second in this process's part of the epoch.
    pub(crate) images_per_second: f64,
    /// Seconds of this process's part of the epoch, evaluation included.
    pub(crate) seconds: f64,
}

impl EpochMetrics {
    /// All numbers under the names of `metrics.csv`, such as `test.elbo`; histograms are left out.
    pub(crate) fn scalars(&self) -> Vec<(String, f64)> {
        flat(&serde_json::to_value(self).expect("metrics have a JSON form"))
    }

    /// A warning if equilibria were not reached, the gradient is wrong or latents are not used.
    pub(crate) fn warning(&self) -> Option<String> {
        let latents = || self.latents.as_ref()?.warning();
        self.equilibria().or_else(|| self.gradient()).or_else(latents)
    }

    /// Whether the loop gain is above 1, or not a number.
    fn has_no_equilibrium(&self) -> bool {
        let gains = self.loop_gains.iter().flat_map(|gains| [gains.encoder, gains.decoder]);
        gains.into_iter().any(|gain| gain.is_nan() || gain > 1.0)
    }

    fn gradient(&self) -> Option<String> {
        let cosine = self.gradient_check?.cosine;
        // NaN compares false.
        (cosine.is_nan() || cosine < COSINE_BELOW).then(|| {
            let advice = if self.has_no_equilibrium() {
                TOO_STRONG
            } else {
                "lower ep.nudge, or ep.tolerance and ep.nudged_tolerance"
            };
            format!(
                "the cosine between the EP gradient and the unrolled gradient is {cosine:.3}; \
                 {advice}"
            )
        })
    }

    fn equilibria(&self) -> Option<String> {
        let phases = self.phases.named().into_iter();
        let worst = phases.filter_map(|(name, p)| Some((name, p.as_ref()?)));
        let (name, phase) = worst.min_by(|a, b| a.1.converged.total_cmp(&b.1.converged))?;
        if phase.not_finite > 0 {
            let advice =
                if self.has_no_equilibrium() { TOO_STRONG } else { "lower training.learning_rate" };
            let states = phase.not_finite;
            return Some(format!("{states} states are not finite ({name} phase); {advice}"));
        }
        let advice = if self.has_no_equilibrium() {
            TOO_STRONG
        } else {
            "raise ep.free_sweeps and ep.nudged_sweeps, or the gains (model.*_gain)"
        };
        (phase.converged < WARN_BELOW).then(|| {
            let share = percent(phase.converged);
            let effect = match self.dropped {
                0 => "gradients are inexact".to_owned(),
                dropped => format!("{dropped} were dropped from the gradients"),
            };
            format!(
                "only {share}% of the samples reached equilibrium ({name} phase): {effect}; \
                 {advice}"
            )
        })
    }

    /// For the terminal, in lines of at most 80 characters: the losses; and, for equilibria, sweeps
    /// (free and nudged, of encoder and decoder), the lowest share that converged, loop gains and
    /// gradient cosine. `monitor` names the split that [`Self::test`] was measured on.
    pub(crate) fn summary(&self, epochs: usize, monitor: &str) -> String {
        let test = self
            .test
            .map_or(String::new(), |t| format!(" {:.2} {monitor}", t.reconstruction_error));
        let losses = self.test.unwrap_or(self.train);
        let active = self.latents.as_ref().map_or(String::new(), |latents| {
            format!("  active {}/{}", latents.active_units, latents.kl.len())
        });
        let first = format!(
            "epoch {:>2}/{epochs}  reconstruction {:.2} train{test}  KL {:.2}  ELBO {:.1}  {:.0} s",
            self.epoch,
            self.train.reconstruction_error,
            losses.divergence,
            losses.elbo,
            self.seconds,
        );
        let PhaseMeans { encoder_free, decoder_free, decoder_nudged, encoder_nudged } =
            &self.phases;
        let phases = [encoder_free, encoder_nudged, decoder_free, decoder_nudged];
        let sweeps = phases.map(|p| p.as_ref().map_or("-".into(), |p| format!("{:.1}", p.sweeps)));
        let shares = phases.iter().filter_map(|p| Some(p.as_ref()?.converged));
        let second = decoder_free.as_ref().map_or(String::new(), |_| {
            let [encoder, encoder_nudged, decoder, decoder_nudged] = sweeps;
            let converged = percent(shares.fold(1.0, f64::min));
            format!("  sweeps {encoder}+{encoder_nudged} {decoder}+{decoder_nudged} ({converged}%)")
        });
        let gains = self.loop_gains.map_or(String::new(), |gains| {
            format!("  gain {:.2} {:.2}", gains.encoder, gains.decoder)
        });
        let cosine =
            self.gradient_check.map_or(String::new(), |c| format!("  cosine {:.4}", c.cosine));
        let second = second + &gains + &cosine + &active;
        let prior = self.prior.map_or(String::new(), |prior| format!("  {prior}"));
        let lines = [first, second, prior].into_iter().filter(|line| !line.is_empty());
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// A share in percent: 100 only if it is exactly 1.
fn percent(share: f64) -> String {
    let shown = format!("{:.0}", 100.0 * share);
    if share < 1.0 && shown == "100" {
        format!("{:.2}", (1e4 * share).floor() / 100.0)
    } else {
        shown
    }
}

/// A number that is not finite is `null` in JSON.
fn null_as_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// The numbers of a JSON value under their paths, such as `test.elbo`; lists are left out.
pub(crate) fn flat(value: &Value) -> Vec<(String, f64)> {
    let below = |(key, value): (&String, &Value)| match value.as_f64() {
        Some(number) => vec![(key.clone(), number)],
        None => flat(value).into_iter().map(|(path, n)| (format!("{key}.{path}"), n)).collect(),
    };
    value.as_object().into_iter().flatten().flat_map(below).collect()
}
