//! Symmetric Hopfield networks and variational autoencoders trained by equilibrium propagation.
//!
//! # Notation
//!
//! | symbol | here | meaning |
//! |---|---|---|
//! | `s_k` | [`Equilibrium::states`], `[batch, n_k]` | activations of layer `k` |
//! | `g_k`, `A_k`, `c_k` | [`Activation`], [`LayerSpec::gain`] | nonlinearity, energy, gain |
//! | `b_k` | [`Layer::bias`] | bias |
//! | `W_kl`, `R_k` | [`Interaction`] | couplings between layers, within a layer |
//! | `beta` | [`NudgeSize`] | nudging strength |
//! | `delta` | [`Force::force`] | `dC/ds` at the free equilibrium |
//! | `mu`, `sigma` | [`Posterior`] | mean and standard deviation of `q(z given x)` |
//! | `w` | [`VaeConfig::precision`] | weight of the reconstruction cost |
//!
//! # Energy
//!
//! ```text
//! E(s) = sum_k [ A_k(s_k)/c_k - <b_k, s_k> ]
//!        - sum_{k<l} <s_k, W_kl s_l> - 1/2 sum_k <s_k, R_k s_k>
//! dE/ds_k = 0   <=>   s_k = g_k( c_k ( b_k + sum_l W_kl s_l + R_k s_k ) )
//! ```
//!
//! Every `W` is used in both directions. Layers without couplings between or within them form a
//! block, and updating a block given the others is the exact minimiser of `E` over it. So without
//! couplings within layers, as in a layered network, whose blocks are the even and the odd layers,
//! sweeps over the blocks never raise the energy. With an `R_k` an update is not a minimiser, and
//! only the residual shows whether an equilibrium was reached.
//!
//! # Learning rule
//!
//! With `s_beta` the equilibrium of `E(s) + beta <delta, s>` about the free equilibrium, a centred
//! nudge gives (for the others see [`Nudging`], for how `s_beta - s_0` is relaxed [`gradient`])
//!
//! ```text
//! dC/dW_kl = - [ s_k' s_l (+beta) - s_k' s_l (-beta) ] / (2 beta),     mean over the batch
//! dC/dR_k  = - 1/2 [ s_k' s_k (+beta) - s_k' s_k (-beta) ] / (2 beta), mean over the batch
//! dC/db_k  = - [ s_k (+beta) - s_k (-beta) ] / (2 beta),               mean over the batch
//! dC/dz    = - sum_l W_zl [ s_l (+beta) - s_l (-beta) ] / (2 beta),    per sample, z clamped
//! ```
//!
//! `dC/dR` is symmetric, zero on the diagonal and for pairs of units that are not joined. `R_ij`
//! and `R_ji` are one number in two entries; each entry holds half of the derivative in it.
//!
//! A [`Readout`] `l(a_k)` adds its direct gradient, with `e = c_k dl/da_k` at the free equilibrium:
//!
//! ```text
//! dC/dW_lk += s_l' e       dC/dR_k += (s_k' e + e' s_k)/2, zero diagonal       dC/db_k += e
//! dC/dz    += W_zk e       per sample; the others mean over the batch
//! ```
//!
//! # Map of the crate
//!
//! | folder | holds | main type |
//! |---|---|---|
//! | `energy` | layers, interactions, networks | [`HopfieldNetwork`] |
//! | `dynamics` | free layers relax while others are clamped | [`Relaxation`] |
//! | `kernels` | fused updates for the CPU | |
//! | `eqprop` | from the difference of equilibria to a gradient | [`EpGradient`] |
//! | `vae` | encoder and decoder, prior and likelihood, the baseline | [`Vae`] |
//! | `checks` | unrolled gradients | |
//! | [`chn_ham`] | layered classifying networks of arXiv 2311.15673 | [`chn_ham::LayeredNetwork`] |
//! | [`modern`] | modern (softmax) Hopfield networks | [`modern::ModernHopfield`] |
//!
//! The crate opens no file, prints nothing and draws random numbers only from generators that it is
//! given.
#![recursion_limit = "256"]

/// The examples of this README and of the project's are tests like any other.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
#[doc = include_str!("../../../README.md")]
mod readme {}

mod checks;
pub mod chn_ham;
mod dynamics;
mod energy;
mod eqprop;
mod error;
mod kernels;
pub mod modern;
mod scalar;
mod vae;

pub use dynamics::{
    Equilibrium, Exact, NudgedPhase, Phase, PhaseId, Programmed, Relaxation, Role, Side, Site,
    Substrate,
};
pub use energy::{
    Activation, Coupling, CouplingSpec, Dense, HiddenActivation, HopfieldNetwork, Interaction,
    InteractionKind, Layer, LayerId, LayerSpec, PerLayer, Shape, Symmetric,
};
pub use eqprop::{
    AllReduce, Cost, EpConfig, EpGradient, Force, Nudge, NudgeSize, Nudging, PhaseSettings,
    Readout, Squares, Unconverged, gradient,
};
pub use error::ModelError;
pub use scalar::{ReadPolicy, Scalar};
pub use vae::{
    Decoding, HopfieldPrior, Kind, LatentGradient, Likelihood, Losses, PerPhase, PerSide,
    PhaseOutcomes, Posterior, PosteriorGradient, Prior, PriorConfig, PriorKind, Reconstruction,
    StandardNormal, TrainingStep, Vae, VaeConfig,
};
