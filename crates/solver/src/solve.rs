//! The one loop: apply, measure, let finished samples go, step.

use burn::tensor::{Int, Tensor};

use crate::{
    FixedPointMap, Memory, Method, Outcome, Solution, SolverError, State, StoppingRule,
    Termination, transfer, whole,
};

/// Iterates `method` on `map` from `guess` until every sample has ended.
///
/// Samples end one by one: at each check those that have converged or are no longer finite are
/// recorded and leave the batch, and map, state and memory go on with the rest. A batch without
/// samples is handed back as it is; the map is not called.
///
/// The solver computes row by row, so that no value of one sample enters another. A map whose
/// kernels depend on the number of rows may round the samples that stay a little differently once
/// others have left, see [Independence of samples](crate#independence-of-samples).
///
/// # Errors
///
/// - What [`FixedPointMap::check`] finds, such as [`SolverError::NoSuchComponent`] or
///   [`SolverError::RepeatedComponent`] in the blocks of a sweep, and the same in
///   [`FixedPointMap::carried`]; [`SolverError::NothingCarried`] when that is empty.
/// - [`SolverError::ComponentsChanged`], [`SolverError::ShapeChanged`] or
///   [`SolverError::TypeChanged`] when the map's image is not like its state.
///
/// Not converging is an [`Outcome`].
pub fn solve<F: FixedPointMap, M: Method>(
    map: F,
    guess: State,
    method: &M,
    rule: &StoppingRule,
) -> Result<Solution, SolverError> {
    crate::map::check_components(&map, guess.components().len())?;
    let samples = guess.batch();
    if samples == 0 {
        return Ok(Solution { state: guess, outcomes: Vec::new(), steps: 0, trace: Vec::new() });
    }
    let carried = map.carried(guess.components().len());
    if rule.keeps_whole() {
        return whole::solve(&map, guess, method, rule, &carried);
    }
    let mut memory = method.start(&carried);
    let mut map = map;
    let mut state = guess;
    let mut ledger = Ledger::new(samples);
    for step in 1..=rule.max_steps() {
        let mut image = map.apply(&state);
        check_shapes(&state, &image)?;
        if rule.is_check(step) {
            let measured = measure(&state, &image, &carried);
            let remaining = ledger.record(&measured, &image, rule, step);
            if remaining.is_empty() {
                break;
            }
            if remaining.len() < measured.len() {
                // Before the step, so that it is taken by those alone who go on.
                let rows = indices(&remaining, &image);
                image = image.select(&rows);
                ledger.part(&remaining, &rows, &image);
                state = if method.reads_state() { state.select(&rows) } else { image.clone() };
                memory = memory.select(&rows);
                map = map.select(&rows);
            }
        }
        state = method.step(state, image, &mut memory);
    }
    Ok(ledger.into_solution())
}

pub(crate) fn check_shapes(state: &State, image: &State) -> Result<(), SolverError> {
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

/// What a check reads of one sample.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    /// `|f(s) - s|` over the carried components.
    difference: f64,
    /// `|f(s)|` over the carried components.
    norm: f64,
    /// Whether these, and the norm of the other components, are finite.
    pub(crate) finite: bool,
}

impl Measured {
    /// From the squares that [`squares`] gives for one sample.
    pub(crate) fn new(squares: &[f32]) -> Self {
        Self {
            difference: f64::from(squares[0]).sqrt(),
            norm: f64::from(squares[1]).sqrt(),
            finite: squares.iter().all(|x| x.is_finite()),
        }
    }

    /// `difference / norm`, 0 where both are 0, NaN where anything is not finite.
    pub(crate) fn residual(self) -> f64 {
        if !self.finite {
            f64::NAN
        } else if self.difference == 0.0 {
            0.0
        } else {
            self.difference / self.norm
        }
    }
}

/// Squared norms of every sample, each `[batch, 1]`: of the difference and the image over the
/// carried components, and of the image over the others if there are any.
pub(crate) fn squares(state: &State, image: &State, carried: &[usize]) -> Vec<Tensor<2>> {
    let squares = |t: Tensor<2>| t.cast(burn::tensor::FloatDType::F32).square().sum_dim(1);
    let total = |sums: &mut dyn Iterator<Item = Tensor<2>>| sums.reduce(|a, b| a + b);
    let pair = |&k: &usize| (state.component(k).clone(), image.component(k).clone());
    let differences = &mut carried.iter().map(pair).map(|(s, f)| squares(f - s));
    let norms = &mut carried.iter().map(pair).map(|(_, f)| squares(f));
    let others = (0..image.components().len()).filter(|k| !carried.contains(k));
    let others = &mut others.map(|k| squares(image.component(k).clone()));
    let mut columns = vec![
        total(differences).expect("a map carries at least one component"),
        total(norms).expect("a map carries at least one component"),
    ];
    columns.extend(total(others));
    columns
}

