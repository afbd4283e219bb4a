//! Completing images of which a part is known: by the latent that explains the known part, or by
//! passes through encoder and decoder.

use anyhow::Result;
use burn::tensor::{Int, Tensor};
use hvae_model::{Phases, Vae};
use hvae_solver::{FixedPointMap, Outcome, Picard, Solution, State, StoppingRule, solve};

use crate::optimizer::Rule;
use crate::optimizer::adam::AdamRule;

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
    fn apply(&self, state: &State, _iteration: usize) -> State {
        let image = state.component(0).clone();
        let decoded = self
            .model
            .encode(image.clone(), self.phases)
            .and_then(|(posterior, _)| self.model.decode(posterior.mean, self.phases));
        // Shapes are checked in `complete`; a state of another shape cannot come here.
        let decoded = decoded.map_or(image, |(decoded, _)| decoded.images);
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

/// Learning rate of Adam on latents.
const RATE: f64 = 0.05;

/// The images after each of `steps` steps towards the latents that best explain what is known of
/// them, `[batch, pixels]` each; the first are those of the start.
///
/// A latent descends `C(z) = -sum_i k_i ln p(x_i|z) + |z|^2/2` by Adam; its gradient comes from
/// equilibrium propagation, see [`Vae::latent_gradient`]. The start is the posterior mean of `known`.
///
/// # Errors
///
/// When shapes do not fit the model, or it has no equilibria.
pub fn explain(map: &Completion<'_>, steps: usize) -> Result<Vec<Tensor<2>>> {
    let mut latents = map.model.encode(map.known.clone(), map.phases)?.0.mean;
    let shape = latents.dims();
    let adam = AdamRule::new();
    let mut memory = vec![latents.clone().reshape([-1]).zeros_like(); adam.memory()];
    let mut film = Vec::new();
    for step in 1..=steps {
        let found =
            map.model.latent_gradient(&map.known, &map.weight, latents.clone(), map.phases)?;
        film.push(found.images);
        let (value, gradient) = (latents.reshape([-1]), found.gradient.reshape([-1]));
        let (value, after) = adam.step(step, RATE, value, gradient, memory);
        memory = after;
        latents = value.reshape(shape);
    }
    film.push(map.model.decode(latents, map.phases)?.0.images);
    Ok(film)
}
