//! What a training step returns.

use burn::optim::GradientsParams;
use hvae_solver::Outcome;
use serde::{Deserialize, Serialize};

use crate::scalar::Scalar;
use crate::vae::losses::Losses;

/// A value for each side of a model.
#[derive(Debug, Clone)]
pub struct PerSide<T> {
    /// Of the encoder.
    pub encoder: T,
    /// Of the decoder.
    pub decoder: T,
}

/// A value for each phase of a step.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PerPhase<T> {
    /// Encoder, image clamped.
    pub encoder_free: T,
    /// Decoder, latent clamped.
    pub decoder_free: T,
    /// Decoder with the reconstruction cost.
    pub decoder_nudged: T,
    /// Encoder with the gradient of the latents as its cost.
    pub encoder_nudged: T,
}

impl<T> PerPhase<T> {
    /// The values by reference.
    pub fn each_ref(&self) -> PerPhase<&T> {
        let Self { encoder_free, decoder_free, decoder_nudged, encoder_nudged } = self;
        PerPhase { encoder_free, decoder_free, decoder_nudged, encoder_nudged }
    }

    /// `op` of each value.
    pub fn map<U>(self, mut op: impl FnMut(T) -> U) -> PerPhase<U> {
        self.zip(PerPhase::default(), |value, ()| op(value))
    }

    /// `op` of each pair of values.
    pub fn zip<U, V>(self, other: PerPhase<U>, mut op: impl FnMut(T, U) -> V) -> PerPhase<V> {
        PerPhase {
            encoder_free: op(self.encoder_free, other.encoder_free),
            decoder_free: op(self.decoder_free, other.decoder_free),
            decoder_nudged: op(self.decoder_nudged, other.decoder_nudged),
            encoder_nudged: op(self.encoder_nudged, other.encoder_nudged),
        }
    }

    /// The values, in the order of the phases, with their names.
    pub fn named(&self) -> [(&'static str, &T); 4] {
        [
            ("encoder, free", &self.encoder_free),
            ("decoder, free", &self.decoder_free),
            ("decoder, nudged", &self.decoder_nudged),
            ("encoder, nudged", &self.encoder_nudged),
        ]
    }
}

/// How each sample of each phase ended; with a centred nudge each twice in a nudged phase.
pub type PhaseOutcomes = PerPhase<Vec<Outcome>>;

/// The gradients of one step and its statistics.
#[derive(Debug)]
pub struct TrainingStep {
    /// The gradient of the batch's mean cost, under the parameters' ids.
    pub gradients: GradientsParams,
    /// The losses.
    pub losses: Losses<Scalar>,
    /// How many samples count in the losses: all, or under
    /// [`Unconverged::Drop`](crate::Unconverged::Drop) those whose free phases converged, or again
    /// all if none did. So a part of a larger batch in which none converged counts wholly, though
    /// in the whole batch it would not. Gradients have no such exception.
    pub counted: usize,
    /// How many samples were dropped from the gradient of a network.
    pub dropped: usize,
    /// The nudging strengths; `None` without nudging.
    pub betas: Option<PerSide<Scalar>>,
    /// How the phases ended.
    pub outcomes: PhaseOutcomes,
}
