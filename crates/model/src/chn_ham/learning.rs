//! Gradients of the loss `|s_L - y|^2 / 2`: recurrent backpropagation and equilibrium propagation.

use burn::tensor::Tensor;
use hvae_solver::{Outcome, Picard, StoppingRule, solve_in_parts};

use crate::chn_ham::adjoint::Adjoint;
use crate::chn_ham::dynamics::{Dynamics, Order};
use crate::chn_ham::network::{Form, LayeredNetwork, STEEPNESS, rho};
use crate::chn_ham::pointwise::fire;
use crate::chn_ham::unrolled::go_back;
use crate::dynamics::relaxation::{Relaxation, Role};
use crate::energy::layer::LayerId;
use crate::energy::per_layer::PerLayer;
use crate::eqprop::cost::{Cost, Readout};
use crate::eqprop::difference::{Difference, Moved};
use crate::eqprop::displacement::halves;
use crate::eqprop::estimate::gradient;
use crate::eqprop::nudge::{Nudge, Squares};
use crate::eqprop::sample_mask::{SampleMask, valid_samples};
use crate::error::{ModelError, require, require_shape};

/// How an equilibrium and its adjoint are found.
#[derive(Debug, Clone, Copy)]
pub struct Learning {
    /// Order of the updates.
    pub order: Order,
    /// Damping of a CHN, in `[0, 1)`; without effect on a HAM.
    pub damping: f64,
    /// When the free phase ends.
    pub free: StoppingRule,
    /// When the iteration of the adjoint of a HAM ends.
    pub adjoint: StoppingRule,
    /// Iterations of a CHN, at least 1, that follow its free phase and through which the gradient
    /// goes back; without effect on a HAM.
    pub unroll_iterations: usize,
}

/// The gradient of a batch's mean loss, and how its phases ended.
#[derive(Debug, Clone)]
pub struct Gradient {
    /// `dC/dW` per weight, of its shape.
    pub weights: Vec<Tensor<2>>,
    /// `dC/db` per bias, of its shape.
    pub biases: Vec<Tensor<1>>,
    /// The outputs `s_L`, `[batch, classes]`.
    pub outputs: Tensor<2>,
    /// How the free phase ended, for each sample.
    pub free: Vec<Outcome>,
    /// How the iteration of the adjoint, or each nudged phase, ended; empty where the gradient goes
    /// back through iterations.
    pub second: Vec<Outcome>,
}

impl LayeredNetwork {
    /// The gradient of the mean of `|s_L - y|^2 / 2` over a batch by recurrent backpropagation.
    ///
    /// **HAM.** At the equilibrium `s = f(s)` of [`Dynamics`], `lambda = dC/ds + J' lambda` is
    /// iterated from `dC/ds`. Then, with `q = lambda`,
    ///
    /// ```text
    /// dC/dW_k = rho(s_(k-1))' q_k + q_(k-1)' rho(s_k)        (k = 1: rho(x)' q_1)
    /// dC/db_k = q_k summed over the batch                    (both divided by its size)
    /// ```
    ///
    /// **CHN.** After the free phase come [`Learning::unroll_iterations`] iterations, and the gradient
    /// is that through them. `q` is then the gradient in the input `a` of each update, and the sums
    /// go over the updates too. At an equilibrium that is the same iteration of `lambda`; away from
    /// one, where a damped CHN often is, it is still the gradient of what the network computes.
    /// Memory grows with the number of these iterations.
    ///
    /// `images` are `[batch, n_0]`, `targets` `[batch, n_L]`. A CHN needs at least one iteration to
    /// go back through.
    pub fn backpropagate(
        &self,
        images: Tensor<2>,
        targets: Tensor<2>,
        learning: &Learning,
    ) -> Result<Gradient, ModelError> {
        self.require_targets(&images, &targets)?;
        let count = learning.unroll_iterations;
        let goes_back = count > 0 || self.form() == Form::Ham;
        require(goes_back, "unroll_iterations", count, "needs at least one iteration")?;
        let dynamics =
            Dynamics::new(self, images.clone(), learning.order)?.damped(learning.damping)?;
        let part = dynamics.part_size();
        let start = dynamics.start();
        let free = solve_in_parts(dynamics.clone(), start, &Picard, &learning.free, part)?;
        let share = 1.0 / images.dims()[0] as f64;
        let last = self.depth() - 1;
        let (outputs, above, q, second) = match self.form() {
            Form::Ham => {
                let layers = dynamics.layers(&free.state);
                let outputs = layers[last].clone();
                let r: Vec<Tensor<2>> = layers.into_iter().map(fire).collect();
                let error = (outputs.clone() - targets).mul_scalar(share);
                let adjoint = Adjoint::new(&dynamics, &r, error);
                let (map, start) = (adjoint.clone(), adjoint.start());
                let solution = solve_in_parts(map, start, &Picard, &learning.adjoint, part)?;
                let q = adjoint.layers(&solution.state);
                let above = (0..last).map(|k| {
                    let up = r[k].clone().transpose().matmul(q[k + 1].clone());
                    up + q[k].clone().transpose().matmul(r[k + 1].clone())
                });
                (outputs, above.collect(), q, solution.outcomes)
            }
            Form::Chn => {
                let (end, updates) = dynamics.record(free.state, count);
                let outputs = end.component(last).clone();
                let error = (outputs.clone() - targets).mul_scalar(share);
                let back = go_back(&dynamics, updates, &end, error);
                (outputs, back.weights, back.q, Vec::new())
            }
        };
        let mut weights = vec![fire(images).transpose().matmul(q[0].clone())];
        weights.extend(above);
        let biases = q.into_iter().map(|q| q.sum_dim(0).squeeze_dim::<1>(0)).collect();
        Ok(Gradient { weights, biases, outputs, free: free.outcomes, second })
    }

