//! The one loop: apply, measure, let finished samples go, step.

use burn::tensor::{Int, Tensor, TensorData};

use crate::{
    FixedPointMap, Memory, Method, Outcome, Solution, SolverError, State, StoppingRule, Termination,
};

/// Iterates `method` on `map` from `guess` until every sample has ended.
///
/// Samples end one by one: at each check those that have converged or are no longer finite are
/// recorded and leave the batch, and map, state and memory go on with the rest.
///
/// # Errors
///
/// [`SolverError::ShapeChanged`] or [`SolverError::ComponentsChanged`] when the map's image does
/// not have the shape of its state. Not converging is an [`Outcome`].
pub fn solve<F: FixedPointMap, M: Method>(
    map: F,
    guess: State,
    method: &M,
    rule: &StoppingRule,
) -> Result<Solution, SolverError> {
    let samples = guess.batch();
    let carried = map.carried(guess.components().len());
    let mut memory = method.start(&carried);
    let mut map = map;
    let mut state = guess;
    let mut ledger = Ledger::new(samples);
    for step in 1..=rule.max_steps() {
        let image = map.apply(&state);
        if step == 1 {
            check_shapes(&state, &image)?;
        }
        if !rule.is_check(step) {
            state = method.step(state, image, &mut memory);
            continue;
        }
        let measured = measure(&state, &image, &carried);
        let remaining = ledger.record(&measured, &image, rule, step);
        if remaining.is_empty() {
            break;
        }
        state = method.step(state, image, &mut memory);
        if remaining.len() < measured.len() {
            let rows = indices(&remaining, &state);
            state = state.select(&rows);
            memory = memory.select(&rows);
            map = map.select(&rows);
        }
    }
    Ok(ledger.into_solution())
}

fn check_shapes(state: &State, image: &State) -> Result<(), SolverError> {
    let (expected, found) = (state.components().len(), image.components().len());
    if expected != found {
        return Err(SolverError::ComponentsChanged { expected, found });
    }
    for (component, (s, f)) in state.components().iter().zip(image.components()).enumerate() {
        let (expected, found) = (s.dims(), f.dims());
        if expected != found {
            return Err(SolverError::ShapeChanged { component, expected, found });
        }
    }
    Ok(())
}

/// `|f(s) - s|` and `|f(s)|` of every sample, in one read of the device.
fn measure(state: &State, image: &State, carried: &[usize]) -> Vec<(f64, f64)> {
    let squares = |t: Tensor<2>| t.square().sum_dim(1);
    let mut sums: Option<(Tensor<2>, Tensor<2>)> = None;
    for &k in carried {
        let (s, f) = (state.component(k).clone(), image.component(k).clone());
        let (d, n) = (squares(f.clone() - s), squares(f));
        sums = Some(match sums {
            None => (d, n),
            Some((d0, n0)) => (d0 + d, n0 + n),
        });
    }
    let (d, n) = sums.expect("a map carries at least one component");
    // The only device-to-host transfer of a solve.
    let values: Vec<f32> = Tensor::cat(vec![d, n], 1)
        .into_data()
        .try_to_vec()
        .expect("a float tensor of this crate is f32");
    values.chunks_exact(2).map(|v| (f64::from(v[0]).sqrt(), f64::from(v[1]).sqrt())).collect()
}

fn indices(rows: &[usize], like: &State) -> Tensor<1, Int> {
    let rows: Vec<i64> = rows.iter().map(|&r| r as i64).collect();
    let count = rows.len();
    Tensor::from_data(TensorData::new(rows, [count]), &like.component(0).device())
}

/// Who has ended and how, and the best image of those who have not.
struct Ledger {
    /// Sample at each row of the current batch.
    rows: Vec<usize>,
    outcomes: Vec<Outcome>,
    /// Samples that have ended, with their states.
    finished: Vec<(Vec<usize>, State)>,
    /// For each row, the image with the smallest residual so far.
    best: Option<(State, Vec<f64>)>,
    steps: usize,
    trace: Vec<(usize, Vec<f64>)>,
}

impl Ledger {
    fn new(samples: usize) -> Self {
        let pending =
            Outcome { termination: Termination::StepLimit, steps: 0, residual: f64::INFINITY };
        Self {
            rows: (0..samples).collect(),
            outcomes: vec![pending; samples],
            finished: Vec::new(),
            best: None,
            steps: 0,
            trace: Vec::new(),
        }
    }

