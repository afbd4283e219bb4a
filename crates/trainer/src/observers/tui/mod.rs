//! burn-train's terminal interface, driven by the training loop.

mod keyboard;

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

use crate::observers::watch::{Begin, StepReport, Watch};
use crate::run::metrics::EpochMetrics;
use hvae_runtime::{interrupt, terminal};

use keyboard::Keyboard;

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Ui {
    /// A bar on a terminal, a line now and then elsewhere.
    Bar,
    /// A line per epoch, and now and then one within it.
    Lines,
    /// Plots, numbers and progress on the whole terminal; `q` and then `s` stops.
    Tui,
}

/// Names of the metrics, and whether larger is better.
const METRICS: [(&str, bool); 7] = [
    ("Reconstruction", false),
    ("KL", false),
    ("ELBO", true),
    ("Gradient norm", false),
    ("Learning rate", false),
    ("Sweeps", false),
    ("Residual", false),
];

/// The whole terminal, while training lasts.
pub struct Tui {
    renderer: Option<TuiMetricsRendererWrapper>,
    /// Declared after the renderer: the keyboard is given back when that is gone.
    keyboard: Option<Keyboard>,
    interrupter: Interrupter,
    epochs: usize,
    watched: &'static str,
    steps: usize,
}

impl std::fmt::Debug for Tui {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tui").field("open", &self.renderer.is_some()).finish_non_exhaustive()
    }
}

impl Tui {
    /// The interface; it opens when training begins.
    ///
    /// # Errors
    ///
    /// When stdout is not a terminal.
    pub fn new() -> Result<Self> {
        let terminal = std::io::IsTerminal::is_terminal(&std::io::stdout());
        ensure!(terminal, "--ui tui needs a terminal on stdout; use --ui lines");
        let interrupter = Interrupter::new();
        Ok(Self { renderer: None, keyboard: None, interrupter, epochs: 0, watched: "", steps: 0 })
    }

    /// Does `work` with the renderer, which ends a program by a panic when the user asks it to.
    fn with(&mut self, work: impl FnOnce(&mut TuiMetricsRendererWrapper)) -> Result<()> {
        let Some(renderer) = &mut self.renderer else { return Ok(()) };
        let outcome = catch_unwind(AssertUnwindSafe(|| work(renderer)));
        if outcome.is_err() {
            // Its destructor would wait for a thread that is gone.
            std::mem::forget(self.renderer.take());
            self.keyboard = None;
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

fn state(name: &str, value: f64, shown: String) -> MetricState {
    let entry = SerializedEntry::new(shown, value.to_string());
    let entry = MetricEntry::new(MetricId::new(Arc::new(name.to_owned())), entry);
    MetricState::Numeric(entry, Some(NumericEntry::Value(value)))
}

impl Watch for Tui {
    fn begin(&mut self, begin: &Begin) -> Result<()> {
        (self.epochs, self.steps) = (begin.epochs, begin.steps_per_epoch);
        self.watched = begin.watched;
        terminal::hold();
        let keyboard = Keyboard::remember();
        let interrupter = self.interrupter.clone();
        let open = || TuiMetricsRendererWrapper::new(interrupter, None);
        let opened = catch_unwind(AssertUnwindSafe(open));
        self.renderer = opened.ok();
        if self.renderer.is_none() {
            terminal::release();
            return Err(anyhow!("the terminal interface cannot be opened; use --ui lines"));
        }
        if let Some(keyboard) = &keyboard {
            keyboard.let_interrupts_through();
        }
        self.keyboard = keyboard;
        let (epochs, images) = (begin.epochs, begin.images);
        self.with(|renderer| {
            for (name, higher_is_better) in METRICS {
                let attributes = NumericAttributes { unit: None, higher_is_better };
                renderer.register_metric(MetricDefinition {
                    metric_id: MetricId::new(Arc::new(name.to_owned())),
                    name: Arc::new(name.to_owned()),
                    description: None,
                    attributes: MetricAttributes::Numeric(attributes),
                });
            }
            renderer.start(epochs, 1, Some(images), Some("hvae"));
        })
    }

    fn begin_epoch(&mut self, epoch: usize, done: usize) {
        let steps = self.steps;
        // The next step reports what went wrong.
        let _ = self.with(|renderer| {
            renderer.update_epoch(epoch);
            renderer.start_split("train", steps);
            renderer.update_split(done);
        });
    }

    fn step(&mut self, report: &StepReport<'_>) -> Result<()> {
        let losses = report.sums.losses();
        let phases = report.sums.phases();
        let mut values = vec![
            ("Reconstruction", losses.reconstruction_error, 2),
            ("KL", losses.divergence, 2),
            ("ELBO", losses.elbo, 1),
            ("Gradient norm", report.gradient_norm, 2),
            ("Learning rate", report.learning_rate, 6),
        ];
        if let Some(free) = phases.decoder_free {
            values.push(("Sweeps", free.sweeps, 2));
            values.extend(free.residual.map(|residual| ("Residual", residual, 7)));
        }
        let done = report.step_in_epoch;
        self.with(|renderer| {
            for (name, value, digits) in values {
                renderer.update_train(state(name, value, format!("{value:.digits$}")));
            }
            renderer.update_split(done);
        })
    }

    fn epoch(&mut self, metrics: &EpochMetrics) -> Result<()> {
        terminal::line(&metrics.summary(self.epochs, self.watched));
        let test = metrics.test;
        let steps = self.steps;
        self.with(|renderer| {
            renderer.end_split();
            let Some(test) = test else { return };
            renderer.start_split("valid", steps);
            for (name, value) in [
                ("Reconstruction", test.reconstruction_error),
                ("KL", test.divergence),
                ("ELBO", test.elbo),
            ] {
                renderer.update_valid(state(name, value, format!("{value:.2}")));
            }
            renderer.update_split(steps);
            renderer.end_split();
        })
    }

    fn end(&mut self) {
        if self.renderer.is_some() {
            let _ = self.with(TrainingProgressLogger::end);
        }
        // Its destructor closes the terminal interface.
        self.renderer = None;
        self.keyboard = None;
        terminal::release();
    }
}
