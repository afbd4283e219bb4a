//! A batch in parts that are solved side by side.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::{
    FixedPointMap, Method, Solution, SolverError, State, StoppingRule, solve, transfer::upload_rows,
};

/// As [`solve`](crate::solve()), with the batch cut into parts of `size` samples, in their order, that
/// are solved side by side on the threads of the current Rayon pool.
///
/// On a CPU this is the faster way for batches of more than a few dozen samples: steps that would
/// each wake all threads for a moment run on one thread each, from beginning to end, on states that
/// fit into its cache. Where the cuts are does not depend on the number of threads, so neither does
/// the result. Every part is a batch of its own in the sense of
/// [Independence of samples](crate#independence-of-samples).
///
/// [`Solution::steps`] are those of the part that took the most. A batch of no more than `size`, and
/// any with a `size` of 0, is solved whole.
///
/// # Errors
///
/// As [`solve`](crate::solve()).
pub fn solve_in_parts<F, M>(
    map: F,
    guess: State,
    method: &M,
    rule: &StoppingRule,
    size: usize,
) -> Result<Solution, SolverError>
where
    F: FixedPointMap + Send + Sync,
    M: Method + Sync,
{
    let samples = guess.batch();
    if size == 0 || samples <= size {
        return solve(map, guess, method, rule);
    }
    let device = guess.component(0).device();
    let starts: Vec<usize> = (0..samples).step_by(size).collect();
    let part = |&start: &usize| {
        let rows: Vec<usize> = (start..samples.min(start + size)).collect();
        let rows = upload_rows(&rows, &device);
        solve(map.select(&rows), guess.select(&rows), method, rule)
    };
    Ok(join(side_by_side(&starts, part)?))
}

/// `solve` of every start. With at least as many of them as threads, each runs on one thread alone: the
/// products of a part would otherwise be shared out among threads that have parts of their own.
fn side_by_side(
    starts: &[usize],
    solve: impl Fn(&usize) -> Result<Solution, SolverError> + Send + Sync,
) -> Result<Vec<Solution>, SolverError> {
    let threads = rayon::current_num_threads();
    if threads == 1 || starts.len() < threads {
        return starts.par_iter().map(solve).collect();
    }
    static LONE: OnceLock<Vec<ThreadPool>> = OnceLock::new();
    let lone = LONE.get_or_init(|| {
        let pool = |_| ThreadPoolBuilder::new().num_threads(1).build();
        (0..threads).map_while(|i| pool(i).ok()).collect()
    });
    let lone = &lone[..threads.min(lone.len())];
    if lone.is_empty() {
        return starts.par_iter().map(solve).collect();
    }
    let next = AtomicUsize::new(0);
    let work = |_| {
        let mut done = Vec::new();
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            let Some(start) = starts.get(i) else { return done };
            done.push((i, solve(start)));
        }
    };
    let mut parts: Vec<_> =
        lone.par_iter().flat_map_iter(|pool| pool.install(|| work(()))).collect();
    parts.sort_by_key(|(i, _)| *i);
    parts.into_iter().map(|(_, solution)| solution).collect()
}

/// The solution of a batch from those of its parts.
fn join(parts: Vec<Solution>) -> Solution {
    let steps = parts.iter().map(|p| p.steps).max().unwrap_or(0);
    let longest = parts.iter().map(|p| &p.trace).max_by_key(|trace| trace.len());
    let checks: Vec<usize> = longest.into_iter().flatten().map(|&(step, _)| step).collect();
    // A part that has ended stays as it was at its last check.
    let at = |check: usize| {
        parts.iter().flat_map(move |p| p.trace[check.min(p.trace.len() - 1)].1.clone())
    };
    let trace = checks.iter().enumerate().map(|(i, &step)| (step, at(i).collect())).collect();
    let mut outcomes = Vec::new();
    let mut states = Vec::with_capacity(parts.len());
    for part in parts {
        outcomes.extend(part.outcomes);
        states.push(part.state);
    }
    Solution { state: State::concatenate(states), outcomes, steps, trace }
}
