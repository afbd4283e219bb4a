//! What a run reports: sums while an epoch lasts, means when it ends.

use hvae_model::PhaseOutcomes;
use hvae_solver::{Outcome, Termination};
use serde::{Deserialize, Serialize};

/// Sums over the samples of one phase.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PhaseSums {
    samples: u64,
    sweeps: u64,
    converged: u64,
    /// Samples whose state was no longer finite; the others alone count below.
    not_finite: u64,
    residual: f64,
    /// Number of samples by their sweeps.
    #[serde(default)]
    by_sweeps: Vec<u64>,
}

impl PhaseSums {
    /// Adds the outcomes of a batch.
    pub fn add(&mut self, outcomes: &[Outcome]) {
        for outcome in outcomes {
            self.samples += 1;
            self.sweeps += outcome.iterations as u64;
            if self.by_sweeps.len() <= outcome.iterations {
                self.by_sweeps.resize(outcome.iterations + 1, 0);
            }
            self.by_sweeps[outcome.iterations] += 1;
            self.converged += u64::from(outcome.termination == Termination::Converged);
            if outcome.residual.is_finite() {
                self.residual += outcome.residual;
            } else {
                self.not_finite += 1;
            }
        }
    }

    /// Means over the samples; `None` without samples.
    pub fn means(&self) -> Option<PhaseMeans> {
        let n = self.samples as f64;
        (self.samples > 0).then(|| PhaseMeans {
            sweeps: self.sweeps as f64 / n,
            converged: self.converged as f64 / n,
            not_finite: self.not_finite,
            residual: (self.samples > self.not_finite)
                .then(|| self.residual / (self.samples - self.not_finite) as f64),
            by_sweeps: self.by_sweeps.clone(),
        })
    }
}

/// Share of converged samples below which a phase is worth a warning.
const WARN_BELOW: f64 = 0.99;
/// Cosine of the gradient check below which training is worth a warning.
const COSINE_BELOW: f64 = 0.9;

/// A share in percent that says 100 of the whole alone.
fn percent(share: f64) -> String {
    let shown = format!("{:.0}", 100.0 * share);
    if share < 1.0 && shown == "100" {
        format!("{:.2}", (1e4 * share).floor() / 100.0)
    } else {
        shown
    }
}

/// Means over the samples of one phase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhaseMeans {
    /// Sweeps per sample.
    pub sweeps: f64,
    /// Share of samples whose residual met the tolerance.
    pub converged: f64,
    /// Number of samples whose state was no longer finite.
    pub not_finite: u64,
    /// Relative residual at the end, over the finite ones; none if there are none.
    pub residual: Option<f64>,
    /// Histogram of the sweeps: entry `n` is the number of samples that took `n`.
    #[serde(default)]
    pub by_sweeps: Vec<u64>,
}

/// Sums over the steps of an epoch; part of a checkpoint, so that a resumed epoch reports what an
/// uninterrupted one does.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EpochSums {
    /// Images seen.
    pub images: u64,
    /// Images that do not count in the losses.
    #[serde(default)]
    uncounted: u64,
    /// Images dropped from a gradient.
    #[serde(default)]
    pub dropped: u64,
    reconstruction_error: f64,
    #[serde(default)]
    log_likelihood: f64,
    divergence: f64,
    gradient_norm: f64,
    steps: u64,
    encoder_free: PhaseSums,
    decoder_free: PhaseSums,
    decoder_nudged: PhaseSums,
    encoder_nudged: PhaseSums,
}

