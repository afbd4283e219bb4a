//! The one loop: apply, measure, let finished samples go or mask them, step.

use burn::tensor::{Int, Tensor};

use crate::{
    FixedPointMap, Memory, Method, Outcome, Solution, SolverError, State, StoppingRule,
    Termination, leaving, whole,
};

/// Iterates `method` on `map` from `guess` until every sample has ended.
///
/// Samples end one by one: at each check those that have converged or are no longer finite are
/// recorded and leave the batch, and map, state and memory go on with the rest; with
/// [`StoppingRule::with_whole_batch`] they are masked and stay. A batch without samples is handed
/// back as it is; the map is not called.
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
    let scale = Scale::of(&map, guess.components().len());
    if rule.keeps_whole() {
        iterate(map, guess, method, rule, &scale, whole::Ledger::new(samples))
    } else {
        iterate(map, guess, method, rule, &scale, leaving::Ledger::new(samples))
    }
}

/// By what a residual is measured.
struct Scale {
    /// The components that count in it.
    carried: Vec<usize>,
    /// By what each component is multiplied.
    weights: Vec<f64>,
}

impl Scale {
    fn of(map: &impl FixedPointMap, components: usize) -> Self {
        let weights = (0..components).map(|k| map.weight(k)).collect();
        Self { carried: map.carried(components), weights }
    }
}

/// What is told of every sample in the end.
pub(crate) struct Record {
    pub outcomes: Vec<Outcome>,
    steps: usize,
    trace: Vec<(usize, Vec<f64>)>,
}

impl Record {
    pub(crate) fn new(samples: usize) -> Self {
        let pending =
            Outcome { termination: Termination::StepLimit, steps: 0, residual: f64::INFINITY };
        Self { outcomes: vec![pending; samples], steps: 0, trace: Vec::new() }
    }

    /// Notes that `outcomes` are those of a check at `step`.
    pub(crate) fn checked(&mut self, step: usize, rule: &StoppingRule) {
        self.steps = step;
        if rule.traces() {
            self.trace.push((step, self.outcomes.iter().map(|o| o.residual).collect()));
        }
    }

    pub(crate) fn into_solution(self, state: State) -> Solution {
        Solution { state, outcomes: self.outcomes, steps: self.steps, trace: self.trace }
    }
}

/// Who has ended, how and where: the one in [`leaving`], the other in [`whole`].
pub(crate) trait Ledger {
    /// Takes the `image` of step `step` into account, whose [`squares`] these are.
    fn look(
        &mut self,
        image: &State,
        squares: Vec<Tensor<2>>,
        rule: &StoppingRule,
        step: usize,
    ) -> Next;

    fn into_solution(self) -> Solution;
}

/// Who goes on after a check; at the step limit nobody.
#[allow(clippy::large_enum_variant, reason = "there is one a check")]
pub(crate) enum Next {
    Nobody,
    Everybody,
    /// The samples at these rows alone, and their image.
    Rows(Tensor<1, Int>, State),
}

fn iterate<F: FixedPointMap, M: Method>(
    mut map: F,
    guess: State,
    method: &M,
    rule: &StoppingRule,
    scale: &Scale,
    mut ledger: impl Ledger,
) -> Result<Solution, SolverError> {
    let mut memory = method.start(&scale.carried);
    let mut state = guess;
    for step in 1..=rule.max_steps() {
        let mut image = map.apply(&state);
        check_shapes(&state, &image)?;
        if rule.is_check(step) {
            match ledger.look(&image, squares(&state, &image, scale), rule, step) {
                Next::Nobody => break,
                Next::Everybody => {}
                Next::Rows(rows, rest) => {
                    // Before the step, so that it is taken by those alone who go on.
                    image = rest;
                    state = if method.reads_state() { state.select(&rows) } else { image.clone() };
                    memory = memory.select(&rows);
                    map = map.select(&rows);
                }
            }
        }
        state = method.step(state, image, &mut memory);
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
    /// `|f(s) - s|` over the carried components, each times its weight.
    pub(crate) difference: f64,
    /// `|f(s)|` likewise.
    pub(crate) norm: f64,
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
fn squares(state: &State, image: &State, scale: &Scale) -> Vec<Tensor<2>> {
    let Scale { carried, weights } = scale;
    let squares = |k: usize, t: Tensor<2>| {
        let t = t.cast(burn::tensor::FloatDType::F32);
        let is_one = (weights[k] - 1.0).abs() < f64::EPSILON;
        // Before the square, which could be less than any number.
        let t = if is_one { t } else { t.mul_scalar(weights[k]) };
        t.square().sum_dim(1)
    };
    let total = |sums: &mut dyn Iterator<Item = Tensor<2>>| sums.reduce(|a, b| a + b);
    let step = |k: usize| image.component(k).clone() - state.component(k).clone();
    let differences = &mut carried.iter().map(|&k| squares(k, step(k)));
    let norms = &mut carried.iter().map(|&k| squares(k, image.component(k).clone()));
    let others = (0..image.components().len()).filter(|k| !carried.contains(k));
    let others = &mut others.map(|k| squares(k, image.component(k).clone()));
    let mut columns = vec![
        total(differences).expect("a map carries at least one component"),
        total(norms).expect("a map carries at least one component"),
    ];
    columns.extend(total(others));
    columns
}
