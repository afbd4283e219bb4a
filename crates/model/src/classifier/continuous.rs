//! Equilibrium propagation in a CHN.

use burn::tensor::Tensor;
use hvae_solver::{Picard, StoppingRule, solve};

use super::dynamics::{Dynamics, Order};
use super::learning::Gradient;
use super::network::Classifier;
use super::pointwise::fire;
use crate::eqprop::{Nudge, Nudging, Strength, Unconverged, beta_of_size, converged};
use crate::{ModelError, error};

/// See [`Classifier::propagate`].
pub(super) fn propagate(
    network: &Classifier,
    images: Tensor<2>,
    targets: Tensor<2>,
    free: &StoppingRule,
    nudge: &Nudge,
) -> Result<Gradient, ModelError> {
    let dynamics =
        Dynamics::new(network, images.clone(), Order::Synchronous)?.damped(nudge.damping)?;
    let equilibrium = solve(dynamics.clone(), dynamics.start(), &Picard, free)?;
    let outputs = equilibrium.state.component(network.depth() - 1).clone();
    let delta = outputs.clone() - targets;
    let beta = strength(&delta, nudge.strength)?;
    let mut second = Vec::new();
    let mut at = |beta: f64| {
        let map = dynamics.clone().nudged(delta.clone().mul_scalar(beta));
        let solution = solve(map, equilibrium.state.clone(), &Picard, &nudge.rule)?;
        second.extend(solution.outcomes);
        Ok::<_, ModelError>(solution.state)
    };
    let (a, b, spread) = match nudge.nudging {
        Nudging::Centred => (at(beta)?, at(-beta)?, 2.0 * beta),
        Nudging::Positive => (at(beta)?, equilibrium.state.clone(), beta),
        Nudging::Negative => (equilibrium.state.clone(), at(-beta)?, beta),
    };
    let kept = match nudge.unconverged {
        Unconverged::Use => None,
        Unconverged::Drop => converged(&equilibrium.outcomes, &second, &outputs),
    };
    let keep = |t: Tensor<2>| match &kept {
        // A sample that is not finite must go, and 0 times NaN is NaN.
        Some(kept) => t.clone().mask_fill(kept.clone().equal_elem(0.0).expand(t.dims()), 0.0),
        None => t,
    };
    // s_a t_a - s_b t_b = [(s_a - s_b)(t_a + t_b) + (s_a + s_b)(t_a - t_b)] / 2, see `eqprop`.
    let pairs = a.components().iter().zip(b.components()).map(|(a, b)| {
        let (a, b) = (fire(a.clone()), fire(b.clone()));
        (keep(a.clone() - b.clone()), keep(a + b))
    });
    let (differences, sums): (Vec<_>, Vec<_>) = pairs.unzip();
    let share = -1.0 / (spread * outputs.dims()[0] as f64);
    let product = |s: &Tensor<2>, t: &Tensor<2>| s.clone().transpose().matmul(t.clone());
    let mut weights = vec![product(&fire(images), &differences[0]).mul_scalar(share)];
    for k in 1..network.depth() {
        let both = product(&differences[k - 1], &sums[k]) + product(&sums[k - 1], &differences[k]);
        weights.push(both.mul_scalar(0.5 * share));
    }
    let bias = |d: &Tensor<2>| d.clone().sum_dim(0).squeeze_dim::<1>(0).mul_scalar(share);
    let biases = differences.iter().map(bias).collect();
    Ok(Gradient { weights, biases, outputs, free: equilibrium.outcomes, second })
}

/// `beta`, checked and resolved for the force `delta`.
fn strength(delta: &Tensor<2>, strength: Strength) -> Result<f64, ModelError> {
    let (Strength::Beta(value) | Strength::Size(value) | Strength::SizeOnDevice(value)) = strength;
    error::require(value.is_finite() && value > 0.0, "nudge", value, "must be positive")?;
    if let Strength::Beta(beta) = strength {
        return Ok(beta);
    }
    let mean_square: f32 = delta.clone().square().mean().into_scalar();
    beta_of_size(value, f64::from(mean_square))
}
