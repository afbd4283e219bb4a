//! Training: the loop over epochs, one step of it, and what is measured after an epoch.
//!
//! | file | what it holds |
//! |---|---|
//! | [`trainer`] | the loop: epochs, checkpoints, observers |
//! | [`step`] | one step: gradient, update, limits, averages |
//! | [`draws`], [`binarize`] | its random numbers, and images binarized with them |
//! | [`workers`] | the gradient of one step over several devices |
//! | `all_reduce` | how those workers add up numbers |
//! | `pending` | steps whose losses the host has not read yet |
//! | [`schedule`] | learning rate, KL weight and averaging decay of a step |
//! | [`mod@model`], [`mod@phases`] | initial weights, and the phases for a device |
//! | [`evaluate`] | losses, loop gains and gradient check on images |
//! | [`decode`], `grids` | images from latents, and pictures of them |
//! | [`memory`] | an estimate of the memory that training takes |

mod all_reduce;
pub mod binarize;
pub mod decode;
pub mod draws;
mod ema;
pub mod evaluate;
mod grids;
pub mod memory;
pub mod model;
mod pending;
pub mod phases;
pub mod schedule;
pub mod step;
pub mod trainer;
pub mod workers;

pub use decode::{decode, sample};
pub use evaluate::{EVALUATION_BATCH, evaluate};
pub use model::new_model;
pub use phases::phases;
pub use trainer::{Finished, Trainer, TrainingRequest};
