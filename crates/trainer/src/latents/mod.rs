//! Latents of trained models: their sources, images and principal axes; completion of images.

pub(crate) mod completion;
pub(crate) mod decode;
pub(crate) mod mixture;
pub(crate) mod pca;
pub(crate) mod sampler;
