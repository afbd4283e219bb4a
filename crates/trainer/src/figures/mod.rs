//! Grids of images, and plots.

pub mod picture;
pub(crate) mod plot;
