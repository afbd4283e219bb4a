//! Equilibrium propagation in a CHN.

use burn::tensor::Tensor;
use hvae_solver::{Picard, StoppingRule, solve_in_parts};

use crate::chn_ham::dynamics::{Dynamics, Order};
use crate::chn_ham::gradient::Gradient;
use crate::chn_ham::network::LayeredNetwork;
use crate::chn_ham::pointwise::fire;
use crate::energy::layer::LayerId;
use crate::energy::per_layer::PerLayer;
use crate::eqprop::difference::{Difference, Moved};
use crate::eqprop::displacement::halves;
use crate::eqprop::nudge::{Nudge, Squares};
use crate::eqprop::sample_mask::{SampleMask, valid_samples};
use crate::error::ModelError;

/// See [`LayeredNetwork::propagate`].
pub(super) fn propagate(
    network: &LayeredNetwork,
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
    let mask = |phases: &[_]| SampleMask::new(&valid_samples(nudge.unconverged, phases), &device);
    let settled = mask(&[&free.outcomes]);
    let delta = settled.apply(outputs.clone() - targets);
    // The loss pushes the state itself, not an input multiplied by a gain.
    let norm = Squares::of([(1.0, &delta)], settled.count());
    let beta = nudge.size.beta(norm, None)?;
    let signs = nudge.nudging.signs();
    let pushes = signs.map(|sign| beta.times(delta.clone(), sign)).to_vec();
    let both = dynamics.nudged(Tensor::cat(pushes, 0));
    let start = free.state.map(|s| Tensor::cat(vec![s.clone(), s], 0));
    let part = both.part_size();
    let nudged = solve_in_parts(both, start, &Picard, &nudge.rule, part)?;
    let second = nudged.outcomes;
    let converged = mask(&[&free.outcomes, &second]);
    // What couples are the activities `rho(s)`, of the pixels first.
    let [a, b] = halves(&nudged.state).map(|s| s.map(fire));
    let mut held = PerLayer::empty(network.depth() + 1);
    held.set(LayerId(0), fire(images));
    let layers = || (1..=network.depth()).map(LayerId);
    let (moved, spread) = (Moved::between(a, b), nudge.nudging.spread());
    let difference = Difference::new(&held, layers(), moved, &converged, beta, spread);
    let product = |s: Tensor<2>, t: Tensor<2>| s.transpose().matmul(t);
    let weight = |k: LayerId| difference.weights(LayerId(k.0 - 1), k, product);
    let weights = layers().filter_map(weight).collect();
    let biases = layers().filter_map(|k| difference.bias(k)).collect();
    Ok(Gradient { weights, biases, outputs, free: free.outcomes, second })
}
