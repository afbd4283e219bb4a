//! Image completion (inpainting, denoising): by the latent that best explains the known pixels, or
//! by repeated passes through encoder and decoder.

use anyhow::Result;
use burn::tensor::{Int, Tensor};
use hvae_model::{PhaseSettings, Vae};
use hvae_solver::{FixedPointMap, Outcome, Picard, Solution, State, StoppingRule, solve};

use crate::optimizer::{adam::AdamRule, rule::Rule};

/// The map `x <- k * known + (1 - k) * decode(mean of encode(x))` on images `x`, `[batch, pixels]`.
///
/// `k` is 1 at a clamped pixel, 0 at a hidden one, and between at a pixel whose noisy value is only
/// a prior. Encoder and decoder each relax to the equilibrium of their own energy within one
/// iteration; the composed map has no energy, so convergence is observed, not guaranteed.
#[derive(Debug)]
pub(crate) struct Completion<'a> {
    pub(crate) model: &'a Vae,
    pub(crate) phases: &'a PhaseSettings,
    /// The known pixels, `[batch, pixels]`.
    pub(crate) known: Tensor<2>,
    /// `k`, `[batch, pixels]` in `[0, 1]`.
    pub(crate) weight: Tensor<2>,
}

impl FixedPointMap for Completion<'_> {
    fn apply(&self, state: &State, _iteration: usize) -> State {
        let image = state.component(0).clone();
        let decoded = self
            .model
            .encode(image.clone(), self.phases)
            .and_then(|(posterior, _)| self.model.decode(posterior.mean, self.phases));
        // `complete` has checked the shapes.
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

/// Iterates from `start`, `[batch, pixels]`, to a fixed point as `rule` defines it, image by image.
pub(crate) fn complete(
    map: Completion<'_>,
    start: Tensor<2>,
    rule: &StoppingRule,
) -> Result<(Tensor<2>, Vec<Outcome>)> {
    // Checks the shapes.
    map.model.encode(start.clone(), map.phases)?;
    let Solution { state, outcomes, .. } = solve(map, State::new(vec![start])?, &Picard, rule)?;
    Ok((state.component(0).clone(), outcomes))
}

/// Learning rate of Adam on latents.
const RATE: f64 = 0.05;

/// The decoded images before each of `steps` Adam steps and after the last, `[batch, pixels]` each.
///
/// The latent minimises `C(z) = -sum_i k_i ln p(x_i|z) + |z|^2/2`, starting from the posterior mean
/// of `known`. Its gradient comes from equilibrium propagation, see [`Vae::latent_gradient`].
pub(crate) fn optimize_latents(map: &Completion<'_>, steps: usize) -> Result<Vec<Tensor<2>>> {
    let mut latents = map.model.encode(map.known.clone(), map.phases)?.0.mean;
    let shape = latents.dims();
    let adam = AdamRule::new();
    let mut memory = vec![latents.clone().reshape([-1]).zeros_like(); adam.state_len()];
    let mut frames = Vec::new();
    for step in 1..=steps {
        let found =
            map.model.latent_gradient(&map.known, &map.weight, latents.clone(), map.phases)?;
        frames.push(found.images);
        let (value, gradient) = (latents.reshape([-1]), found.gradient.reshape([-1]));
        let (value, after) = adam.step(step, RATE, value, gradient, memory);
        memory = after;
        latents = value.reshape(shape);
    }
    frames.push(map.model.decode(latents, map.phases)?.0.images);
    Ok(frames)
}
