//! The loop: apply the map, check convergence, compute the next state.

use crate::compacting::Compacting;
use crate::convergence::{Continue, Convergence};
use crate::error::SolverError;
use crate::map::FixedPointMap;
use crate::masked::Masked;
use crate::method::{Memory, Method};
use crate::residual::Measure;
use crate::solution::Solution;
use crate::state::State;
use crate::stopping::StoppingRule;

/// Iterates `method` on `map` from `guess` until every sample has ended.
///
/// Samples end one by one: at each check, those that have converged or are not finite are recorded
/// and removed from the batch, and map, state and memory continue with the rest. With
/// [`StoppingRule::with_masking`] they stay in the batch, masked. An empty batch is returned as it
/// is, without calling the map.
/// No sample affects another, but see [Independence of samples](crate#independence-of-samples) for
/// maps whose kernels depend on the number of rows.
///
/// Errors are those of [`FixedPointMap::check`], the same
/// for [`FixedPointMap::measured`], and images that do not fit their state. Not converging is not
/// an error but an [`Outcome`](crate::Outcome).
pub fn solve<F: FixedPointMap, M: Method>(
    map: F,
    guess: State,
    method: &M,
    rule: &StoppingRule,
) -> Result<Solution, SolverError> {
    let measure = Measure::of(&map, guess.components().len())?;
    let samples = guess.batch();
    if samples == 0 {
        let (outcomes, trace) = (Vec::new(), Vec::new());
        return Ok(Solution { state: guess, outcomes, iterations: 0, trace });
    }
    if rule.masking {
        iterate(map, guess, method, rule, &measure, Masked::new(samples))
    } else {
        iterate(map, guess, method, rule, &measure, Compacting::new(samples))
    }
}

fn iterate<F: FixedPointMap, M: Method>(
    mut map: F,
    guess: State,
    method: &M,
    rule: &StoppingRule,
    measure: &Measure,
    mut convergence: impl Convergence,
) -> Result<Solution, SolverError> {
    let mut memory = method.start(&measure.components);
    let mut state = guess;
    for iteration in 0..rule.max_iterations() {
        let mut image = map.apply(&state, iteration);
        check_image(&state, &image)?;
        let iterations = iteration + 1;
        if rule.is_check(iterations) {
            let squares = measure.squares(&state, &image);
            match convergence.check(&image, squares, rule, iterations) {
                Continue::None => break,
                Continue::All => {}
                Continue::Rows(rows, remaining) => {
                    image = remaining;
                    state = if method.reads_state() { state.select(&rows) } else { image.clone() };
                    memory = memory.select(&rows);
                    map = map.select(&rows);
                }
            }
        }
        state = method.advance(state, image, &mut memory);
    }
    Ok(convergence.into_solution())
}

/// Checks that `image` has the shapes and data types of `state`.
fn check_image(state: &State, image: &State) -> Result<(), SolverError> {
    let (expected, found) = (state.components().len(), image.components().len());
    if expected != found {
        return Err(SolverError::ComponentsChanged { expected, found });
    }
    for (component, (s, f)) in state.components().iter().zip(image.components()).enumerate() {
        let (expected, found) = (s.dims(), f.dims());
        if expected != found {
            return Err(SolverError::ShapeChanged { component, expected, found });
        }
        let (expected, found) = (s.dtype(), f.dtype());
        if expected != found {
            return Err(SolverError::TypeChanged { component, expected, found });
        }
    }
    Ok(())
}
