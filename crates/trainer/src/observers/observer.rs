//! The interface of a training callback.

use anyhow::Result;

use crate::run::metrics::EpochMetrics;
use crate::run::sums::EpochSums;

/// What is known before training starts.
#[derive(Debug, Clone, Copy)]
pub struct TrainingStart {
    /// Epochs in all.
    pub epochs: usize,
    /// Steps of an epoch.
    pub steps_per_epoch: usize,
    /// Training images.
    pub images: usize,
    /// Name of the split that the validation loss is measured on, see
    /// [`DataConfig::monitor`](hvae_data::config::DataConfig::monitor).
    pub monitor: &'static str,
}

/// What is known after a step.
#[derive(Debug, Clone, Copy)]
pub struct StepEvent<'a> {
    /// Epochs finished.
    pub epoch: usize,
    /// Steps taken in all.
    pub step: usize,
    /// Steps taken in this epoch.
    pub step_in_epoch: usize,
    /// Norm of the newest gradient that has been read.
    pub gradient_norm: f64,
    /// The step's learning rate.
    pub learning_rate: f64,
    /// Sums over the epoch so far.
    pub sums: &'a EpochSums,
}

/// A training callback. An observer cannot change the run; its error ends training.
pub trait Observer: std::fmt::Debug {
    /// Training starts.
    ///
    /// # Errors
    ///
    /// When a file or a terminal that it needs cannot be opened.
    fn start(&mut self, _start: &TrainingStart) -> Result<()> {
        Ok(())
    }

    /// An epoch starts, or is resumed after `done` of its steps; `epoch` epochs are finished.
    fn start_epoch(&mut self, _epoch: usize, _done: usize) {}

    /// A step is done.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    fn step(&mut self, _event: &StepEvent<'_>) -> Result<()> {
        Ok(())
    }

    /// An epoch is done and saved.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    fn epoch(&mut self, _metrics: &EpochMetrics) -> Result<()> {
        Ok(())
    }

    /// Training has ended, with or without an error.
    fn end(&mut self) {}
}
