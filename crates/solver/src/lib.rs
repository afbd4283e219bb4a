//! Batched fixed points `s = f(s)` on Burn tensors, with one outcome per sample.
//!
//! A [`State`] holds a batch of independent samples; a [`FixedPointMap`] maps it to its image
//! `f(s)`; a [`Method`] turns state and image into the next state; [`solve`] runs the one loop,
//! measures the residual of the *undamped* map, and lets every sample end on its own: a sample
//! that has converged leaves the batch and costs nothing more, a sample that is no longer finite
//! leaves it too, and none of its numbers reaches another. What is noted at a check, and whether
//! those who have ended leave or are masked, is the business of one of two ledgers.
//!
//! This crate knows tensors and norms. It knows nothing of networks, files, clocks or random
//! numbers.
//!
//! # Which method
//!
//! | Method | When |
//! |---|---|
//! | [`Picard`] on [`Sweep`] | the map splits into blocks, as for a layered network: the default |
//! | [`Picard`] on [`Simultaneous`] | the map contracts and its blocks must move together |
//! | [`Damped`] | undamped iteration oscillates; `damping = 1 - dt` of forward Euler |
//! | [`Anderson`] on either | contraction is slow and an evaluation is dear |
//!
//! [`solve`] takes the batch as one; [`solve_in_parts`] cuts it into parts that are solved side by side,
//! which on a CPU is faster where much else than large matrix products is to be done.
//!
//! # Residual and tolerance
//!
//! With Euclidean norms over one sample's *carried* components (see [`FixedPointMap::carried`]),
//!
//! ```text
//! residual  r = |f(s) - s| / |f(s)|          (0 when both norms are 0)
//! converged   |f(s) - s| <= atol + rtol |f(s)|
//! ```
//!
//! whatever the method does with state and image afterwards. The state handed back is the image
//! `f(s)` at which the reported residual was measured. Squares are summed in f32, whatever the type of
//! the state: a norm below about 1e-22 counts as 0, one above about 1e19 as not finite. The norms are
//! held against the tolerance in f64, and in f32 on the device where the batch
//! [stays whole](StoppingRule::with_whole_batch).
//!
//! # Independence of samples
//!
//! Measuring, stepping, leaving: whatever the solver itself does, it does row by row. A number of
//! one sample never enters another, and a sample's bits do not depend on who else is in the batch,
//! *if the map's do not*. This holds for maps that work element by element.
//!
//! Matrix products are another matter. Which kernel multiplies, and hence in which order it adds, may
//! depend on the number of rows: on Burn's CPU backend products of a single row and those of at most
//! 64 rows and columns have kernels of their own. When a sample leaves, be it that it converged or
//! that it was lost, the batch has a row less, and the states of those who stay may from then on be
//! rounded differently: by as much as if the batch had been smaller from the start, and no more.
//!
//! Where every bit has to be independent of the other samples' fate, let the batch keep its size:
//! with [`StoppingRule::with_whole_batch`] those who have ended are masked and stay. Each row then goes
//! through the same kernels whatever stands in the others; what has ended is computed in vain.
//!
//! # Example
//!
//! ```
//! use burn::tensor::{Device, Int, Tensor};
//! use hvae_solver::{FixedPointMap, Picard, State, StoppingRule, solve};
//!
//! /// s = cos(s), one unknown per sample.
//! struct Cosine;
//! impl FixedPointMap for Cosine {
//!     fn apply(&self, state: &State) -> State {
//!         state.map(|s| s.cos())
//!     }
//!     fn select(&self, _rows: &Tensor<1, Int>) -> Self {
//!         Cosine
//!     }
//! }
//!
//! let guess = State::new(vec![Tensor::<2>::zeros([3, 1], &Device::flex())])?;
//! let rule = StoppingRule::new(1e-5, 100)?;
//! let solution = solve(Cosine, guess, &Picard, &rule)?;
//! assert!(solution.all_converged());
//! let value: f32 = solution.state.component(0).clone().slice([0..1, 0..1]).into_scalar();
//! assert!((value - 0.739_085).abs() < 1e-5);
//! # Ok::<(), hvae_solver::SolverError>(())
//! ```
#![recursion_limit = "256"]

/// The example of the README is a test like any other.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

mod block;
mod error;
mod leaving;
mod map;
mod method;
mod methods;
mod parts;
mod solution;
mod solve;
mod state;
mod stopping;
mod transfer;
mod whole;

pub use block::{BlockMap, Simultaneous, Sweep};
pub use error::SolverError;
pub use map::FixedPointMap;
pub use method::{Memory, Method};
pub use methods::anderson::{Anderson, AndersonMemory, Safeguard};
pub use methods::picard::{Damped, DampedMemory, Picard};
pub use parts::solve_in_parts;
pub use solution::{Outcome, Solution, Termination};
pub use solve::solve;
pub use state::State;
pub use stopping::StoppingRule;
pub use transfer::{Transfers, read, transfers, upload, upload_rows};
