//! Curves and pictures for TensorBoard.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};

use crate::observers::events::Events;
use crate::observers::{Observer, PictureEvent, StepEvent, TrainingStart};
use crate::run::EpochMetrics;

/// The folder of a run with its event files.
pub(crate) const FOLDER: &str = "tensorboard";

/// Steps between two points of the curves of steps.
const EVERY: usize = 10;

/// Writes scalars, those of steps under `step/` and those of epochs under the names of
/// `metrics.csv`, and the pictures that training draws.
pub(crate) struct TensorBoard {
    folder: PathBuf,
    writer: Option<Events<BufWriter<File>>>,
}

impl TensorBoard {
    /// Event files in the folder `tensorboard` of `run`. Each process writes one of its own.
    pub(crate) fn new(run: &Path) -> Self {
        Self { folder: run.join(FOLDER), writer: None }
    }

    fn create(&self) -> io::Result<Events<BufWriter<File>>> {
        std::fs::create_dir_all(&self.folder)?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (seconds, process) = (now.as_secs(), std::process::id());
        let name = format!("events.out.tfevents.{seconds:010}.{process}.hvae");
        Events::new(BufWriter::new(File::create_new(self.folder.join(name))?))
    }

    /// One event for each value.
    fn write(&mut self, step: usize, values: Vec<(String, f64)>) -> Result<()> {
        self.with(|writer| {
            let mut values = values.into_iter();
            values.try_for_each(|(tag, x)| writer.scalar(&tag, step, x as f32))
        })
    }

    fn with(
        &mut self,
        write: impl FnOnce(&mut Events<BufWriter<File>>) -> io::Result<()>,
    ) -> Result<()> {
        let Some(writer) = &mut self.writer else { return Ok(()) };
        let written = write(writer).and_then(|()| writer.flush());
        written.with_context(|| format!("writing events in {}", self.folder.display()))
    }
}

impl Observer for TensorBoard {
    fn start(&mut self, _start: &TrainingStart) -> Result<()> {
        let created = self.create();
        self.writer =
            Some(created.with_context(|| format!("writing events in {}", self.folder.display()))?);
        Ok(())
    }

    fn step(&mut self, event: &StepEvent<'_>) -> Result<()> {
        if !event.step.is_multiple_of(EVERY) {
            return Ok(());
        }
        let losses = event.losses;
        let values = [
            ("step/reconstruction_error", losses.reconstruction_error),
            ("step/kl", losses.divergence),
            ("step/gradient_norm", event.gradient_norm),
            ("step/learning_rate", event.learning_rate),
        ];
        self.write(event.step, values.map(|(tag, x)| (tag.to_owned(), x)).into())
    }

    fn epoch(&mut self, metrics: &EpochMetrics) -> Result<()> {
        let values = metrics.scalars().into_iter().map(|(name, x)| (name.replace('.', "/"), x));
        self.write(metrics.step, values.collect())
    }

    fn pictures(&mut self, event: &PictureEvent<'_>) -> Result<()> {
        self.with(|writer| {
            for (tag, png) in event.pictures {
                writer.picture(tag, event.step, &png.bytes, png.extent)?;
            }
            Ok(())
        })
    }
}
