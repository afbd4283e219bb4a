//! Convergence checks that remove ended samples from the batch.

use burn::tensor::{Int, Tensor};
use hvae_device::{read, upload, upload_rows};

use crate::convergence::{Continue, Convergence, Record};
use crate::residual::Norms;
use crate::solution::{Solution, Termination};
use crate::state::State;
use crate::stopping::StoppingRule;

/// The outcomes of the ended samples, and the best image of every remaining one.
pub(crate) struct Compacting {
    /// The sample at each row of the current batch.
    samples: Vec<usize>,
    record: Record,
    /// Samples that have ended, with their states.
    finished: Vec<(Vec<usize>, State)>,
    /// For each row, the image with the smallest residual so far, and that residual.
    best: Option<(State, Vec<f64>)>,
    /// Whether `best` holds the images of the last check for all rows.
    best_is_last: bool,
}

impl Compacting {
    pub(crate) fn new(samples: usize) -> Self {
        Self {
            samples: (0..samples).collect(),
            record: Record::new(samples),
            finished: Vec::new(),
            best: None,
            best_is_last: true,
        }
    }

    /// Records a check; returns the rows that continue.
    fn record(
        &mut self,
        norms: &[Norms],
        image: &State,
        rule: &StoppingRule,
        iterations: usize,
    ) -> Vec<usize> {
        let residuals: Vec<f64> = norms.iter().map(|n| n.residual()).collect();
        for (&sample, &residual) in self.samples.iter().zip(&residuals) {
            let outcome = &mut self.record.outcomes[sample];
            (outcome.iterations, outcome.residual) = (iterations, residual);
        }
        self.record.checked(iterations, rule);
        let limit = (iterations == rule.max_iterations()).then_some(Termination::MaxIterations);
        let end = |n: &Norms| match n {
            n if !n.finite => Some(Termination::NotFinite),
            n if rule.is_met(n.difference, n.image) => Some(Termination::Converged),
            _ => limit,
        };
        let ends: Vec<Option<Termination>> = norms.iter().map(end).collect();
        let best = self.keep_best(image, &residuals, &ends);
        for ((&sample, end), &best) in self.samples.iter().zip(&ends).zip(&best) {
            let outcome = &mut self.record.outcomes[sample];
            outcome.termination = end.unwrap_or(Termination::MaxIterations);
            if *end == Some(Termination::MaxIterations) {
                outcome.residual = best;
            }
        }
        (0..ends.len()).filter(|&row| ends[row].is_none()).collect()
    }

    /// Keeps, row by row, the image with the smaller residual, and the new one if the sample has
    /// converged: with an absolute tolerance an earlier image may have a smaller relative residual
    /// without having met the tolerance. NaN never wins. Returns the residuals kept.
    fn keep_best(
        &mut self,
        image: &State,
        residuals: &[f64],
        ends: &[Option<Termination>],
    ) -> Vec<f64> {
        let Some((best, smallest)) = &mut self.best else {
            self.best = Some((image.clone(), residuals.to_vec()));
            return residuals.to_vec();
        };
        let pairs = residuals.iter().zip(smallest.iter()).zip(ends);
        let improved =
            pairs.map(|((new, old), &end)| end == Some(Termination::Converged) || new <= old);
        let improved: Vec<bool> = improved.collect();
        self.best_is_last = improved.iter().all(|&i| i);
        if self.best_is_last {
            *best = image.clone();
        } else {
            let mask: Vec<f32> = improved.iter().map(|&i| f32::from(u8::from(i))).collect();
            let device = image.component(0).device();
            let mask = upload(mask, 1, &device).greater_elem(0.5);
            *best = best.clone().mask_where(&mask, image.clone());
        }
        for ((old, &new), improved) in smallest.iter_mut().zip(residuals).zip(improved) {
            if improved {
                *old = new;
            }
        }
        smallest.clone()
    }

    /// Moves all rows but `remaining` to `finished`. `rows` are the remaining rows on the device,
    /// `image` is their image.
    fn compact(&mut self, remaining: &[usize], rows: &Tensor<1, Int>, image: &State) {
        let (best, smallest) = self.best.take().expect("a check keeps the best first");
        let stays = |row: &usize| remaining.binary_search(row).is_ok();
        let ended: Vec<usize> = (0..self.samples.len()).filter(|row| !stays(row)).collect();
        let samples = ended.iter().map(|&row| self.samples[row]).collect();
        self.finished.push((samples, best.select(&indices(&ended, &best))));
        let best = if self.best_is_last { image.clone() } else { best.select(rows) };
        self.best = Some((best, remaining.iter().map(|&row| smallest[row]).collect()));
        self.samples = remaining.iter().map(|&row| self.samples[row]).collect();
    }
}

impl Convergence for Compacting {
    fn check(
        &mut self,
        image: &State,
        squares: Vec<Tensor<2>>,
        rule: &StoppingRule,
        iterations: usize,
    ) -> Continue {
        let norms = norms(squares);
        let remaining = self.record(&norms, image, rule, iterations);
        if remaining.is_empty() {
            return Continue::None;
        }
        if remaining.len() == norms.len() {
            return Continue::All;
        }
        let rows = indices(&remaining, image);
        let image = image.select(&rows);
        self.compact(&remaining, &rows, &image);
        Continue::Rows(rows, image)
    }

    fn into_solution(mut self) -> Solution {
        let (best, _) = self.best.take().expect("the last iteration is a check");
        self.finished.push((self.samples, best));
        if self.finished.len() == 1 {
            return self.record.into_solution(self.finished.swap_remove(0).1);
        }
        let (samples, states): (Vec<_>, Vec<_>) = self.finished.into_iter().unzip();
        let mut position = vec![0; self.record.outcomes.len()];
        for (place, sample) in samples.into_iter().flatten().enumerate() {
            position[sample] = place;
        }
        let state = State::concatenate(&states);
        let state = state.select(&indices(&position, &state));
        self.record.into_solution(state)
    }
}

/// The norms of every sample, in one read of the device: the only read of a check.
fn norms(columns: Vec<Tensor<2>>) -> Vec<Norms> {
    let width = columns.len();
    let values = read(Tensor::cat(columns, 1));
    values.chunks_exact(width).map(Norms::new).collect()
}

fn indices(rows: &[usize], like: &State) -> Tensor<1, Int> {
    upload_rows(rows, &like.component(0).device())
}
