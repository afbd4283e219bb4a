//! Batched fixed points `s = f(s)` on Burn tensors, with one outcome per sample.
//!
//! A [`State`] is a batch of independent samples, a [`FixedPointMap`] computes the image `f(s)`, a
//! [`Method`] computes the next state from state and image, and [`solve`] iterates. It measures the
//! residual of the *undamped* map and ends every sample on its own: a converged sample is removed
//! from the batch and costs nothing more; a sample that is not finite is removed as well, and
//! affects no other sample.
//!
//! This crate knows tensors and norms. It knows nothing of networks, files, clocks or random
//! numbers.
//!
//! # Methods
//!
//! | method | use it if |
//! |---|---|
//! | [`Picard`] on [`Sweep`] | the map has blocks, like a layered network (even-odd): the default |
//! | [`Picard`] on [`Synchronous`] | the map contracts and all blocks must be updated at once |
//! | [`Damped`] | the undamped iteration oscillates; forward Euler with `dt = 1 - damping` |
//! | [`Anderson`] on either | contraction is slow and the map is expensive |
//!
//! [`solve`] takes the batch as a whole; [`solve_in_parts`] solves parts of it in parallel, which
//! is faster on a CPU unless large matrix products dominate. A method of your own implements
//! [`Method`].
//!
//! # Residual and tolerance
//!
//! With Euclidean norms over the [measured](FixedPointMap::measured) components of one sample,
//!
//! ```text
//! residual  r = |f(s) - s| / |f(s)|          (0 if both norms are 0)
//! converged   |f(s) - s| <= atol + rtol |f(s)|
//! ```
//!
//! for every method. The returned state is the image `f(s)` whose residual is reported. Squares are
//! summed in f32 for states of any data type: norms below about 1e-22 count as 0, norms above about
//! 1e19 as not finite. Norms are compared with the tolerance in f64, or in f32 on the device with
//! [`StoppingRule::with_masking`].
//!
//! # Independence of samples
//!
//! The solver works row by row: no number of one sample enters another, and the bits of a sample do
//! not depend on the rest of the batch *if those of the map do not*. Elementwise maps satisfy this.
//!
//! Matrix products may not. The kernel, and with it the order of summation, may depend on the
//! number of rows: Burn's CPU backend has separate kernels for products of a single row and for
//! those of at most 64 rows and columns. When a sample is removed, the batch shrinks, and the
//! remaining states may from then on be rounded differently, as if the batch had been that small
//! from the start.
//!
//! If every bit must be independent of the other samples, keep the batch size constant with
//! [`StoppingRule::with_masking`]. Each row then goes through the same kernels whatever the other
//! rows contain, at the cost of still computing ended samples.
//!
//! # Example
//!
//! ```
//! use burn::tensor::{Device, Int, Tensor};
//! use hvae_solver::{FixedPointMap, Picard, State, StoppingRule, solve};
//!
//! /// s = cos(s), one unknown per sample.
//! struct Cosine;
//!
//! impl FixedPointMap for Cosine {
//!     fn apply(&self, state: &State, _iteration: usize) -> State {
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
mod compacting;
mod convergence;
mod error;
mod map;
mod masked;
mod method;
mod methods;
mod parts;
mod residual;
mod solution;
mod solve;
mod state;
mod stopping;

pub use block::{BlockMap, Sweep, Synchronous};
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
