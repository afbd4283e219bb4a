//! Scores of a trained model: losses, likelihood, distances of its samples from real images; and
//! the comparison of its gradients with the reference gradient.

pub mod gradients;
pub mod likelihood;
pub mod scores;
pub mod source;
