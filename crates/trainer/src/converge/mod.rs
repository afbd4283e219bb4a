//! `hvae converge`: iterations to equilibrium of the networks of Goemaere, Deleu & Demeester
//! (arXiv 2311.15673), next to their Table 2.
//!
//! - [`paper`]: the table and the protocol;
//! - [`plan`]: which networks are trained and which rows are measured on them;
//! - [`train`] and [`weights`]: training and its files;
//! - [`measure`]: iterations, counted as in the paper;
//! - [`timing`]: time to the tolerance, for comparison with other implementations;
//! - [`results`] and [`plots`]: what is written.
//!
//! `docs/convergence.md` discusses the results.

pub(crate) mod measure;
pub(crate) mod paper;
pub(crate) mod plan;
pub(crate) mod plots;
pub(crate) mod results;
pub(crate) mod timing;
pub(crate) mod train;
pub(crate) mod weights;