/// Measures every sample, in one read of the device: the only one of a solve.
fn measure(state: &State, image: &State, carried: &[usize]) -> Vec<Measured> {
    let columns = squares(state, image, carried);
    let width = columns.len();
    let values = transfer::read(Tensor::cat(columns, 1));
    values.chunks_exact(width).map(Measured::new).collect()
}

fn indices(rows: &[usize], like: &State) -> Tensor<1, Int> {
    transfer::upload_rows(rows, &like.component(0).device())
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
    /// Whether these are the images of the last check, all of them.
    best_is_last: bool,
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
            best_is_last: true,
            steps: 0,
            trace: Vec::new(),
        }
    }

    /// Records a check; returns the rows of the batch that go on.
    fn record(
        &mut self,
        measured: &[Measured],
        image: &State,
        rule: &StoppingRule,
        step: usize,
    ) -> Vec<usize> {
        self.steps = step;
        let residuals: Vec<f64> = measured.iter().map(|m| m.residual()).collect();
        for (&sample, &residual) in self.rows.iter().zip(&residuals) {
            self.outcomes[sample].steps = step;
            self.outcomes[sample].residual = residual;
        }
        if rule.traces() {
            self.trace.push((step, self.outcomes.iter().map(|o| o.residual).collect()));
        }
        let limit = (step == rule.max_steps()).then_some(Termination::StepLimit);
        let end = |m: &Measured| match m {
            m if !m.finite => Some(Termination::NotFinite),
            m if rule.is_met(m.difference, m.norm) => Some(Termination::Converged),
            _ => limit,
        };
        let ends: Vec<Option<Termination>> = measured.iter().map(end).collect();
        let converged: Vec<bool> =
            ends.iter().map(|&e| e == Some(Termination::Converged)).collect();
        let best = self.keep_best(image, &residuals, &converged);
        let mut remaining = Vec::new();
        for (row, end) in ends.into_iter().enumerate() {
            let Some(termination) = end else {
                remaining.push(row);
                continue;
            };
            let outcome = &mut self.outcomes[self.rows[row]];
            outcome.termination = termination;
            if termination == Termination::StepLimit {
                outcome.residual = best[row];
            }
        }
        remaining
    }

    /// Keeps, row by row, the image with the smaller residual, and the new one where a sample has
    /// converged: with an absolute tolerance an earlier image can have a smaller relative
    /// residual without having met it. A residual that is not a number never wins. Returns the
    /// residuals kept.
    fn keep_best(&mut self, image: &State, residuals: &[f64], converged: &[bool]) -> Vec<f64> {
        let Some((best, smallest)) = &mut self.best else {
            self.best = Some((image.clone(), residuals.to_vec()));
            return residuals.to_vec();
        };
        let improved: Vec<bool> = residuals
            .iter()
            .zip(smallest.iter())
            .zip(converged)
            .map(|((new, old), &converged)| converged || new <= old)
            .collect();
        self.best_is_last = improved.iter().all(|&i| i);
        if self.best_is_last {
            *best = image.clone();
        } else {
            let mask: Vec<f32> = improved.iter().map(|&i| f32::from(u8::from(i))).collect();
            let device = image.component(0).device();
            let mask = transfer::upload(mask, [improved.len(), 1], &device).greater_elem(0.5);
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
        smallest.clone()
    }

    /// Moves all rows but `remaining` out of the batch; `rows` are these on the device, and `image`
    /// the image of them alone.
    fn part(&mut self, remaining: &[usize], rows: &Tensor<1, Int>, image: &State) {
        let (best, smallest) = self.best.take().expect("a check keeps the best first");
        let mut stays = vec![false; self.rows.len()];
        for &row in remaining {
            stays[row] = true;
        }
        let ended: Vec<usize> = (0..stays.len()).filter(|&row| !stays[row]).collect();
        let samples = ended.iter().map(|&row| self.rows[row]).collect();
        self.finished.push((samples, best.select(&indices(&ended, &best))));
        let best = if self.best_is_last { image.clone() } else { best.select(rows) };
        self.best = Some((best, remaining.iter().map(|&row| smallest[row]).collect()));
        self.rows = remaining.iter().map(|&row| self.rows[row]).collect();
    }

    fn into_solution(mut self) -> Solution {
        // Those who stayed to the end.
        let (best, _) = self.best.take().expect("the last step is a check");
        self.finished.push((self.rows, best));
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
