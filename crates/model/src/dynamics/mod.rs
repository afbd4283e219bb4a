//! Dynamics: how free layers relax to equilibrium while others are clamped.
//!
//! | file | holds |
//! |---|---|
//! | [`drive`] | the constant input of a layer, and the elementwise end of an update |
//! | [`free_layers`] | which layers relax, and their places in a solver's state |
//! | [`substrate`] | what carries out the dynamics: exact arithmetic, or a device |
//! | [`wiring`] | the couplings as that device holds them |
//! | [`relaxation`] | a phase: the block sweeps of the free layers, and their equilibrium |
//! | [`deviation`] | a nudged phase in terms of how far it takes the states |
//! | [`two_states`] | a nudged phase as two states side by side |
//! | [`loop_gain`] | how fast sweeps converge near an equilibrium |
//! | [`feed_forward`] | signals that pass through once, without feedback |

pub(crate) mod deviation;
pub(crate) mod drive;
pub(crate) mod feed_forward;
pub(crate) mod free_layers;
mod loop_gain;
pub(crate) mod relaxation;
pub(crate) mod substrate;
pub(crate) mod two_states;
pub(crate) mod wiring;