    /// Records a check; returns the rows of the batch that go on.
    fn record(
        &mut self,
        measured: &[(f64, f64)],
        image: &State,
        rule: &StoppingRule,
        step: usize,
    ) -> Vec<usize> {
        self.steps = step;
        let residuals: Vec<f64> = measured.iter().map(|&(d, n)| relative(d, n)).collect();
        self.keep_best(image, &residuals);
        let mut remaining = Vec::new();
        let mut ended = Vec::new();
        for (row, &(difference, norm)) in measured.iter().enumerate() {
            let termination = if !(difference.is_finite() && norm.is_finite()) {
                Some(Termination::NotFinite)
            } else if rule.is_met(difference, norm) {
                Some(Termination::Converged)
            } else {
                (step == rule.max_steps()).then_some(Termination::StepLimit)
            };
            let outcome = &mut self.outcomes[self.rows[row]];
            outcome.steps = step;
            outcome.residual = residuals[row];
            if let Some(termination) = termination {
                outcome.termination = termination;
                if termination == Termination::StepLimit {
                    outcome.residual = self.best.as_ref().map_or(residuals[row], |b| b.1[row]);
                }
                ended.push(row);
            } else {
                remaining.push(row);
            }
        }
        if rule.traces() {
            self.trace.push((step, self.outcomes.iter().map(|o| o.residual).collect()));
        }
        self.retire(&ended, &remaining);
        remaining
    }

    /// Keeps, row by row, the image with the smaller residual. A residual that is not a number
    /// never wins.
    fn keep_best(&mut self, image: &State, residuals: &[f64]) {
        let Some((best, smallest)) = &mut self.best else {
            self.best = Some((image.clone(), residuals.to_vec()));
            return;
        };
        let improved: Vec<bool> = residuals
            .iter()
            .zip(smallest.iter())
            .map(|(new, old)| new <= old || old.is_nan())
            .collect();
        if improved.iter().all(|&i| i) {
            *best = image.clone();
        } else {
            let mask: Vec<f32> = improved.iter().map(|&i| f32::from(u8::from(i))).collect();
            let data = TensorData::new(mask, [improved.len(), 1]);
            let mask = Tensor::<2>::from_data(data, &image.component(0).device()).greater_elem(0.5);
            *best = best.clone().zip(image.clone(), |old, new| {
                let mask = mask.clone().expand(old.dims());
                old.mask_where(mask, new)
            });
        }
        for ((old, &new), improved) in smallest.iter_mut().zip(residuals).zip(improved) {
            if improved {
                *old = new;
            }
        }
    }

    /// Moves the rows `ended` out of the batch.
    fn retire(&mut self, ended: &[usize], remaining: &[usize]) {
        if ended.is_empty() {
            return;
        }
        let (best, smallest) = self.best.take().expect("a check keeps the best first");
        let samples = ended.iter().map(|&r| self.rows[r]).collect();
        if remaining.is_empty() {
            self.finished.push((samples, best));
        } else {
            self.finished.push((samples, best.select(&indices(ended, &best))));
            let smallest = remaining.iter().map(|&r| smallest[r]).collect();
            self.best = Some((best.select(&indices(remaining, &best)), smallest));
        }
        self.rows = remaining.iter().map(|&r| self.rows[r]).collect();
    }

    fn into_solution(mut self) -> Solution {
        let state = if self.finished.len() == 1 {
            self.finished.swap_remove(0).1
        } else {
            let order: Vec<usize> =
                self.finished.iter().flat_map(|(rows, _)| rows.clone()).collect();
            let mut position = vec![0; order.len()];
            for (place, &sample) in order.iter().enumerate() {
                position[sample] = place;
            }
            let state =
                State::concatenate(self.finished.into_iter().map(|(_, state)| state).collect());
            let rows = indices(&position, &state);
            state.select(&rows)
        };
        Solution { state, outcomes: self.outcomes, steps: self.steps, trace: self.trace }
    }
}

/// `difference / norm`, 0 where both are 0.
fn relative(difference: f64, norm: f64) -> f64 {
    if difference == 0.0 && norm == 0.0 { 0.0 } else { difference / norm }
}
