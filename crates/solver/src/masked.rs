//! Convergence checks that mask ended samples on the device.
//!
//! No tensor changes its shape and nothing is uploaded; the device is read once per check.

use burn::tensor::Tensor;
use hvae_device::read;

use crate::convergence::{Continue, Convergence, Record};
use crate::residual::Norms;
use crate::solution::{Outcome, Solution, Termination};
use crate::state::State;
use crate::stopping::StoppingRule;

/// The best image of every sample, on the device.
struct Best {
    /// The image at which the sample ended, or the one with the smallest residual so far.
    state: State,
    /// Its residual, `[batch, 1]`.
    residual: Tensor<2>,
    /// 1 if the sample has ended, else 0, `[batch, 1]`.
    ended: Tensor<2>,
}

impl Best {
    /// Updates with a new image. Also returns what the host needs, `[batch, columns]`: the squares,
    /// whether the tolerance is met, and whether the new image was kept.
    fn update(
        before: Option<Self>,
        image: &State,
        squares: &[Tensor<2>],
        rule: &StoppingRule,
    ) -> (Self, Tensor<2>) {
        let (difference, norm) = (squares[0].clone().sqrt(), squares[1].clone().sqrt());
        let finite = squares.iter().map(|s| s.clone().is_finite().float());
        let finite = finite.reduce(|a, b| a * b).expect("there are at least two squares");
        let met = rule.are_met(&difference, &norm) * finite.clone();
        let still = difference.clone().equal_elem(0.0);
        let residual = (difference / norm).mask_fill(still, 0.0);
        let ending = met.clone().max_pair(finite.clone().neg().add_scalar(1.0));
        let mut columns = squares.to_vec();
        let Some(before) = before else {
            columns.extend([met.clone(), met.ones_like()]);
            let first = Self { state: image.clone(), residual, ended: ending };
            return (first, Tensor::cat(columns, 1));
        };
        // The residual of an image that is not finite is NaN or meaningless.
        let closer = residual.clone().lower_equal(before.residual.clone()).float() * finite;
        let better = met.clone().max_pair(closer) * before.ended.clone().neg().add_scalar(1.0);
        let mask = better.clone().greater_elem(0.5);
        let state = before.state.mask_where(&mask, image.clone());
        let residual = before.residual.mask_where(mask, residual);
        columns.extend([met, better]);
        let ended = before.ended.max_pair(ending);
        (Self { state, residual, ended }, Tensor::cat(columns, 1))
    }
}

/// The outcomes of the ended samples on the host, and the best image of every sample on the device.
pub(crate) struct Masked {
    best: Option<Best>,
    record: Record,
    ended: Vec<bool>,
    /// The residual of every sample's best image.
    residuals: Vec<f64>,
}

impl Masked {
    pub(crate) fn new(samples: usize) -> Self {
        Self {
            best: None,
            record: Record::new(samples),
            ended: vec![false; samples],
            residuals: vec![f64::INFINITY; samples],
        }
    }

    /// Records a check, of which the first `squares` columns are squares; returns whether all
    /// samples have ended, as they have at the last iteration.
    fn record(
        &mut self,
        verdicts: &Tensor<2>,
        squares: usize,
        rule: &StoppingRule,
        iterations: usize,
    ) -> bool {
        let values = read(verdicts.clone());
        for (sample, values) in values.chunks_exact(squares + 2).enumerate() {
            if self.ended[sample] {
                continue;
            }
            let norms = Norms::new(&values[..squares]);
            let (met, better) = (values[squares] > 0.5, values[squares + 1] > 0.5);
            let residual = norms.residual();
            if better {
                self.residuals[sample] = residual;
            }
            let termination = match (norms.finite, met) {
                (false, _) => Termination::NotFinite,
                (true, true) => Termination::Converged,
                (true, false) => Termination::MaxIterations,
            };
            self.ended[sample] = termination != Termination::MaxIterations;
            self.record.outcomes[sample] = Outcome { termination, iterations, residual };
        }
        self.record.checked(iterations, rule);
        if iterations == rule.max_iterations() {
            let rest = self.record.outcomes.iter_mut().zip(&self.ended).zip(&self.residuals);
            rest.filter(|((_, ended), _)| !**ended).for_each(|((o, _), &best)| o.residual = best);
            return true;
        }
        self.ended.iter().all(|&e| e)
    }
}

impl Convergence for Masked {
    fn check(
        &mut self,
        image: &State,
        squares: Vec<Tensor<2>>,
        rule: &StoppingRule,
        iterations: usize,
    ) -> Continue {
        let (best, verdicts) = Best::update(self.best.take(), image, &squares, rule);
        self.best = Some(best);
        let ended = self.record(&verdicts, squares.len(), rule, iterations);
        if ended { Continue::None } else { Continue::All }
    }

    fn into_solution(self) -> Solution {
        self.record.into_solution(self.best.expect("the last iteration is a check").state)
    }
}
