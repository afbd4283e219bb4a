//! The gradient from the difference of two states.

use burn::tensor::Tensor;
use hvae_solver::State;

use crate::energy::{LayerId, PerLayer};
use crate::eqprop::sample_mask::SampleMask;
use crate::scalar::Scalar;

/// Two states `a` and `b` by sum and difference.
#[derive(Debug)]
pub(crate) struct Moved {
    /// `s_a + s_b`.
    pub(crate) sum: State,
    /// `s_a - s_b`.
    pub(crate) difference: State,
}

impl Moved {
    pub(crate) fn between(a: State, b: State) -> Self {
        let sum = a.clone().zip(b.clone(), |a, b| a + b);
        Self { sum, difference: a.zip(b, |a, b| a - b) }
    }
}

/// Two states `a` and `b` of one network under the strengths `beta_a` and `beta_b` of a nudge,
/// whose difference gives
///
/// ```text
/// [dE/dtheta(a) - dE/dtheta(b)] / (beta_a - beta_b),        averaged over the batch
/// ```
///
/// Energies are bilinear in the states, so their gradients are contrasted through sums and
/// differences, `s_a t_a - s_b t_b = [(s_a - s_b)(t_a + t_b) + (s_a + s_b)(t_a - t_b)] / 2`: a
/// difference of nearby states may be known to all its digits, a difference of their products is
/// not.
#[derive(Debug)]
pub(crate) struct Difference {
    /// The state of each layer that is the same in both, `[batch, n_k]`.
    held: PerLayer<Tensor<2>>,
    /// `s_a + s_b` of each of the other layers.
    sum: PerLayer<Tensor<2>>,
    /// `s_a - s_b` likewise.
    pub(crate) scaled: Scaled,
    rows: usize,
}

/// A difference of states, and the difference of strengths that it is to be divided by.
#[derive(Debug, Clone)]
pub(crate) struct Scaled {
    /// `s_a - s_b` of each layer that has moved, `[batch, n_k]`.
    pub(crate) change: PerLayer<Tensor<2>>,
    pub(crate) beta: Scalar,
    /// `(beta_a - beta_b) / beta`.
    spread: f64,
}

impl Difference {
    /// The difference for `layers` that `moved` between the states and others that are `held` in
    /// both. Samples that do not count are left out, but the mean is over all.
    pub(crate) fn new(
        held: &PerLayer<Tensor<2>>,
        layers: impl Iterator<Item = LayerId>,
        moved: Moved,
        mask: &SampleMask,
        beta: Scalar,
        spread: f64,
    ) -> Self {
        let rows = moved.sum.batch();
        let [mut sum, mut change, mut unmoved] = [(); 3].map(|()| PerLayer::empty(held.layers()));
        let states = moved.sum.into_components().into_iter();
        let states = states.zip(moved.difference.into_components());
        for (k, (total, difference)) in layers.zip(states) {
            sum.set(k, mask.apply(total));
            change.set(k, mask.apply(difference));
        }
        for (k, state) in held.iter().filter(|(k, _)| change.get(*k).is_none()) {
            unmoved.set(k, mask.apply(state.clone()));
        }
        Self { held: unmoved, sum, scaled: Scaled { change, beta, spread }, rows }
    }

    /// `dC/dW` of a coupling of layers `k` and `l`, from the `gradient` of its bilinear form in the
    /// states of these; `None` where neither has moved.
    pub(crate) fn weights<const D: usize>(
        &self,
        k: LayerId,
        l: LayerId,
        gradient: impl Fn(Tensor<2>, Tensor<2>) -> Tensor<D>,
    ) -> Option<Tensor<D>> {
        // Scaled as states, which are smaller than weights.
        let change = |k| Some(self.scaled.share(self.scaled.change.get(k)?.clone(), self.rows));
        let mean = |k| Some(self.sum.get(k)?.clone().mul_scalar(0.5));
        let held = |k| self.held.get(k).cloned();
        Some(match (change(k), change(l)) {
            // Both halves are the same.
            (Some(d), Some(_)) if k == l => gradient(d, mean(k)?),
            // Both in one product.
            (Some(d_k), Some(d_l)) => {
                let s = Tensor::cat(vec![d_k, mean(k)?], 0);
                gradient(s, Tensor::cat(vec![mean(l)?, d_l], 0))
            }
            (None, Some(d)) => gradient(held(k)?, d),
            (Some(d), None) => gradient(d, held(l)?),
            (None, None) => return None,
        })
    }

    /// `dC/db_k`, `[n_k]`; `None` where the layer has not moved.
    pub(crate) fn bias(&self, k: LayerId) -> Option<Tensor<1>> {
        let sum = self.scaled.change.get(k)?.clone().sum_dim(0);
        Some(self.scaled.share(sum.squeeze_dim(0), self.rows))
    }
}

impl Scaled {
    /// `-sum / (beta_a - beta_b) / rows`: energies have products of states with a minus sign.
    pub(crate) fn share<const D: usize>(&self, sum: Tensor<D>, rows: usize) -> Tensor<D> {
        self.beta.divide(sum, -self.spread * rows as f64)
    }
}
