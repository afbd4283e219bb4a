//! Equilibrium propagation: the gradient of a cost from the difference of equilibria.
//!
//! With `s_beta` the equilibrium of `E(s) + beta C(s)`, a centred nudge gives
//!
//! ```text
//! dC/dtheta = [ dE/dtheta(s_+beta) - dE/dtheta(s_-beta) ] / (2 beta) + O(beta^2)
//! ```
//!
//! in order of use:
//!
//! | file | holds |
//! |---|---|
//! | [`config`] | settings of the phases, as plain data |
//! | [`phases`] | the same, checked: how free and nudged phases are run |
//! | [`cost`] | how a cost acts on a network: a force, or a readout |
//! | [`nudge`] | which nudged phases are run |
//! | [`nudge_size`] | `beta` from the size of a nudge |
//! | [`all_reduce`] | one `beta` for many workers |
//! | [`sample_mask`] | which samples count |
//! | [`displacement`] | how far a nudge takes the states |
//! | [`difference`] | the gradient from the difference of two states |
//! | [`readout`] | the direct gradient of a readout |
//! | [`gradient`] | the gradient of all parameters |
//! | [`estimate`] | all of it, from a cost to its gradient |

pub(crate) mod all_reduce;
pub(crate) mod config;
pub(crate) mod cost;
pub(crate) mod difference;
pub(crate) mod displacement;
pub(crate) mod estimate;
pub(crate) mod gradient;
pub(crate) mod nudge;
pub(crate) mod nudge_size;
pub(crate) mod phases;
pub(crate) mod readout;
pub(crate) mod sample_mask;
