//! `hvae phase`: the phases of modern Hopfield networks, observed.
//!
//! One file for each observation: [`sweep`] finds minima over `beta`, [`thresholds`] bisects,
//! [`hysteresis`] follows states up and down, [`collapse`] compares sets, [`stability`] puts
//! eigenvalues beside the growth of deviations. `docs/phase-transition.md` explains what is seen.

pub mod args;
pub mod collapse;
pub mod figures;
pub mod growth;
pub mod hysteresis;
pub mod minima;
pub mod output;
pub mod saddles;
pub mod set;
pub mod stability;
pub mod starts;
pub mod sweep;
pub mod thresholds;
