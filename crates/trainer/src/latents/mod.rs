//! Latents: samples of the prior and of a fitted mixture, principal directions, completion.

pub mod completion;
pub mod mixture;
pub mod principal;
pub mod sampler;
