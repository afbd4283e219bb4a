//! The folder of a run: configuration, checkpoints, metrics, environment.

pub mod checkpoint;
pub mod dir;
pub mod environment;
pub mod exchange;
pub mod history;
pub mod metrics;
pub mod summary;
pub mod sums;

pub use dir::{CheckpointChoice, RunDir};
