//! Which trial is trained next, and how far: successive halving without waiting for whole rungs
//! (Li et al. 2020, arXiv 1810.05934). Trials that go on are continued, not started again.

use crate::search::file::Budget;
use crate::search::objective::Objectives;
use crate::search::trial::{State, Trial, ranked};

/// What to train next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// A new trial, for this many epochs.
    New(usize),
    /// The trial of this number, up to this many epochs.
    Continue(usize, usize),
    /// Nothing: what is left depends on trials that run elsewhere.
    Nothing,
}

/// The next job. The first `known` trials go on whatever their values, so that others are compared
/// with them at equal epochs; `more` is whether there is another point to try.
pub(crate) fn next(
    trials: &[Trial],
    budget: &Budget,
    objectives: &Objectives,
    known: usize,
    more: bool,
) -> Next {
    let levels = budget.levels();
    let next_level = |trial: &Trial| levels.get(trial.level(&levels)).copied();
    let waiting = trials.iter().take(known).find(|trial| trial.state == State::Paused);
    if let Some((trial, until)) = waiting.and_then(|trial| Some((trial, next_level(trial)?))) {
        return Next::Continue(trial.number, until);
    }
    let more = more && trials.len() < budget.trials;
    let is_last = !more && trials.iter().all(|trial| trial.state != State::Running);
    for rung in (1..levels.len()).rev() {
        let reached: Vec<Trial> =
            trials.iter().filter(|trial| trial.level(&levels) >= rung).cloned().collect();
        // At the end at least one goes on.
        let quota = (reached.len() / budget.eta).max(usize::from(is_last));
        let best = ranked(&reached, objectives, &levels[..rung], 1);
        let waits = |trial: &&&Trial| trial.state == State::Paused && trial.level(&levels) == rung;
        if let Some(trial) = best.iter().take(quota).find(waits) {
            return Next::Continue(trial.number, levels[rung]);
        }
    }
    if more { Next::New(levels[0]) } else { Next::Nothing }
}

/// Epochs of a whole study with this budget and as many known points, at least.
pub(crate) fn planned_epochs(budget: &Budget, known: usize) -> usize {
    let first = budget.levels()[0];
    let (mut sum, mut count, mut before) = (known * (budget.epochs - first), budget.trials, 0);
    for level in budget.levels() {
        sum += count * (level - before);
        (count, before) = ((count / budget.eta).max(1), level);
    }
    sum
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use std::collections::BTreeMap;

    use super::Next::{Continue, New};
    use super::*;
    use crate::search::trial::Measured;

    fn budget() -> Budget {
        Budget { trials: 9, epochs: 9, rungs: vec![1, 3], eta: 3 }
    }

    /// Plays a study with these values, which do not depend on the epoch: the order of its jobs.
    fn play(values: &[f64], failed: &[usize], known: usize) -> (Vec<Next>, Vec<Trial>) {
        let objectives = Objectives::new(&BTreeMap::new()).unwrap();
        let (mut trials, mut jobs) = (Vec::new(), Vec::new());
        loop {
            let job = next(&trials, &budget(), &objectives, known, true);
            let (number, until) = match job {
                New(until) => (trials.len() + 1, until),
                Continue(number, until) => (number, until),
                Next::Nothing => return (jobs, trials),
            };
            jobs.push(job);
            if number > trials.len() {
                trials.push(Trial::new(number, BTreeMap::new(), 1, until));
            }
            let trial: &mut Trial = &mut trials[number - 1];
            let value = values[number - 1];
            trial.epochs =
                (1..=until).map(|epoch| Measured { epoch, values: Some(vec![value]) }).collect();
            trial.state = match (failed.contains(&number), until) {
                (true, _) => State::Failed,
                (_, 9) => State::Complete,
                _ => State::Paused,
            };
        }
    }

    #[test]
    fn one_in_eta_goes_on_at_each_rung_and_no_epoch_is_trained_twice() {
        let values = [1.0, 9.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
        let (jobs, trials) = play(&values, &[], 0);
        assert_eq!(jobs[..4], [New(1), New(1), New(1), Continue(2, 3)]);
        let ends: Vec<usize> = trials.iter().map(Trial::done).collect();
        // Trials 2, 7 or later ones, and 9 were among the best thirds when they were measured.
        assert_eq!(ends.iter().filter(|end| **end == 9).count(), 1, "{ends:?}");
        assert_eq!(ends[1], 9, "the best");
        let trained: usize = jobs.iter().filter(|job| matches!(job, New(_))).count();
        assert_eq!((trained, trials.len()), (9, 9));
        assert_eq!(planned_epochs(&budget(), 0), 9 + 3 * 2 + 6);
    }

    #[test]
    fn failed_trials_go_nowhere_and_one_is_completed_in_the_end() {
        let values = [1.0, 9.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
        let (_, trials) = play(&values, &[2, 4, 5, 6, 7, 8, 9], 0);
        assert_eq!(trials[1].done(), 1);
        assert_eq!(trials[2].done(), 9, "the best of two");
        assert_eq!(trials[0].done(), 1);
    }

    #[test]
    fn known_points_are_trained_to_the_end() {
        let values = [1.0, 9.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];
        let (jobs, trials) = play(&values, &[], 1);
        assert_eq!(jobs[..3], [New(1), Continue(1, 3), Continue(1, 9)]);
        assert_eq!((trials[0].done(), trials[1].done(), trials.len()), (9, 9, 9));
    }
}
