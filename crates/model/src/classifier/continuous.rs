//! Equilibrium propagation in a CHN.

use burn::tensor::Tensor;
use hvae_solver::{Picard, StoppingRule, solve_in_parts};

use super::dynamics::{Dynamics, Order};
use super::learning::Gradient;
use super::network::Classifier;
use super::pointwise::fire;
use crate::ModelError;
use crate::contrast::{Contrast, Kept, counts};
use crate::deviation::halves;
use crate::eqprop::Nudge;
use crate::strength;

/// See [`Classifier::propagate`].
pub(super) fn propagate(
    network: &Classifier,
    images: Tensor<2>,
    targets: Tensor<2>,
    rule: &StoppingRule,
    nudge: &Nudge,
) -> Result<Gradient, ModelError> {
    let dynamics =
        Dynamics::new(network, images.clone(), Order::Synchronous)?.damped(nudge.damping)?;
    let part = dynamics.part_size();
    let free = solve_in_parts(dynamics.clone(), dynamics.start(), &Picard, rule, part)?;
    let outputs = free.state.component(network.depth() - 1).clone();
    let device = outputs.device();
    let settled = Kept::new(&counts(nudge.unconverged, &[&free.outcomes]), &device);
    let delta = settled.only(outputs.clone() - targets);
    // The loss pushes the state itself, not an input that a gain would multiply.
    let push = || strength::push([(1.0, &delta)], settled.count());
    let beta = strength::beta(nudge.strength, push)?;
    let signs = nudge.nudging.signs();
    let pushes = signs.map(|sign| beta.times(delta.clone(), sign)).to_vec();
    let both = dynamics.nudged(Tensor::cat(pushes, 0));
    let start = free.state.map(|s| Tensor::cat(vec![s.clone(), s], 0));
    let part = both.part_size();
    let nudged = solve_in_parts(both, start, &Picard, &nudge.rule, part)?;
    let second = nudged.outcomes;
    let kept = Kept::new(&counts(nudge.unconverged, &[&free.outcomes, &second]), &device);
    let [a, b] = halves(&nudged.state);
    // What couples are the activities `rho(s)`, of the pixels first.
    let mut held = vec![None; network.depth() + 1];
    held[0] = Some(fire(images));
    let pairs = a.into_components().into_iter().zip(b.into_components());
    let moved = pairs.enumerate().map(|(k, (a, b))| {
        let (a, b) = (fire(a), fire(b));
        (k + 1, a.clone() + b.clone(), a - b)
    });
    let contrast = Contrast::new(held, moved, &kept, (beta, signs[0] - signs[1]));
    let layers = 1..=network.depth();
    let weights = layers.clone().filter_map(|k| contrast.weight(k - 1, k)).collect();
    let biases = layers.filter_map(|k| contrast.bias(k)).collect();
    Ok(Gradient { weights, biases, outputs, free: free.outcomes, second })
}
