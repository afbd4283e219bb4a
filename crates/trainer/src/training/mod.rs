//! Training: the loop over epochs, one step of it, and what is measured after an epoch.

mod advice;
mod grids;
pub(crate) mod memory;
pub(crate) mod model;
mod pending;
mod prior;
pub(crate) mod schedule;
pub(crate) mod step;
pub(crate) mod trainer;
pub mod workers;

pub use model::new_model;
pub(crate) use model::{DEFERRED_CHECK_EVERY, phases};
pub use trainer::{Finished, Trainer, TrainingRequest};
