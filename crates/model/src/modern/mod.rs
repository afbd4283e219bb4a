//! Modern (dense associative, softmax) Hopfield networks, and the thresholds between their
//! regimes.
//!
//! # The energy
//!
//! With `N` patterns `x_i` as the rows of `X`, `M = max_i |x_i|` and an inverse temperature `beta`
//! (Ramsauer et al. 2021, arXiv 2008.02217, eqs. 1 to 3),
//!
//! ```text
//! E(xi)  = -lse(beta, X xi) + |xi|^2 / 2 + ln(N) / beta + M^2 / 2
//! lse(beta, z) = ln(sum_i exp(beta z_i)) / beta
//! xi <- X' softmax(beta X xi)
//! ```
//!
//! An update never raises the energy (it is one of a concave-convex procedure).
//!
//! # How it is computed
//!
//! With the mean pattern `x~`, centred patterns `y_i = x_i - x~` and `eta = xi - x~`,
//!
//! ```text
//! t_i    = <y_i, eta> + <y_i, x~>              overlaps; <x_i, xi> up to a shift common to all i
//! p      = softmax(beta t)                     weights
//! E(xi)  = (M^2 - |x~|^2)/2 + |eta|^2/2 - ln(mean_i exp(beta t_i)) / beta
//! eta   <- Y' p
//! ```
//!
//! At `beta = 0` the last term of the energy is its limit, the mean of `t`. After one update a
//! state is a mixture `xi = X' p`, and the dynamics close on the weights:
//! `p <- softmax(beta (K p + k))` with `K = Y Y'` and `k = Y x~`. That is one product with `[N, N]`
//! instead of two with `[N, d]`, and the same states; see [`Space`].
//!
//! In [`Space::Weights`] a mean at a distance `r` from the origin then rounds overlaps by `r` units
//! in the last place of 1, instead of `r^2`. In [`Space::States`] every update adds the mean to the
//! state, which is rounded with it.
//!
//! # Which file
//!
//! [`ModernHopfield`] is the network, [`Retrieval`] its dynamics as a
//! [`FixedPointMap`](hvae_solver::FixedPointMap); [`equidistant`] and [`random`] make pattern sets;
//! [`Density`] is the distribution with that energy, a [`Mixture`]; [`Thresholds`] holds the formulas;
//! [`stability`] the eigenvalue that decides stability.

mod density;
pub(crate) mod mixture;
mod network;
mod retrieval;
mod sets;
mod stability;
mod thresholds;

pub use density::Density;
pub use mixture::Mixture;
pub use network::{ModernHopfield, Readings};
pub use retrieval::{Retrieval, Space};
pub use sets::{Equidistant, equidistant, random};
pub use stability::{Stability, stability};
pub use thresholds::{Thresholds, beta_eff};