    /// The same gradient by equilibrium propagation, see [`crate::gradient`].
    ///
    /// **HAM.** Free and nudged phases are even-odd sweeps in the form of [`Self::network`]. The
    /// loss `|s_L - y|^2 / 2` is a [readout](Readout) of the last layer's input `s_L = a_L(s)`: it
    /// pushes the layer below with `W_L (s_L - y)`. (As a force on that layer's own `r = rho(s_L)`
    /// it would be `(s_L - y) / rho'(s_L)`, which has no bound.)
    ///
    /// **CHN.** Both phases are synchronous, damped by the nudge's `damping`. The loss pushes the
    /// raw `s_L` with `delta = s_L - y`: `s_L = rho'(s_L) a_L(s) - beta delta`. With states `s_a`
    /// and `s_b` of the strengths `beta_a` and `beta_b`, and `r = rho(s)`,
    ///
    /// ```text
    /// dC/dW_k = -(r_(k-1),a' r_k,a - r_(k-1),b' r_k,b) / (beta_a - beta_b),   dC/db_k likewise
    /// ```
    pub fn propagate(
        &self,
        images: Tensor<2>,
        targets: Tensor<2>,
        free: &StoppingRule,
        nudge: &Nudge,
    ) -> Result<Gradient, ModelError> {
        self.require_targets(&images, &targets)?;
        match self.form() {
            Form::Ham => self.propagate_ham(images, targets, free, nudge),
            Form::Chn => self.propagate_chn(images, targets, free, nudge),
        }
    }

    fn propagate_ham(
        &self,
        images: Tensor<2>,
        targets: Tensor<2>,
        free: &StoppingRule,
        nudge: &Nudge,
    ) -> Result<Gradient, ModelError> {
        let network = self.network()?;
        let mut roles = vec![Role::Clamped(rho(images))];
        roles.resize_with(network.layers.len(), || Role::Free);
        let relaxation = Relaxation::new(&network, roles)?;
        let equilibrium = relaxation.free_equilibrium(0.0, free)?;
        let last = self.depth();
        let field = equilibrium.state(LayerId(last - 1)).matmul(self.weights[last - 1].val());
        let outputs = field + self.biases[last - 1].val().unsqueeze::<2>();
        // Of the gained input 4 (s_L - 1/2).
        let error = (outputs.clone() - targets).div_scalar(STEEPNESS);
        let readout = Readout { layer: LayerId(last), error };
        let found = gradient(&relaxation, &equilibrium, Cost::Readout(&readout), nudge)?;
        let weights = found.weights.into_iter().zip(&self.weights);
        Ok(Gradient {
            weights: weights.map(|(of_weight, w)| of_weight.reshape(w.dims())).collect(),
            biases: found.biases.iter().map(|(_, bias)| bias.clone()).collect(),
            outputs,
            free: equilibrium.outcomes,
            second: found.outcomes,
        })
    }

    fn propagate_chn(
        &self,
        images: Tensor<2>,
        targets: Tensor<2>,
        rule: &StoppingRule,
        nudge: &Nudge,
    ) -> Result<Gradient, ModelError> {
        let dynamics =
            Dynamics::new(self, images.clone(), Order::Synchronous)?.damped(nudge.damping)?;
        let part = dynamics.part_size();
        let free = solve_in_parts(dynamics.clone(), dynamics.start(), &Picard, rule, part)?;
        let outputs = free.state.component(self.depth() - 1).clone();
        let device = outputs.device();
        let mask =
            |phases: &[_]| SampleMask::new(&valid_samples(nudge.unconverged, phases), &device);
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
        let mut held = PerLayer::empty(self.depth() + 1);
        held.set(LayerId(0), fire(images));
        let layers = || (1..=self.depth()).map(LayerId);
        let (moved, spread) = (Moved::between(a, b), nudge.nudging.spread());
        let difference = Difference::new(&held, layers(), moved, &converged, beta, spread);
        let product = |s: Tensor<2>, t: Tensor<2>| s.transpose().matmul(t);
        let weight = |k: LayerId| difference.weights(LayerId(k.0 - 1), k, product);
        let weights = layers().filter_map(weight).collect();
        let biases = layers().filter_map(|k| difference.bias(k)).collect();
        Ok(Gradient { weights, biases, outputs, free: free.outcomes, second })
    }

    fn require_targets(&self, images: &Tensor<2>, targets: &Tensor<2>) -> Result<(), ModelError> {
        let classes = self.biases[self.depth() - 1].dims()[0];
        require_shape("the targets", targets, [images.dims()[0], classes])
    }
}
