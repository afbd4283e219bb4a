//! The folder of a run: configuration, checkpoints, metrics, environment.

pub(crate) mod checkpoint;
pub(crate) mod choice;
pub(crate) mod dir;
pub mod environment;
pub(crate) mod exchange;
pub(crate) mod history;
pub(crate) mod latents;
pub(crate) mod metrics;
pub(crate) mod origin;
pub(crate) mod place;
pub(crate) mod prior;
pub(crate) mod summary;
pub(crate) mod sums;

pub(crate) use checkpoint::Checkpoint;
pub use checkpoint::TrainingState;
pub use choice::CheckpointChoice;
pub use dir::RunDir;
pub use environment::Environment;
pub use latents::LatentUse;
pub use metrics::EpochMetrics;
pub(crate) use metrics::{GradientCheck, LoopGains, MeanLosses};
pub use origin::Origin;
pub(crate) use prior::PriorUse;
pub use summary::Summary;
pub(crate) use sums::{Counts, EpochSums};