impl EpochSums {
    /// Adds a step: how many images it had, how many of them count in the losses and how many were
    /// dropped from a gradient; the norm of its gradient, its losses in the order of
    /// [`StepLosses`](hvae_model::StepLosses), and how its phases ended.
    pub fn add(
        &mut self,
        [images, counted, dropped]: [usize; 3],
        norm: f64,
        losses: [f64; 3],
        outcomes: &PhaseOutcomes,
    ) {
        let n = counted as f64;
        let [reconstruction_error, log_likelihood, divergence] = losses;
        self.images += images as u64;
        self.uncounted += (images - counted) as u64;
        self.dropped += dropped as u64;
        self.reconstruction_error += reconstruction_error * n;
        self.log_likelihood += log_likelihood * n;
        self.divergence += divergence * n;
        self.gradient_norm += norm;
        self.steps += 1;
        self.encoder_free.add(&outcomes.encoder_free);
        self.decoder_free.add(&outcomes.decoder_free);
        self.decoder_nudged.add(&outcomes.decoder_nudged);
        self.encoder_nudged.add(&outcomes.encoder_nudged);
    }

    /// Mean losses so far.
    pub fn losses(&self) -> Losses {
        let n = (self.images - self.uncounted).max(1) as f64;
        Losses {
            reconstruction_error: self.reconstruction_error / n,
            divergence: self.divergence / n,
            elbo: (self.log_likelihood - self.divergence) / n,
        }
    }

    /// Mean gradient norm so far.
    pub fn gradient_norm(&self) -> f64 {
        self.gradient_norm / self.steps.max(1) as f64
    }

    /// Means of the four phases so far.
    pub fn phases(&self) -> Phases {
        Phases {
            encoder_free: self.encoder_free.means(),
            decoder_free: self.decoder_free.means(),
            decoder_nudged: self.decoder_nudged.means(),
            encoder_nudged: self.encoder_nudged.means(),
        }
    }
}

/// Losses per image.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Losses {
    /// Sum over pixels of `(x^ - x)^2`; pixels in `[0, 1]`.
    pub reconstruction_error: f64,
    /// `KL(q(z|x) || p(z))`, nats.
    #[serde(rename = "kl")]
    pub divergence: f64,
    /// Evidence lower bound `ln p(x|z) - KL`, nats, at a sample `z` of the posterior.
    pub elbo: f64,
}

/// Means of the phases of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Phases {
    /// Encoder, image clamped.
    pub encoder_free: Option<PhaseMeans>,
    /// Decoder, latent clamped.
    pub decoder_free: Option<PhaseMeans>,
    /// Decoder, nudged by the reconstruction cost.
    pub decoder_nudged: Option<PhaseMeans>,
    /// Encoder, nudged by the cost handed down.
    pub encoder_nudged: Option<PhaseMeans>,
}

/// Largest loop gain of encoder and decoder over a batch of test images.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LoopGains {
    /// Of the encoder.
    pub encoder: f64,
    /// Of the decoder.
    pub decoder: f64,
}

/// An estimated gradient beside the exact one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GradientCheck {
    /// Cosine between the gradients of all parameters.
    pub cosine: f64,
    /// Ratio of their norms.
    pub norm_ratio: f64,
    /// Smallest cosine of a single parameter's gradients.
    pub worst_cosine: f64,
}

/// One line of `metrics.jsonl`: an epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochMetrics {
    /// Epochs finished.
    pub epoch: usize,
    /// Steps taken.
    pub step: usize,
    /// Means over the epoch's training images, each seen before its own step, at samples of the
    /// posterior.
    pub train: Losses,
    /// Over the test images: reconstruction at the posterior mean, ELBO at samples of it. None in
    /// an epoch without an evaluation.
    pub test: Option<Losses>,
    /// How the phases of training ended.
    pub phases: Phases,
    /// Training images that were dropped from a gradient, because a phase did not converge.
    #[serde(default)]
    pub dropped: u64,
    /// Loop gains on a batch of test images; none without feedback or evaluation.
    pub loop_gains: Option<LoopGains>,
    /// How the estimated gradient compares with that through the relaxation, on a batch of test
    /// images; none for a model that is trained by backpropagation.
    #[serde(default)]
    pub gradient_check: Option<GradientCheck>,
    /// Mean norm of the gradients.
    pub gradient_norm: f64,
    /// Learning rate of the last step.
    pub learning_rate: f64,
    /// Training images per second of this process's share of the epoch.
    pub images_per_second: f64,
    /// Seconds of this process's share of the epoch, evaluation included.
    pub seconds: f64,
}

