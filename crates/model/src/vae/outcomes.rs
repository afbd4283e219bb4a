//! How the phases of a step ended.

use hvae_solver::Outcome;

/// How each sample of each phase of a step ended.
#[derive(Debug, Clone, Default)]
pub struct PhaseOutcomes {
    /// Encoder, image clamped.
    pub encoder_free: Vec<Outcome>,
    /// Decoder, latent clamped.
    pub decoder_free: Vec<Outcome>,
    /// Decoder with the reconstruction cost; with a centred nudge each sample twice.
    pub decoder_nudged: Vec<Outcome>,
    /// Encoder with the gradient of the latents as its cost, likewise.
    pub encoder_nudged: Vec<Outcome>,
}
