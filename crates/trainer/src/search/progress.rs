//! Progress of a study, readable from afar.

use anyhow::Result;
use hvae_runtime::terminal::Progress;

use crate::observers::{Observer, StepEvent, TrainingStart};
use crate::report::{duration, number};
use crate::run::EpochMetrics;
use crate::search::halving::planned_epochs;
use crate::search::space::Space;
use crate::search::trial::{State, Trial, ranked};

/// The best trial so far: one that no other got further than, or that is better.
pub(crate) fn best<'a>(space: &Space, trials: &'a [Trial]) -> Option<&'a Trial> {
    ranked(trials, &space.objectives, &space.file.budget.levels(), 1).first().copied()
}

/// Values of the objectives in words.
pub(crate) fn shown(space: &Space, values: &[f64]) -> String {
    let one = |(name, value): (&str, &f64)| format!("{name} {}", number(*value));
    space.objectives.names().zip(values).map(one).collect::<Vec<_>>().join(", ")
}

/// A number of epochs in words.
pub(crate) fn epochs(count: usize) -> String {
    if count == 1 { "1 epoch".to_owned() } else { format!("{count} epochs") }
}

/// The best so far, and the time that is left: epochs that are planned, at the speed so far.
pub(crate) fn outlook(space: &Space, trials: &[Trial]) -> String {
    let found = best(space, trials).and_then(|trial| Some((trial, trial.values()?)));
    let best = found.map_or("no result yet".to_owned(), |(trial, values)| {
        let (values, done) = (shown(space, values), epochs(trial.done()));
        format!("best {values} (trial {}, {done})", trial.number)
    });
    let done: usize = trials.iter().map(Trial::done).sum();
    let seconds: f64 = trials.iter().map(|trial| trial.seconds).sum();
    let running = trials.iter().filter(|trial| trial.state == State::Running).count().max(1);
    let left = planned_epochs(&space.file.budget, space.known.len()).saturating_sub(done) as f64;
    let left = left * seconds / done.max(1) as f64 / running as f64;
    if done == 0 { best } else { format!("{best}, {} left", duration(left)) }
}

/// A bar over the steps of each epoch of a trial.
pub(crate) struct TrialProgress {
    /// Such as `trial 3/60`.
    name: String,
    outlook: String,
    training: TrainingStart,
    progress: Option<Progress>,
}

impl TrialProgress {
    pub(crate) fn new(name: String, outlook: String) -> Self {
        Self { name, outlook, training: TrainingStart::default(), progress: None }
    }
}

impl Observer for TrialProgress {
    fn start(&mut self, start: &TrainingStart) -> Result<()> {
        self.training = *start;
        Ok(())
    }

    fn start_epoch(&mut self, epoch: usize, done: usize) {
        let name = format!("{}, epoch {}/{}", self.name, epoch + 1, self.training.epochs);
        self.progress = Some(Progress::start(&name, self.training.steps_per_epoch, done));
    }

    fn step(&mut self, event: &StepEvent<'_>) -> Result<()> {
        let outlook = &self.outlook;
        if let Some(progress) = &mut self.progress {
            progress.update(event.step_in_epoch, || outlook.clone());
        }
        Ok(())
    }

    fn epoch(&mut self, _: &EpochMetrics) -> Result<()> {
        self.progress = None;
        Ok(())
    }

    fn end(&mut self) {
        self.progress = None;
    }
}
