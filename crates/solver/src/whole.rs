//! The loop over a batch that stays whole: samples that have ended are masked, on the device.

use burn::tensor::Tensor;

use crate::solve::{Measured, check_shapes, squares};
use crate::{
    FixedPointMap, Method, Outcome, Solution, SolverError, State, StoppingRule, Termination,
    transfer,
};

/// As [`solve`](crate::solve()), but no tensor changes its shape and nothing is sent to the
/// device; it is read once a check.
pub(crate) fn solve<F: FixedPointMap, M: Method>(
    map: &F,
    guess: State,
    method: &M,
    rule: &StoppingRule,
    carried: &[usize],
) -> Result<Solution, SolverError> {
    let samples = guess.batch();
    let mut memory = method.start(carried);
    let mut state = guess;
    let mut kept: Option<Kept> = None;
    let mut ledger = Ledger::new(samples);
    for step in 1..=rule.max_steps() {
        let image = map.apply(&state);
        check_shapes(&state, &image)?;
        if rule.is_check(step) {
            let squares = squares(&state, &image, carried);
            let (next, verdicts) = Kept::look(kept, &image, &squares, rule);
            kept = Some(next);
            if ledger.record(&verdicts, squares.len(), rule, step) {
                break;
            }
        }
        state = method.step(state, image, &mut memory);
    }
    let kept = kept.expect("the last step is a check");
    Ok(Solution {
        state: kept.state,
        outcomes: ledger.outcomes,
        steps: ledger.steps,
        trace: ledger.trace,
    })
}

/// What is kept of every sample, on the device.
struct Kept {
    /// The image at which it ended, or the one with the smallest residual so far.
    state: State,
    /// Its residual, `[batch, 1]`.
    residual: Tensor<2>,
    /// 1 where the sample has ended, else 0, `[batch, 1]`.
    ended: Tensor<2>,
}

impl Kept {
    /// Takes a new image into account. Also gives what the host needs, `[batch, columns]`: the
    /// squares, whether the tolerance is met, and whether the new image was kept.
    fn look(
        before: Option<Self>,
        image: &State,
        squares: &[Tensor<2>],
        rule: &StoppingRule,
    ) -> (Self, Tensor<2>) {
        let (difference, norm) = (squares[0].clone().sqrt(), squares[1].clone().sqrt());
        let finite = squares.iter().map(|s| s.clone().is_finite().float());
        let finite = finite.reduce(|a, b| a * b).expect("there are two squares at least");
        let bound = norm.clone().mul_scalar(rule.rtol()).add_scalar(rule.atol());
        let met = difference.clone().lower_equal(bound).float() * finite.clone();
        let still = difference.clone().equal_elem(0.0);
        let broken = finite.clone().lower_elem(0.5);
        let residual = (difference / norm).mask_fill(still, 0.0).mask_fill(broken, f32::MAX);
        let ending = met.clone().max_pair(finite.neg().add_scalar(1.0));
        let mut columns = squares.to_vec();
        let Some(before) = before else {
            let first = Self { state: image.clone(), residual, ended: ending };
            columns.extend([met.clone(), met.ones_like()]);
            return (first, Tensor::cat(columns, 1));
        };
        let closer = residual.clone().lower_equal(before.residual.clone()).float();
        let better = met.clone().max_pair(closer) * before.ended.clone().neg().add_scalar(1.0);
        let mask = better.clone().greater_elem(0.5);
        let state = before.state.zip(image.clone(), |old, new| {
            let mask = mask.clone().expand(old.dims());
            old.mask_where(mask, new)
        });
        let residual = before.residual.mask_where(mask, residual);
        columns.extend([met, better]);
        let ended = before.ended.max_pair(ending);
        (Self { state, residual, ended }, Tensor::cat(columns, 1))
    }
}

/// Who has ended and how, on the host.
struct Ledger {
    outcomes: Vec<Outcome>,
    ended: Vec<bool>,
    /// Residual of what is kept of each sample.
    kept: Vec<f64>,
    steps: usize,
    trace: Vec<(usize, Vec<f64>)>,
}

impl Ledger {
    fn new(samples: usize) -> Self {
        let pending =
            Outcome { termination: Termination::StepLimit, steps: 0, residual: f64::INFINITY };
        Self {
            outcomes: vec![pending; samples],
            ended: vec![false; samples],
            kept: vec![f64::INFINITY; samples],
            steps: 0,
            trace: Vec::new(),
        }
    }

    /// Records a check, of which the first `squares` columns are squares; returns whether all
    /// samples have ended.
    fn record(
        &mut self,
        verdicts: &Tensor<2>,
        squares: usize,
        rule: &StoppingRule,
        step: usize,
    ) -> bool {
        self.steps = step;
        let values = transfer::read(verdicts.clone());
        for (sample, values) in values.chunks_exact(squares + 2).enumerate() {
            if self.ended[sample] {
                continue;
            }
            let measured = Measured::new(&values[..squares]);
            let (met, better) = (values[squares] > 0.5, values[squares + 1] > 0.5);
            let residual = measured.residual();
            if better {
                self.kept[sample] = residual;
            }
            let termination = match (measured.finite, met) {
                (false, _) => Termination::NotFinite,
                (true, true) => Termination::Converged,
                (true, false) => Termination::StepLimit,
            };
            self.ended[sample] = termination != Termination::StepLimit;
            self.outcomes[sample] = Outcome { termination, steps: step, residual };
        }
        if rule.traces() {
            let residuals = self.outcomes.iter().map(|o| o.residual).collect();
            self.trace.push((step, residuals));
        }
        if step == rule.max_steps() {
            let rest = self.outcomes.iter_mut().zip(&self.ended).zip(&self.kept);
            rest.filter(|((_, ended), _)| !**ended).for_each(|((o, _), &kept)| o.residual = kept);
        }
        self.ended.iter().all(|&e| e)
    }
}
