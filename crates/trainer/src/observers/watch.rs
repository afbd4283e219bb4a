//! Those who look on while a model is trained: a progress bar, a terminal interface, event files.

use anyhow::Result;

use crate::run::metrics::{EpochMetrics, EpochSums};
use hvae_runtime::terminal;
use hvae_runtime::terminal::Progress;

/// What is known before training begins.
#[derive(Debug, Clone, Copy)]
pub struct Begin {
    /// Epochs in all.
    pub epochs: usize,
    /// Steps of an epoch.
    pub steps_per_epoch: usize,
    /// Training images.
    pub images: usize,
    /// What losses are measured on after an epoch, see [`DataConfig::watched`](hvae_data::config::DataConfig::watched).
    pub watched: &'static str,
}

/// What is known after a step.
#[derive(Debug, Clone, Copy)]
pub struct StepReport<'a> {
    /// Epochs finished.
    pub epoch: usize,
    /// Steps taken in all.
    pub step: usize,
    /// Steps taken in this epoch.
    pub step_in_epoch: usize,
    /// Norm of the step's gradient.
    pub gradient_norm: f64,
    /// The step's learning rate.
    pub learning_rate: f64,
    /// Sums over the epoch so far.
    pub sums: &'a EpochSums,
}

/// Someone who looks on. Nothing that a watcher does changes the run.
pub trait Watch: std::fmt::Debug {
    /// Training begins.
    ///
    /// # Errors
    ///
    /// When what it needs is not there, a file or a terminal.
    fn begin(&mut self, _begin: &Begin) -> Result<()> {
        Ok(())
    }

    /// The epoch after `epoch` finished ones begins, `done` steps of which are done already.
    fn begin_epoch(&mut self, _epoch: usize, _done: usize) {}

    /// A step is done.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    fn step(&mut self, _report: &StepReport<'_>) -> Result<()> {
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

    /// Training has ended, well or not.
    fn end(&mut self) {}
}

/// A progress bar on a terminal, otherwise a line now and then; a line per epoch.
#[derive(Debug, Default)]
pub struct Bar {
    epochs: usize,
    watched: &'static str,
    steps: usize,
    images_per_step: f64,
    progress: Option<Progress>,
}

impl Watch for Bar {
    fn begin(&mut self, begin: &Begin) -> Result<()> {
        (self.epochs, self.watched) = (begin.epochs, begin.watched);
        self.steps = begin.steps_per_epoch;
        self.images_per_step = begin.images as f64 / begin.steps_per_epoch.max(1) as f64;
        Ok(())
    }

    fn begin_epoch(&mut self, epoch: usize, done: usize) {
        let name = format!("epoch {}/{}", epoch + 1, self.epochs);
        self.progress = Some(Progress::start(&name, self.steps, done));
    }

    fn step(&mut self, report: &StepReport<'_>) -> Result<()> {
        let per_step = self.images_per_step;
        if let Some(progress) = &mut self.progress {
            let rate = progress.per_second() * per_step;
            progress.update(report.step_in_epoch, || {
                let losses = report.sums.losses();
                format!(
                    "{rate:.0} images/s  reconstruction {:.2}  KL {:.2}",
                    losses.reconstruction_error, losses.divergence
                )
            });
        }
        Ok(())
    }

    fn epoch(&mut self, metrics: &EpochMetrics) -> Result<()> {
        self.progress = None;
        terminal::line(&metrics.summary(self.epochs, self.watched));
        Ok(())
    }

    fn end(&mut self) {
        self.progress = None;
    }
}
