//! `hvae phase`: the transition of modern Hopfield networks from one minimum to one per pattern,
//! as the inverse temperature `beta` grows.
//!
//! - [`patterns`] and [`starts`]: the stored patterns and the initial states;
//! - [`sweep`]: the minima reached at each `beta`;
//! - [`thresholds`]: the three thresholds by bisection;
//! - [`hysteresis`]: fixed points followed up and down in `beta`, [`saddles`] by Newton's method;
//! - [`stability`]: eigenvalues at fixed points against the measured growth of perturbations;
//! - [`collapse`]: pattern sets that differ in norm, cosine and dimension, against `beta_eff`;
//! - [`learned`]: the minima of a learned prior at other temperatures;
//! - [`results`] and [`plots`]: what is written.
//!
//! `docs/phase-transition.md` discusses the results.

pub(crate) mod collapse;
pub(crate) mod hysteresis;
pub(crate) mod learned;
pub(crate) mod patterns;
pub(crate) mod plots;
pub(crate) mod results;
mod saddles;
pub(crate) mod stability;
pub(crate) mod starts;
pub(crate) mod sweep;
pub(crate) mod thresholds;
