//! Interactions: the linear map between two layers, or of one layer to itself.
//!
//! An interaction between a lower layer with states `s` and an upper one with states `t`, both
//! `[batch, n]`, contributes `-<t, W s>` to the energy, summed over units. Dynamics and learning
//! rule need no more of it than what [`Bilinear`](bilinear::Bilinear) asks for: two maps, a
//! gradient that is bilinear in the states, and a few numbers. They never see the shape of `W`.
//!
//! | kind | `W s` | `dE/dW` |
//! |---|---|---|
//! | [`dense`] | matrix product | `-s' t` |
//! | [`within`] | symmetric matrix with zero diagonal | `-(s' s)/2`, symmetrised |
//! | [`banded`] | the same, for units that lie near each other on the layer's grid | likewise |
//!
//! A new kind is one more file that implements [`bilinear::Bilinear`], and a variant of the enums
//! in [`kind`].

pub(crate) mod banded;
pub(crate) mod bilinear;
pub(crate) mod dense;
pub(crate) mod kind;
mod matrix;
pub(crate) mod weights;
pub(crate) mod within;
