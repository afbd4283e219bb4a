//! Pictures of images, and plots.

pub mod picture;
pub mod plot;
