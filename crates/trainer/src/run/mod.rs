//! The folder of a run: configuration, checkpoints, metrics, environment.

pub mod checkpoint;
pub(crate) mod dir;
pub mod environment;
pub(crate) mod exchange;
pub(crate) mod history;
pub mod metrics;
pub mod summary;
pub mod sums;

pub use dir::{CheckpointChoice, RunDir};
