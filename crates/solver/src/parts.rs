//! A batch in parts that are solved side by side.

use rayon::prelude::*;

use crate::{
    FixedPointMap, Method, Solution, SolverError, State, StoppingRule, solve, transfer::upload_rows,
};

/// As [`solve`](crate::solve()), with the batch cut into parts that are solved side by side on the
/// threads of the current Rayon pool: as few parts of `size` samples at most as there can be, all of the
/// same size but for one sample, in the order of the batch.
///
/// On a CPU this is the faster way for batches of more than a few dozen samples: steps that would
/// each wake all threads for a moment run on one thread each, on states that fit into its cache. Elsewhere
/// it only makes more and smaller kernels, and one read of the device a check for every part.
///
/// Where the cuts are does not depend on the number of threads, so neither does the result, if the
/// map's kernels do not either. Every part is a batch of its own in the sense of
/// [Independence of samples](crate#independence-of-samples).
///
/// [`Solution::steps`] are those of the part that took the most. A batch of no more than `size`, and
/// any with a `size` of 0, is solved whole. `map` and `guess` have the same samples: rows of a map beyond
/// those of the guess would be left out unseen.
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
    let count = samples.div_ceil(size);
    let part = |i: usize| {
        let rows: Vec<usize> = (i * samples / count..(i + 1) * samples / count).collect();
        let rows = upload_rows(&rows, &device);
        solve(map.select(&rows), guess.select(&rows), method, rule)
    };
    let parts: Result<Vec<Solution>, SolverError> = (0..count).into_par_iter().map(part).collect();
    Ok(join(parts?))
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
