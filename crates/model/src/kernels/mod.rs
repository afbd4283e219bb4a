//! Fused elementwise kernels for the CPU, and the exponential that they use.
//!
//! | file | holds |
//! |---|---|
//! | [`exponential`] | `exp`, the logistic function and its increments, without branches |
//! | [`fused`] | a layer's update in one pass over memory, on all threads |

pub(crate) mod exponential;
pub(crate) mod fused;
