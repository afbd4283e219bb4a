//! The folder of a run: configuration, checkpoints, metrics, environment.

pub(crate) mod checkpoint;
pub(crate) mod dir;
pub mod environment;
pub(crate) mod exchange;
pub(crate) mod history;
pub(crate) mod metrics;
pub(crate) mod summary;
pub(crate) mod sums;

pub(crate) use checkpoint::Checkpoint;
pub use checkpoint::TrainingState;
pub use dir::{CheckpointChoice, RunDir};
pub use environment::Environment;
pub use metrics::EpochMetrics;
pub(crate) use metrics::{GradientCheck, LoopGains, MeanLosses};
pub(crate) use sums::{Counts, EpochSums};
