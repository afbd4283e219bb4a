//! burn-train's terminal interface, driven by the training loop.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use anyhow::{Error, Result, anyhow, ensure};
use burn::train::Interrupter;
use burn::train::logger::TrainingProgressLogger;
use burn::train::metric::{
    MetricAttributes, MetricDefinition, MetricEntry, MetricId, NumericAttributes, NumericEntry,
    SerializedEntry,
};
use burn::train::renderer::tui::TuiMetricsRendererWrapper;
use burn::train::renderer::{MetricState, MetricsRenderer, MetricsRendererTraining};
use hvae_runtime::{interrupt, terminal};

use crate::observers::{Observer, StepEvent, TrainingStart};
use crate::run::{EpochMetrics, MeanLosses};

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Ui {
    /// A bar on a terminal, lines at intervals elsewhere.
    Bar,
    /// A line per epoch, and lines at intervals within it.
    Lines,
    /// Plots, numbers and progress on the whole terminal; `q` and then `s` stops.
    Tui,
}

/// A metric: its name, digits shown, and whether larger is better.
type Metric = (&'static str, usize, bool);

const RECONSTRUCTION: Metric = ("Reconstruction", 2, false);
const KL: Metric = ("KL", 2, false);
const ELBO: Metric = ("ELBO", 1, true);
const GRADIENT_NORM: Metric = ("Gradient norm", 2, false);
const LEARNING_RATE: Metric = ("Learning rate", 6, false);
const SWEEPS: Metric = ("Sweeps", 2, false);
const RESIDUAL: Metric = ("Residual", 7, false);
const METRICS: [Metric; 7] =
    [RECONSTRUCTION, KL, ELBO, GRADIENT_NORM, LEARNING_RATE, SWEEPS, RESIDUAL];

/// The whole terminal during training.
pub(crate) struct Tui {
    renderer: Option<TuiMetricsRendererWrapper>,
    interrupter: Interrupter,
    training: TrainingStart,
}

impl Tui {
    /// The interface, which opens when training starts.
    pub(crate) fn new() -> Result<Self> {
        let terminal = std::io::IsTerminal::is_terminal(&std::io::stdout());
        ensure!(terminal, "--ui tui needs a terminal on stdout; use --ui lines");
        let training = TrainingStart::default();
        Ok(Self { renderer: None, interrupter: Interrupter::new(), training })
    }

    /// Calls `work` with the renderer. The renderer panics when the user ends the program from it.
    fn with(&mut self, work: impl FnOnce(&mut TuiMetricsRendererWrapper)) -> Result<()> {
        let Some(renderer) = &mut self.renderer else { return Ok(()) };
        if catch_unwind(AssertUnwindSafe(|| work(renderer))).is_err() {
            // Its destructor would wait for a thread that has ended.
            std::mem::forget(self.renderer.take());
            terminal::release();
            let text = "stopped from the terminal interface; the last checkpoint is still good";
            return Err(Error::new(interrupt::Stopped).context(text));
        }
        if self.interrupter.should_stop() {
            interrupt::request();
        }
        Ok(())
    }
}

fn id(name: &str) -> MetricId {
    MetricId::new(Arc::new(name.to_owned()))
}

fn definition((name, _, higher_is_better): Metric) -> MetricDefinition {
    MetricDefinition {
        metric_id: id(name),
        name: Arc::new(name.to_owned()),
        description: None,
        attributes: MetricAttributes::Numeric(NumericAttributes { unit: None, higher_is_better }),
    }
}

fn state(((name, digits, _), value): (Metric, f64)) -> MetricState {
    let entry = SerializedEntry::new(format!("{value:.digits$}"), value.to_string());
    let entry = MetricEntry::new(id(name), entry);
    MetricState::Numeric(entry, Some(NumericEntry::Value(value)))
}

fn losses(losses: &MeanLosses) -> [(Metric, f64); 3] {
    [(RECONSTRUCTION, losses.reconstruction_error), (KL, losses.divergence), (ELBO, losses.elbo)]
}

impl Observer for Tui {
    fn start(&mut self, start: &TrainingStart) -> Result<()> {
        self.training = *start;
        terminal::hold();
        let interrupter = self.interrupter.clone();
        let open = || TuiMetricsRendererWrapper::new(interrupter, None);
        self.renderer = catch_unwind(AssertUnwindSafe(open)).ok();
        if self.renderer.is_none() {
            terminal::release();
            return Err(anyhow!("the terminal interface cannot be opened; use --ui lines"));
        }
        let TrainingStart { epochs, images, .. } = *start;
        self.with(|renderer| {
            for metric in METRICS {
                renderer.register_metric(definition(metric));
            }
            renderer.start(epochs, 1, Some(images), Some("hvae"));
        })
    }

    fn start_epoch(&mut self, epoch: usize, done: usize) {
        let steps = self.training.steps_per_epoch;
        // An error comes again at the next step, which can return it.
        let _ = self.with(|renderer| {
            renderer.update_epoch(epoch);
            renderer.start_split("train", steps);
            renderer.update_split(done);
        });
    }

    fn step(&mut self, event: &StepEvent<'_>) -> Result<()> {
        let mut values = losses(&event.sums.losses()).to_vec();
        values.push((GRADIENT_NORM, event.gradient_norm));
        values.push((LEARNING_RATE, event.learning_rate));
        if let Some(free) = event.sums.phases().decoder_free {
            values.push((SWEEPS, free.sweeps));
            values.extend(free.residual.map(|residual| (RESIDUAL, residual)));
        }
        self.with(|renderer| {
            for value in values {
                renderer.update_train(state(value));
            }
            renderer.update_split(event.step_in_epoch);
        })
    }

    fn epoch(&mut self, metrics: &EpochMetrics) -> Result<()> {
        terminal::line(&metrics.summary(self.training.epochs, self.training.monitor));
        let steps = self.training.steps_per_epoch;
        self.with(|renderer| {
            renderer.end_split();
            let Some(test) = &metrics.test else { return };
            renderer.start_split("valid", steps);
            for value in losses(test) {
                renderer.update_valid(state(value));
            }
            renderer.update_split(steps);
            renderer.end_split();
        })
    }

    fn end(&mut self) {
        let _ = self.with(TrainingProgressLogger::end);
        // Its destructor closes the interface.
        self.renderer = None;
        terminal::release();
    }
}
