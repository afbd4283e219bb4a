//! A batch in parts that are solved in parallel.

use hvae_device::upload_rows;
use rayon::prelude::*;

use crate::{
    error::SolverError, map::FixedPointMap, method::Method, solution::Solution, solve::solve,
    state::State, stopping::StoppingRule,
};

/// [`solve`](crate::solve()) with the batch cut into parts that are solved in parallel on the
/// current Rayon pool: the fewest parts of at most `size` samples, equal in size up to one sample,
/// in the order of the batch.
///
/// On a CPU this is faster for batches of more than a few dozen samples: instead of waking all
/// threads for every small kernel, each part runs on one thread with states that fit into its
/// cache. On other devices it only makes kernels smaller and adds a read of the device per part and
/// check.
///
/// The cuts do not depend on the number of threads, so neither does the result, if the kernels of
/// the map do not either. Every part is a batch of its own in the sense of [Independence of
/// samples](crate#independence-of-samples).
///
/// [`Solution::iterations`] is the largest over the parts. A batch of at most `size` samples is
/// solved as one, and so is every batch if `size` is 0. `map` and `guess` must have the same
/// samples: further rows of the map are ignored.
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
    let iterations = parts.iter().map(|p| p.iterations).max().unwrap_or(0);
    let longest = parts.iter().map(|p| &p.trace).max_by_key(|trace| trace.len());
    let checks: Vec<usize> = longest.into_iter().flatten().map(|&(count, _)| count).collect();
    // A part that has ended keeps the residuals of its last check.
    let at = |check: usize| {
        parts.iter().flat_map(move |p| p.trace[check.min(p.trace.len() - 1)].1.clone())
    };
    let trace = checks.iter().enumerate().map(|(i, &count)| (count, at(i).collect())).collect();
    let outcomes = parts.iter().flat_map(|p| p.outcomes.clone()).collect();
    let states: Vec<State> = parts.into_iter().map(|p| p.state).collect();
    Solution { state: State::concatenate(&states), outcomes, iterations, trace }
}
