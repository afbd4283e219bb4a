//! The progress bar.

use anyhow::Result;
use hvae_runtime::terminal::{self, Progress};

use crate::observers::{Observer, StepEvent, TrainingStart};
use crate::run::EpochMetrics;

/// A progress bar on a terminal, otherwise a line at intervals; a line per epoch.
#[derive(Debug, Default)]
pub(crate) struct ProgressBar {
    training: TrainingStart,
    progress: Option<Progress>,
    /// Whether it was said what the numbers are measured on.
    explained: bool,
}

impl Observer for ProgressBar {
    fn start(&mut self, start: &TrainingStart) -> Result<()> {
        self.training = *start;
        Ok(())
    }

    fn start_epoch(&mut self, epoch: usize, done: usize) {
        let name = format!("epoch {}/{}", epoch + 1, self.training.epochs);
        self.progress = Some(Progress::start(&name, self.training.steps_per_epoch, done));
    }

    fn step(&mut self, event: &StepEvent<'_>) -> Result<()> {
        let Some(progress) = &mut self.progress else { return Ok(()) };
        let TrainingStart { images, steps_per_epoch, .. } = self.training;
        let images_per_step = images as f64 / steps_per_epoch.max(1) as f64;
        let speed = progress.per_second() * images_per_step;
        progress.update(event.step_in_epoch, || {
            let losses = event.sums.losses();
            format!(
                "reconstruction {:.2}  KL {:.2}  {speed:.0} images/s",
                losses.reconstruction_error, losses.divergence
            )
        });
        Ok(())
    }

    fn epoch(&mut self, metrics: &EpochMetrics) -> Result<()> {
        self.progress = None;
        terminal::line(&metrics.summary(self.training.epochs, self.training.monitor));
        if let (false, Some(_)) = (std::mem::replace(&mut self.explained, true), metrics.test) {
            let averaged = if self.training.averages { ", with averaged weights" } else { "" };
            terminal::line(&format!(
                "  (train: mean while it learns; {}: at the end{averaged})",
                self.training.monitor
            ));
        }
        Ok(())
    }

    fn end(&mut self) {
        self.progress = None;
    }
}
