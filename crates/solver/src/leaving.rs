//! The ledger of a batch that samples leave as they end.

use burn::tensor::{Int, Tensor};

use crate::solve::{self, Measured, Next, Record};
use crate::{Solution, State, StoppingRule, Termination, transfer};

/// Who has ended and how, and the best image of those who have not.
pub(crate) struct Ledger {
    /// Sample at each row of the current batch.
    rows: Vec<usize>,
    record: Record,
    /// Samples that have ended, with their states.
    finished: Vec<(Vec<usize>, State)>,
    /// For each row, the image with the smallest residual so far.
    best: Option<(State, Vec<f64>)>,
    /// Whether these are the images of the last check, all of them.
    best_is_last: bool,
}

impl Ledger {
    pub(crate) fn new(samples: usize) -> Self {
        Self {
            rows: (0..samples).collect(),
            record: Record::new(samples),
            finished: Vec::new(),
            best: None,
            best_is_last: true,
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
        let residuals: Vec<f64> = measured.iter().map(|m| m.residual()).collect();
        for (&sample, &residual) in self.rows.iter().zip(&residuals) {
            let outcome = &mut self.record.outcomes[sample];
            (outcome.steps, outcome.residual) = (step, residual);
        }
        self.record.checked(step, rule);
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
            let outcome = &mut self.record.outcomes[self.rows[row]];
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
}

impl solve::Ledger for Ledger {
    fn look(
        &mut self,
        image: &State,
        squares: Vec<Tensor<2>>,
        rule: &StoppingRule,
        step: usize,
    ) -> Next {
        let measured = measure(squares);
        let remaining = self.record(&measured, image, rule, step);
        if remaining.is_empty() {
            return Next::Nobody;
        }
        if remaining.len() == measured.len() {
            return Next::Everybody;
        }
        let rows = indices(&remaining, image);
        let image = image.select(&rows);
        self.part(&remaining, &rows, &image);
        Next::Rows(rows, image)
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
        self.record.into_solution(state)
    }
}

/// Measures every sample, in one read of the device: the only one of a check.
fn measure(columns: Vec<Tensor<2>>) -> Vec<Measured> {
    let width = columns.len();
    let values = transfer::read(Tensor::cat(columns, 1));
    values.chunks_exact(width).map(Measured::new).collect()
}

fn indices(rows: &[usize], like: &State) -> Tensor<1, Int> {
    transfer::upload_rows(rows, &like.component(0).device())
}