impl EpochMetrics {
    /// What a person should know before trusting the epoch: equilibria that were not reached, or a
    /// gradient that is none.
    pub fn warning(&self) -> Option<String> {
        self.equilibria().or_else(|| {
            let cosine = self.gradient_check?.cosine;
            // Not a number is not above anything.
            (cosine.is_nan() || cosine < COSINE_BELOW).then(|| {
                format!(
                    "the cosine between the gradient and the one through the relaxation is {cosine:.3}; \
                     lower ep.nudge, or ep.tolerance and ep.nudged_tolerance"
                )
            })
        })
    }

    fn equilibria(&self) -> Option<String> {
        let phases = [
            ("encoder, free", &self.phases.encoder_free),
            ("decoder, free", &self.phases.decoder_free),
            ("decoder, nudged", &self.phases.decoder_nudged),
            ("encoder, nudged", &self.phases.encoder_nudged),
        ];
        let worst = phases.iter().filter_map(|(name, p)| Some((name, p.as_ref()?)));
        let (name, phase) = worst.min_by(|a, b| a.1.converged.total_cmp(&b.1.converged))?;
        if phase.not_finite > 0 {
            return Some(format!(
                "{} states were no longer finite ({name} phase); lower training.learning_rate",
                phase.not_finite
            ));
        }
        let above_one = self.loop_gains.is_some_and(|g| g.encoder.max(g.decoder) > 1.0);
        let advice = if above_one {
            "the loop gain is above 1: raise the gains (model.*_gain)"
        } else {
            "raise ep.free_sweeps and ep.nudged_sweeps, or the gains (model.*_gain)"
        };
        (phase.converged < WARN_BELOW).then(|| {
            let share = percent(phase.converged);
            let so = match self.dropped {
                0 => "gradients are inexact".to_owned(),
                dropped => format!("{dropped} were dropped from the gradients"),
            };
            format!(
                "only {share}% of the samples reached equilibrium ({name} phase), so {so}; \
                 {advice}"
            )
        })
    }

    /// The line that a person reads; `watched` says what [`Self::test`] was measured on.
    pub fn summary(&self, epochs: usize, watched: &str) -> String {
        let phase = |p: &Option<PhaseMeans>| {
            let shown = |p: &PhaseMeans| format!("{:.1} ({}%)", p.sweeps, percent(p.converged));
            p.as_ref().map_or("-".to_owned(), shown)
        };
        let dynamics = self.phases.decoder_free.as_ref().map_or(String::new(), |_| {
            format!(
                "sweeps (converged): encoder {} free {} nudged, decoder {} free {} nudged  ",
                phase(&self.phases.encoder_free),
                phase(&self.phases.encoder_nudged),
                phase(&self.phases.decoder_free),
                phase(&self.phases.decoder_nudged),
            )
        });
        let gains = self.loop_gains.map_or(String::new(), |gains| {
            format!("loop gain {:.2} {:.2}  ", gains.encoder, gains.decoder)
        });
        let cosine = self
            .gradient_check
            .map_or(String::new(), |c| format!("gradient cosine {:.4}  ", c.cosine));
        let test = self
            .test
            .map_or(String::new(), |t| format!(" {:.2} {watched}", t.reconstruction_error));
        let losses = self.test.unwrap_or(self.train);
        format!(
            "epoch {:>2}/{epochs}  reconstruction {:.2} train{test}  KL {:.2}  ELBO {:.1}  \
             {dynamics}{gains}{cosine}{:.0} images/s  {:.0} s",
            self.epoch,
            self.train.reconstruction_error,
            losses.divergence,
            losses.elbo,
            self.images_per_second,
            self.seconds,
        )
    }
}
