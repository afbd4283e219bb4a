//! What equilibrium propagation is compared with.
//!
//! | file | holds |
//! |---|---|
//! | [`unrolled`] | the gradient by automatic differentiation through the relaxation |
//! | [`feedforward`] | the baseline: the same layers without feedback, trained by backpropagation |

pub(crate) mod feedforward;
pub(crate) mod unrolled;
