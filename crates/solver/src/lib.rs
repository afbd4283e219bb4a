#![doc = include_str!("../README.md")]
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
//! [`StoppingRule::with_masking`]. The content of other rows then has no influence on the kernels
//! that a row goes through, at the cost of still computing ended samples.
#![recursion_limit = "256"]

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
mod rows;
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
pub use rows::{RowMap, solve_rows};
pub use solution::{Outcome, Solution, Termination};
pub use solve::solve;
pub use state::State;
pub use stopping::StoppingRule;
