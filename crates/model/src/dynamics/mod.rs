//! Dynamics: how free layers relax to equilibrium while others are clamped.
//!
//! | file | holds |
//! |---|---|
//! | [`drive`] | the constant input of a layer, and the elementwise end of an update |
//! | [`substrate`] | what carries out the dynamics: exact arithmetic, or a device |
//! | [`wiring`] | the couplings as that device holds them |
//! | [`relaxation`] | a phase: block sweeps of the free layers, their equilibrium and loop gain |
//! | [`in_place`] | sweeps in host memory, without tensors |
//! | [`deviation`] | a nudged phase in terms of how far it takes the states |

pub(crate) mod deviation;
pub(crate) mod drive;
pub(crate) mod in_place;
pub(crate) mod relaxation;
pub(crate) mod substrate;
pub(crate) mod wiring;

pub use relaxation::{Equilibrium, Relaxation, Role};
pub use substrate::{Exact, NudgedPhase, Phase, PhaseId, Programmed, Side, Site, Substrate};
pub(crate) use wiring::Wiring;
