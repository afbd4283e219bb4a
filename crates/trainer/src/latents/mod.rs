//! Latents of trained models: where they come from, what they decode to, their principal axes, and
//! those that complete an image.

pub mod completion;
pub mod decode;
pub mod mixture;
pub mod pca;
pub mod sampler;
