//! Scores of a trained model: losses, likelihood, gradients, distances of samples from images.

pub(crate) mod gradients;
pub(crate) mod likelihood;
pub(crate) mod losses;
pub(crate) mod scores;
pub(crate) mod source;
