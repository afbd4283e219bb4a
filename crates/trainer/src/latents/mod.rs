//! Latents of trained models: where they come from, their principal axes, and those that complete
//! an image.

pub mod completion;
pub mod mixture;
pub mod pca;
pub mod prior;
pub mod sampler;
