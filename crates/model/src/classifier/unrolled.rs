//! The gradient through the last updates of a CHN.

use burn::tensor::Tensor;
use hvae_solver::State;

use super::dynamics::{Dynamics, Update};
use super::network::slope;
use super::pointwise::{fire, retreat};

/// What flows back to the parameters, summed over updates and samples.
pub(super) struct Unrolled {
    /// `dC/dW_k`, but for `W_1`.
    pub(super) weights: Vec<Tensor<2>>,
    /// `dC/da_k`, summed over the updates alone: `[batch, n_k]`.
    pub(super) inputs: Vec<Tensor<2>>,
}

/// Goes back through `updates`, the last first, from the gradient `error` of the loss in the last
/// layer's final state.
///
/// An update of a layer is `s <- damping s + (1 - damping) rho'(s) a(s)`, once or several times with the
/// same `a`. With `g` the gradient in the states after it and `q` the one in `a`,
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
    let mut gradient: Vec<Tensor<2>> = end.components().iter().map(Tensor::zeros_like).collect();
    let mut inputs = gradient.clone();
    let last = gradient.len() - 1;
    gradient[last] = error;
    let couplings = dynamics.couplings();
    let mut weights: Vec<Option<Tensor<2>>> = vec![None; last];
    for Update { states, inputs: fields } in updates.into_iter().rev() {
        let mut q = vec![None; last + 1];
        for (k, field) in fields.into_iter().enumerate() {
            let Some(field) = field else { continue };
            let g = gradient[k].clone();
            let (own, through) = retreat(field, states[k].clone(), g, dynamics.continuous());
            gradient[k] = own;
            inputs[k] = inputs[k].clone() + through.clone();
            q[k] = Some(through);
        }
        let r: Vec<Tensor<2>> = states.into_iter().map(fire).collect();
        for (k, r) in r.iter().enumerate() {
            if let Some(field) = couplings.field(k, &q) {
                gradient[k] = gradient[k].clone() + field * slope(r);
            }
        }
        for (k, weight) in weights.iter_mut().enumerate() {
            let up = q[k + 1].clone().map(|q| r[k].clone().transpose().matmul(q));
            let down = q[k].clone().map(|q| q.transpose().matmul(r[k + 1].clone()));
            *weight = [weight.take(), up, down].into_iter().flatten().reduce(|a, b| a + b);
        }
    }
    let device = inputs[0].device();
    let weights = weights.into_iter().enumerate().map(|(k, weight)| {
        let units = |k: usize| inputs[k].dims()[1];
        weight.unwrap_or_else(|| Tensor::zeros([units(k), units(k + 1)], &device))
    });
    Unrolled { weights: weights.collect(), inputs }
}
