//! How a cost acts on a network.

use burn::tensor::Tensor;

use crate::energy::LayerId;

/// A cost that acts on one layer: the force `dC/ds_k` at the free equilibrium, `[batch, n_k]`.
///
/// The nudged phases relax in the energy `E(s) + beta <force, s_k>`. Its free equilibrium and the
/// cost's first derivative there are those of `E + beta C`, so the estimate has the same limit and
/// the same order in `beta`; unlike `C` itself, the linear term cannot make an energy unbounded
/// that is bounded below on the range of the layer.
#[derive(Debug, Clone)]
pub struct Force {
    /// The layer.
    pub layer: LayerId,
    /// `dC/ds_k`, `[batch, n_k]`.
    pub force: Tensor<2>,
}

/// A cost `l(a_k)` of the gained input of layer `k`, `a_k = c_k (b_k + sum_l W_kl s_l + R_k s_k)`,
/// which is read out and is no part of the energy (as Laborieux et al. 2021, arXiv 2006.03824, do
/// for a softmax).
///
/// The layers coupled with `k` receive the force `c_k W_kl dl/da`; the weights and bias of `k` have
/// the direct gradient of the readout in addition to the one that equilibrium propagation finds.
#[derive(Debug, Clone)]
pub struct Readout {
    /// The layer.
    pub layer: LayerId,
    /// `dl/da_k` at the free equilibrium, `[batch, n_k]`.
    pub error: Tensor<2>,
}

/// How a cost acts on a network.
#[derive(Debug, Clone, Copy)]
pub enum Cost<'c> {
    /// On the states of layers.
    Forces(&'c [Force]),
    /// On the input of a layer.
    Readout(&'c Readout),
}
