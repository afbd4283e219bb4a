//! All-reduce between the threads of one step's workers.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use hvae_model::{AllReduce, ModelError, Squares};

/// What the workers of one step share: sums over all of them, each of which waits for all.
#[derive(Debug)]
pub(super) struct Communicator {
    ranks: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Sums finished.
    round: usize,
    /// By rank, so that the sum does not depend on which worker comes first.
    given: Vec<Option<Squares>>,
    sum: Squares,
    aborted: bool,
}

impl Communicator {
    pub(super) fn new(ranks: usize) -> Self {
        let state = State { given: vec![None; ranks], ..State::default() };
        Self { ranks, state: Mutex::new(state), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One worker's handle to a [`Communicator`].
#[derive(Debug, Clone)]
pub(super) struct Rank {
    pub(super) communicator: Arc<Communicator>,
    pub(super) index: usize,
}

impl AllReduce for Rank {
    fn sum(&self, part: Squares) -> Result<Squares, ModelError> {
        let Communicator { ranks, changed, .. } = &*self.communicator;
        let mut state = self.communicator.state();
        state.given[self.index] = Some(part);
        if state.given.iter().flatten().count() == *ranks {
            let add =
                |a: Squares, b: &Squares| Squares { sum: a.sum + b.sum, count: a.count + b.count };
            state.sum = state.given.iter().flatten().fold(Squares::default(), add);
            state.given.fill(None);
            state.round += 1;
            changed.notify_all();
            return Ok(state.sum);
        }
        let round = state.round;
        while state.round == round && !state.aborted {
            state = changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.round == round {
            return Err(ModelError::Worker("another device has failed".to_owned()));
        }
        Ok(state.sum)
    }
}

/// Wakes the other workers with an error when a worker ends early, by an error or a panic.
pub(super) struct AbortGuard<'a>(&'a Rank);

impl<'a> AbortGuard<'a> {
    pub(super) fn new(rank: &'a Rank) -> Self {
        Self(rank)
    }

    /// The worker has succeeded.
    pub(super) fn disarm(self) {
        std::mem::forget(self);
    }
}

impl Drop for AbortGuard<'_> {
    fn drop(&mut self) {
        self.0.communicator.state().aborted = true;
        self.0.communicator.changed.notify_all();
    }
}
