//! A trial: a line of `trials.jsonl`.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::run::EpochMetrics;
use crate::search::file::Settings;
use crate::search::objective::Objectives;

/// Whether a trial is trained, has been, or will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// It is trained now, or was when its process ended: then it is taken up again.
    Running,
    /// It waits at a rung: so far it is not among those that go on.
    Paused,
    /// It had its whole budget.
    Complete,
    /// It ended with an error, and is not tried again.
    Failed,
}

/// A trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Trial {
    /// Counted from 1.
    pub(crate) number: usize,
    pub(crate) state: State,
    /// The values of the parameters that apply.
    pub(crate) parameters: Settings,
    pub(crate) seed: u64,
    /// The folder of its run, seen from the study.
    pub(crate) run: String,
    /// Epochs after which it ends or pauses.
    pub(crate) until: usize,
    /// Epochs that were finished.
    pub(crate) epochs: Vec<Measured>,
    /// Seconds that they took.
    pub(crate) seconds: f64,
    /// How many processes have ended while they trained it, since its last epoch.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) lost: usize,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

/// An epoch of a trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Measured {
    pub(crate) epoch: usize,
    /// The values of the objectives, if all were measured and are numbers.
    pub(crate) values: Option<Vec<f64>>,
}

impl Trial {
    /// A trial that begins.
    pub(crate) fn new(number: usize, parameters: Settings, seed: u64, until: usize) -> Self {
        let (state, run) = (State::Running, format!("runs/trial-{number:04}"));
        let (epochs, seconds) = (Vec::new(), 0.0);
        let (lost, reason) = (0, None);
        Self { number, state, parameters, seed, run, until, epochs, seconds, lost, reason }
    }

    /// Epochs done.
    pub(crate) fn done(&self) -> usize {
        self.epochs.last().map_or(0, |epoch| epoch.epoch)
    }

    /// The values of the objectives after `epoch` epochs, if it got that far: of a trial that ended
    /// before, of patience, the last.
    pub(crate) fn values_at(&self, epoch: usize) -> Option<&[f64]> {
        if self.state == State::Failed || (self.done() < epoch && self.state != State::Complete) {
            return None;
        }
        let last = self.epochs.iter().rev().find(|measured| measured.epoch <= epoch)?;
        last.values.as_deref()
    }

    /// The values of the objectives after its last epoch.
    pub(crate) fn values(&self) -> Option<&[f64]> {
        self.values_at(self.done()).filter(|_| !self.epochs.is_empty())
    }

    /// How many of these numbers of epochs it has finished, with values.
    pub(crate) fn level(&self, levels: &[usize]) -> usize {
        levels.iter().take_while(|level| self.values_at(**level).is_some()).count()
    }

    /// Ends it for good.
    pub(crate) fn fail(&mut self, reason: &str) {
        self.state = State::Failed;
        self.reason =
            Some(reason.lines().collect::<Vec<_>>().join(" ").chars().take(400).collect());
    }

    /// Takes over what its run has measured, for a model with this many `parameters`.
    pub(crate) fn measure(
        &mut self,
        epochs: &[EpochMetrics],
        objectives: &Objectives,
        parameters: f64,
    ) {
        self.seconds = 0.0;
        self.epochs.clear();
        for epoch in epochs {
            self.seconds += epoch.seconds;
            let values = objectives.values(epoch, parameters, self.seconds);
            self.epochs.push(Measured { epoch: epoch.epoch, values });
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// Trials from the best: those that got further are before others, as far as at least `enough` got
/// as far. Trials without a value are left out.
pub(crate) fn ranked<'a>(
    trials: &'a [Trial],
    objectives: &Objectives,
    levels: &[usize],
    enough: usize,
) -> Vec<&'a Trial> {
    let count = |level: usize| trials.iter().filter(|t| t.level(levels) >= level).count();
    let top = (1..=levels.len()).rev().find(|&level| count(level) >= enough).unwrap_or(1);
    let mut found = Vec::new();
    for level in (1..=top).rev() {
        let here = |trial: &&Trial| trial.level(levels).min(top) == level;
        let group: Vec<&Trial> = trials.iter().filter(here).collect();
        let values: Option<Vec<&[f64]>> =
            group.iter().map(|trial| trial.values_at(levels[level - 1])).collect();
        let order = objectives.order(&values.unwrap_or_default());
        found.extend(order.into_iter().map(|at| group[at]));
    }
    found
}

/// The trials of a journal, one a line, with their numbers from 1.
pub(crate) fn parse(text: &str) -> Result<Vec<Trial>> {
    let trials = text.lines().zip(1..).map(|(line, number)| {
        let trial: Trial =
            serde_json::from_str(line).with_context(|| format!("line {number} is corrupt"))?;
        anyhow::ensure!(trial.number == number, "line {number} is trial {}", trial.number);
        Ok(trial)
    });
    trials.collect()
}

/// The journal of these trials.
pub(crate) fn to_text(trials: &[Trial]) -> Result<String> {
    let line = |trial: &Trial| Ok(serde_json::to_string(trial).context("writing trials")? + "\n");
    trials.iter().map(line).collect()
}
