//! The gradient through the last updates of a CHN.

use burn::tensor::Tensor;
use hvae_solver::State;

use crate::chn_ham::dynamics::{Dynamics, Update};
use crate::chn_ham::network::slope;
use crate::chn_ham::pointwise::backward;

/// What flows back to the parameters, summed over the updates.
pub(super) struct Unrolled {
    /// `dC/dW_k`, but for `W_1`, summed over the samples too.
    pub(super) weights: Vec<Tensor<2>>,
    /// `q_k = dC/da_k`, `[batch, n_k]`.
    pub(super) q: Vec<Tensor<2>>,
}

/// Goes back through `updates`, the last first, from the gradient `error` of the loss in the last
/// layer's final state.
///
/// An update of a layer is `s <- damping s + (1 - damping) rho'(s) a(s)`, once or several times
/// with the same `a`. With `g` the gradient in the states after it and `q` the one in `a`,
///
/// ```text
/// q_k = (1 - damping) rho'(s_k) g_k
/// g_k <- damping g_k + (1 - damping) rho''(s_k) a_k g_k      for the layers that were updated
/// g_l <- g_l + rho'(s_l) (W q)_l                             for their neighbours
/// ```
pub(super) fn go_back(
    dynamics: &Dynamics<'_>,
    updates: Vec<Update>,
    end: &State,
    error: Tensor<2>,
) -> Unrolled {
    let zeros = || end.components().iter().map(Tensor::zeros_like);
    let mut gradient: Vec<Option<Tensor<2>>> = zeros().map(Some).collect();
    let mut sums: Vec<Tensor<2>> = zeros().collect();
    let last = gradient.len() - 1;
    gradient[last] = Some(error);
    let couplings = &dynamics.couplings;
    let mut weights: Vec<Option<Tensor<2>>> = vec![None; last];
    for Update { layers, activities: r } in updates.into_iter().rev() {
        let mut q = vec![None; last + 1];
        for (k, state, input) in layers {
            let g = gradient[k].take().expect("a layer is updated once");
            let (own, through) = backward(input, state, g, dynamics.continuous());
            gradient[k] = Some(own);
            sums[k] = sums[k].clone() + through.clone();
            q[k] = Some(through);
        }
        for (k, r) in r.iter().enumerate() {
            if let (Some(field), Some(r)) = (couplings.field(k, &q), r) {
                gradient[k] = gradient[k].take().map(|g| g + field * slope(r));
            }
        }
        for (k, weight) in weights.iter_mut().enumerate() {
            let product = |below: &Option<Tensor<2>>, above: &Option<Tensor<2>>| {
                Some(below.clone()?.transpose().matmul(above.clone()?))
            };
            let [up, down] = [product(&r[k], &q[k + 1]), product(&q[k], &r[k + 1])];
            *weight = [weight.take(), up, down].into_iter().flatten().reduce(|a, b| a + b);
        }
    }
    let weights = weights.into_iter().map(|w| w.expect("every coupling joins an updated layer"));
    Unrolled { weights: weights.collect(), q: sums }
}
