//! The ledger of a batch that stays whole: samples that have ended are masked, on the device.
//!
//! No tensor changes its shape and nothing is sent to the device; it is read once a check.

use burn::tensor::Tensor;

use crate::solve::{self, Measured, Next, Record};
use crate::{Outcome, Solution, State, StoppingRule, Termination, transfer};

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
        let met = rule.are_met(&difference, &norm) * finite.clone();
        let still = difference.clone().equal_elem(0.0);
        let residual = (difference / norm).mask_fill(still, 0.0);
        let ending = met.clone().max_pair(finite.clone().neg().add_scalar(1.0));
        let mut columns = squares.to_vec();
        let Some(before) = before else {
            let first = Self { state: image.clone(), residual, ended: ending };
            columns.extend([met.clone(), met.ones_like()]);
            return (first, Tensor::cat(columns, 1));
        };
        // The residual of an image that is not finite is no number, or one that means nothing.
        let closer = residual.clone().lower_equal(before.residual.clone()).float() * finite;
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

/// Who has ended and how, on the host, and what is kept of all on the device.
pub(crate) struct Ledger {
    kept: Option<Kept>,
    record: Record,
    ended: Vec<bool>,
    /// Residual of what is kept of each sample.
    residuals: Vec<f64>,
}

impl Ledger {
    pub(crate) fn new(samples: usize) -> Self {
        Self {
            kept: None,
            record: Record::new(samples),
            ended: vec![false; samples],
            residuals: vec![f64::INFINITY; samples],
        }
    }

    /// Records a check, of which the first `squares` columns are squares; returns whether all
    /// samples have ended, as they have at the step limit.
    fn record(
        &mut self,
        verdicts: &Tensor<2>,
        squares: usize,
        rule: &StoppingRule,
        step: usize,
    ) -> bool {
        let values = transfer::read(verdicts.clone());
        for (sample, values) in values.chunks_exact(squares + 2).enumerate() {
            if self.ended[sample] {
                continue;
            }
            let measured = Measured::new(&values[..squares]);
            let (met, better) = (values[squares] > 0.5, values[squares + 1] > 0.5);
            let residual = measured.residual();
            if better {
                self.residuals[sample] = residual;
            }
            let termination = match (measured.finite, met) {
                (false, _) => Termination::NotFinite,
                (true, true) => Termination::Converged,
                (true, false) => Termination::StepLimit,
            };
            self.ended[sample] = termination != Termination::StepLimit;
            self.record.outcomes[sample] = Outcome { termination, steps: step, residual };
        }
        self.record.checked(step, rule);
        if step == rule.max_steps() {
            let rest = self.record.outcomes.iter_mut().zip(&self.ended).zip(&self.residuals);
            rest.filter(|((_, ended), _)| !**ended).for_each(|((o, _), &kept)| o.residual = kept);
            return true;
        }
        self.ended.iter().all(|&e| e)
    }
}

impl solve::Ledger for Ledger {
    fn look(
        &mut self,
        image: &State,
        squares: Vec<Tensor<2>>,
        rule: &StoppingRule,
        step: usize,
    ) -> Next {
        let (kept, verdicts) = Kept::look(self.kept.take(), image, &squares, rule);
        self.kept = Some(kept);
        if self.record(&verdicts, squares.len(), rule, step) {
            return Next::Nobody;
        }
        Next::Everybody
    }

    fn into_solution(self) -> Solution {
        self.record.into_solution(self.kept.expect("the last step is a check").state)
    }
}
