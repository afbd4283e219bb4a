//! The progress bar.

use anyhow::Result;
use hvae_runtime::terminal::{self, Progress};

use crate::observers::observer::{Observer, StepEvent, TrainingStart};
use crate::run::metrics::EpochMetrics;

/// A progress bar on a terminal, otherwise a line at intervals; a line per epoch.
#[derive(Debug, Default)]
pub struct ProgressBar {
    epochs: usize,
    monitor: &'static str,
    steps: usize,
    images_per_step: f64,
    progress: Option<Progress>,
}

impl Observer for ProgressBar {
    fn start(&mut self, start: &TrainingStart) -> Result<()> {
        (self.epochs, self.monitor) = (start.epochs, start.monitor);
        self.steps = start.steps_per_epoch;
        self.images_per_step = start.images as f64 / start.steps_per_epoch.max(1) as f64;
        Ok(())
    }

    fn start_epoch(&mut self, epoch: usize, done: usize) {
        let name = format!("epoch {}/{}", epoch + 1, self.epochs);
        self.progress = Some(Progress::start(&name, self.steps, done));
    }

    fn step(&mut self, event: &StepEvent<'_>) -> Result<()> {
        let Some(progress) = &mut self.progress else { return Ok(()) };
        let speed = progress.per_second() * self.images_per_step;
        progress.update(event.step_in_epoch, || {
            let losses = event.sums.losses();
            format!(
                "{speed:.0} images/s  reconstruction {:.2}  KL {:.2}",
                losses.reconstruction_error, losses.divergence
            )
        });
        Ok(())
    }

    fn epoch(&mut self, metrics: &EpochMetrics) -> Result<()> {
        self.progress = None;
        terminal::line(&metrics.summary(self.epochs, self.monitor));
        Ok(())
    }

    fn end(&mut self) {
        self.progress = None;
    }
}
