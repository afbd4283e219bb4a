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
//! | [`phases`] | settings: how free and nudged phases are run |
//! | [`cost`] | how a cost acts on a network: a force, or a readout |
//! | [`nudge`] | which nudged phases are run, and `beta` from the size of a nudge |
//! | [`sample_mask`] | which samples count |
//! | [`displacement`] | how far a nudge takes the states |
//! | [`difference`] | the gradient from the difference of two states |
//! | [`readout`] | the direct gradient of a readout |
//! | [`gradient`] | the gradient of all parameters |
//! | [`estimate`] | all of it, from a cost to its gradient |

pub(crate) mod cost;
pub(crate) mod difference;
pub(crate) mod displacement;
pub(crate) mod estimate;
pub(crate) mod gradient;
pub(crate) mod nudge;
pub(crate) mod phases;
pub(crate) mod readout;
pub(crate) mod sample_mask;

pub use cost::{Cost, Force, Readout};
pub use estimate::gradient;
pub use gradient::EpGradient;
pub use nudge::{AllReduce, Nudge, NudgeSize, Nudging, Squares, Unconverged};
pub use phases::{EpConfig, PhaseSettings};
pub(crate) use sample_mask::{SampleMask, valid_samples};
