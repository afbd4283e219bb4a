//! Completing images: a fixed point through encoder and decoder, with what is known held.

use anyhow::Result;
use burn::tensor::{Int, Tensor};
use hvae_model::{Phases, Vae};
use hvae_solver::{FixedPointMap, Outcome, Picard, Solution, State, StoppingRule, solve};

/// The map `x <- k * known + (1 - k) * decode(mean of encode(x))` on images `x`, `[batch, pixels]`.
///
/// `k` is 1 at a pixel that is known and clamped, 0 at one that is hidden, and between at one that is
/// drawn to a noisy value. Encoder and decoder each relax to the equilibrium of their own energy
/// within one application; the map between them has no energy, so that convergence is observed, not
/// guaranteed.
#[derive(Debug)]
pub struct Completion<'a> {
    /// The model.
    pub model: &'a Vae,
    /// How its phases are run.
    pub phases: &'a Phases,
    /// What is known of the images, `[batch, pixels]`.
    pub known: Tensor<2>,
    /// `k`, `[batch, pixels]` in `[0, 1]`.
    pub weight: Tensor<2>,
}

impl FixedPointMap for Completion<'_> {
    fn apply(&self, state: &State) -> State {
        let image = state.component(0).clone();
        let decoded = self
            .model
            .encode(image.clone(), self.phases)
            .and_then(|(posterior, _)| self.model.decode(posterior.mean, self.phases));
        // Shapes are checked in `complete`; a state of another shape cannot come here.
        let decoded = decoded.map_or(image, |(decoded, _)| decoded);
        let free = self.weight.clone().neg().add_scalar(1.0);
        let next = self.weight.clone() * self.known.clone() + free * decoded;
        State::new(vec![next]).expect("one component has one batch size")
    }

    fn select(&self, rows: &Tensor<1, Int>) -> Self {
        Self {
            known: self.known.clone().select(0, rows.clone()),
            weight: self.weight.clone().select(0, rows.clone()),
            ..*self
        }
    }
}

/// Iterates from `start` (`[batch, pixels]`) until each image changes by less than `rule` says.
///
/// # Errors
///
/// When shapes do not fit the model.
pub fn complete(
    map: Completion<'_>,
    start: Tensor<2>,
    rule: &StoppingRule,
) -> Result<(Tensor<2>, Vec<Outcome>)> {
    // A first pass shows whether everything fits.
    map.model.encode(start.clone(), map.phases)?;
    let Solution { state, outcomes, .. } = solve(map, State::new(vec![start])?, &Picard, rule)?;
    Ok((state.component(0).clone(), outcomes))
}
