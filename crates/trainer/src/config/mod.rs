//! The configuration of a run.

mod overrides;
mod presets;
pub mod run;
pub mod schedule;
pub mod training;
pub mod usage;

pub use run::{Changes, RunConfig};
pub use training::TrainingConfig;
pub use usage::Usage;
