//! Layered Hopfield networks that classify: the CHN and the HAM of Goemaere, Deleu & Demeester 2024
//! (arXiv 2311.15673), of any depth, with their even-odd forms.
//!
//! # Notation
//!
//! Pixels `x`, layers `k = 1..L` with states `s_k` of shape `[batch, n_k]`,
//! `rho(s) = sigmoid(4 s - 2)` also on the pixels, `W_1` from the pixels to the first layer, and
//! symmetric couplings `W_k` between the layers `k - 1` and `k`. The input of a layer is
//!
//! ```text
//! a_k(s) = b_k + rho(s_(k-1)) W_k + rho(s_(k+1)) W_(k+1)',          rho(s_0) = rho(x)
//! ```
//!
//! # Two networks
//!
//! | [`Form`] | energy `E` | fixed point |
//! |---|---|---|
//! | CHN (continuous Hopfield) | `sum_k <s_k, s_k>/2 - B(rho(s))` | `s_k = rho'(s_k) a_k(s)` |
//! | HAM (hierarchical associative) | `sum_k A(rho(s_k)) - B(rho(s))` | `s_k = a_k(s)` |
//!
//! with `B(r) = sum_k <b_k, r_k> + <r_(k-1), W_k r_k>` and `A` the convex conjugate of `rho`'s
//! integral: a HAM is a [`HopfieldNetwork`](crate::HopfieldNetwork) of sigmoid layers with gain 4
//! and biases `b - 1/2`, seen through its pre-activations ([`LayeredNetwork::network`]).
//!
//! # Two orders
//!
//! [`Order::Synchronous`] updates all layers at once. [`Order::EvenOdd`] updates the odd layers,
//! then the even ones. For a HAM the odd layers follow from the even ones, so the state is the even
//! layers only (Eq. 7-10 of the paper). For a CHN each layer's own fixed point has no closed form;
//! a half-sweep approximates it by `inner` damped updates.
//!
//! Classes are read from the raw state of the last layer, where the loss `|s_L - y|^2 / 2` acts.
//!
//! # Learning
//!
//! [`LayeredNetwork::backpropagate`] is recurrent backpropagation (Almeida 1987, Pineda 1987),
//! without a graph: at a HAM's equilibrium the adjoint is itself a fixed point, solved by the same
//! solver; a CHN's gradient goes back through its last iterations. [`LayeredNetwork::propagate`] is
//! equilibrium propagation.

mod adjoint;
mod couplings;
mod dynamics;
mod learning;
mod network;
mod pointwise;
mod unrolled;

pub use dynamics::{Dynamics, Order};
pub use learning::{Gradient, Learning};
pub use network::{Form, LayeredNetwork, rho};
