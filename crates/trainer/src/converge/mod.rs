//! `hvae converge`: iterations to equilibrium of the networks of arXiv 2311.15673, beside its Table 2.
//!
//! [`paper`] holds the table; [`train`] makes the networks, [`weights`] keeps them; [`count`] counts as the paper counts;
//! [`output`] and [`figure`] show both. `docs/convergence.md` explains what is seen.

pub mod count;
pub mod figure;
pub mod output;
pub mod paper;
pub mod plan;
pub mod timing;
pub mod train;
pub mod weights;
