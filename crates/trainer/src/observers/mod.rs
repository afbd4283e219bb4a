//! Training callbacks: progress bar, terminal interface, TensorBoard, transfer counts.

mod events;
pub(crate) mod progress_bar;
pub(crate) mod tensorboard;
pub(crate) mod trace;
pub(crate) mod tui;

use anyhow::Result;

use crate::figures::caption::Png;
use crate::run::{EpochMetrics, EpochSums, MeanLosses};

/// What is known before training starts.
#[derive(Debug, Clone, Copy, Default)]
pub struct TrainingStart {
    pub(crate) epochs: usize,
    pub(crate) steps_per_epoch: usize,
    /// Training images.
    pub(crate) images: usize,
    /// Whether averaged weights are evaluated.
    pub(crate) averages: bool,
    /// Name of the split that the validation loss is measured on, see
    /// [`DataConfig::monitor`](hvae_data::config::DataConfig::monitor).
    pub(crate) monitor: &'static str,
}

/// What is known after a step.
#[derive(Debug, Clone, Copy)]
pub struct StepEvent<'a> {
    /// Steps taken in all.
    pub(crate) step: usize,
    pub(crate) step_in_epoch: usize,
    /// Losses of the newest step that has been read.
    pub(crate) losses: MeanLosses,
    /// Norm of the newest gradient that has been read.
    pub(crate) gradient_norm: f64,
    pub(crate) learning_rate: f64,
    /// Sums over the epoch so far.
    pub(crate) sums: &'a EpochSums,
}

/// Pictures that training has drawn.
#[derive(Debug, Clone, Copy)]
pub struct PictureEvent<'a> {
    /// Steps taken in all.
    pub(crate) step: usize,
    /// Pictures by their names, `samples` and `reconstructions`.
    pub(crate) pictures: &'a [(&'static str, Png)],
}

/// A training callback. An observer cannot change the run; its error ends training.
pub trait Observer {
    /// Training starts.
    fn start(&mut self, _start: &TrainingStart) -> Result<()> {
        Ok(())
    }

    /// An epoch starts, or is resumed after `done` of its steps; `epoch` epochs are finished.
    fn start_epoch(&mut self, _epoch: usize, _done: usize) {}

    /// A step is done.
    fn step(&mut self, _event: &StepEvent<'_>) -> Result<()> {
        Ok(())
    }

    /// An epoch is done and saved.
    fn epoch(&mut self, _metrics: &EpochMetrics) -> Result<()> {
        Ok(())
    }

    /// Pictures are drawn and saved.
    fn pictures(&mut self, _event: &PictureEvent<'_>) -> Result<()> {
        Ok(())
    }

    /// Training has ended, with or without an error.
    fn end(&mut self) {}
}
