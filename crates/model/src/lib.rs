//! Symmetric Hopfield networks and variational autoencoders trained by equilibrium propagation.
//!
//! # Notation
//!
//! | symbol | here | meaning |
//! |---|---|---|
//! | `s_k` | `states[k]`, `[batch, n_k]` | activations of layer `k` |
//! | `g_k`, `A_k`, `c_k` | [`Activation`], [`LayerSpec::gain`] | nonlinearity, its energy, its gain |
//! | `b_k` | [`Layer::bias`] | bias |
//! | `W_kl`, `R_k` | [`Coupling::weight`] | couplings between layers, within a layer |
//! | `beta` | [`Strength`] | nudging strength |
//! | `delta` | [`Force::force`] | `dC/ds` at the free equilibrium |
//! | `mu`, `sigma` | [`Posterior`] | mean and standard deviation of `q(z given x)` |
//! | `w` | [`VaeConfig::precision`] | weight of the reconstruction cost |
//!
//! # The one energy
//!
//! ```text
//! E(s) = sum_k [ A_k(s_k)/c_k - <b_k, s_k> ] - sum_{k<l} <s_k, W_kl s_l> - 1/2 sum_k <s_k, R_k s_k>
//! dE/ds_k = 0   <=>   s_k = g_k( c_k ( b_k + sum_l W_kl s_l + R_k s_k ) )
//! ```
//!
//! Every `W` serves both directions. Layers without a coupling among or within them form a block, and
//! updating a block given the others is the exact minimiser of `E` over it. So where no layer has
//! couplings within, as in a layered network, where the blocks are the even and the odd layers, sweeps
//! over the blocks never raise the energy. With an `R_k` an update is no minimiser, and the residual
//! alone tells whether an equilibrium was reached.
//!
//! # The one learning rule
//!
//! With `s_beta` the equilibrium of `E(s) + beta <delta, s>` about the free equilibrium (below of a
//! centred nudge; [`Nudging`] has the others, [`gradient`] how `s_beta - s_0` is relaxed),
//!
//! ```text
//! dC/dW_kl = - [ s_k' s_l (+beta) - s_k' s_l (-beta) ] / (2 beta),     mean over the batch
//! dC/dR_k  = - 1/2 [ s_k' s_k (+beta) - s_k' s_k (-beta) ] / (2 beta), mean over the batch
//! dC/db_k  = - [ s_k (+beta) - s_k (-beta) ] / (2 beta),               mean over the batch
//! dC/dz    = - sum_l W_zl [ s_l (+beta) - s_l (-beta) ] / (2 beta),    per sample, z clamped
//! ```
//!
//! `dC/dR` is symmetric, zero on the diagonal and for pairs of units that are not joined. Every entry counts as a parameter of its own: it is half
//! of the derivative in the number that `R_ij` and `R_ji` share, the other half of which is in the
//! entry across the diagonal.
//!
//! A [`Readout`] `l(a_k)` has besides its direct gradient, with `e = c_k dl/da_k` at the free equilibrium:
//!
//! ```text
//! dC/dW_lk += s_l' e       dC/dR_k += (s_k' e + e' s_k)/2, zero diagonal       dC/db_k += e
//! dC/dz    += W_zk e       per sample; the others mean over the batch
//! ```
//!
//! # Map of the crate
//!
//! [`Activation`] and [`HopfieldNetwork`] hold the energy; [`Relaxation`] its dynamics with some
//! layers clamped; [`gradient`] the learning rule; [`Vae`] puts two networks together.
//! [`modern`] holds the softmax networks, apart from the rest; [`classifier`] the layered networks
//! whose convergence `hvae converge` measures.
//! The crate opens no file, prints nothing and has no random numbers of its own.
#![recursion_limit = "256"]

mod activation;
mod architecture;
pub mod classifier;
mod config;
mod contrast;
mod coupling;
mod deviation;
mod drive;
mod eqprop;
mod error;
mod feedforward;
mod inference;
mod latent;
mod likelihood;
pub mod modern;
mod network;
mod phases;
mod quiet;
mod readout;
mod reference;
mod relax;
mod step;
mod strength;
mod vae;

pub use activation::{Activation, HiddenActivation};
pub use config::{EpConfig, Kind, VaeConfig};
pub use coupling::Coupling;
pub use eqprop::{
    EpGradient, Force, Nudge, Nudging, Readout, Unconverged, gradient, readout_gradient,
};
pub use error::ModelError;
pub use inference::LatentGradient;
pub use latent::{LOG_VARIANCE_RANGE, Posterior};
pub use likelihood::{Decoding, Likelihood};
pub use network::{HopfieldNetwork, Layer, LayerSpec};
pub use phases::{PhaseOutcomes, Phases};
pub use quiet::{Agreement, StepLosses};
pub use relax::{Equilibrium, Relaxation, Role};
pub use step::TrainingStep;
pub use strength::{Beta, Strength};
pub use vae::{Reconstruction, Vae};
