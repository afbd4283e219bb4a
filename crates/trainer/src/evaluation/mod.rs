//! Scores of a run: likelihood, gradients, and the images that distances are taken between.

pub mod args;
pub mod gradients;
pub mod likelihood;
pub mod source;
