//! Iteration of a map that updates the rows of a batch in place.

use crate::residual::Norms;
use crate::solution::{Outcome, Termination};
use crate::stopping::StoppingRule;

/// A map on a batch that its implementor holds in host memory, one row per sample. The rows that
/// iterate come first.
///
/// [`solve_rows`] is [`solve`](crate::solve()) with [`Picard`](crate::Picard) for it: no tensor is
/// made, and no row is copied but those that take the place of ended ones.
pub trait RowMap {
    /// Number of samples.
    fn samples(&self) -> usize;

    /// Replaces the states of the rows `0..rows` by their images. Returns, for each of these rows,
    /// `|f(s) - s|^2` and `|f(s)|^2` over the [measured](crate::FixedPointMap::measured)
    /// components, and the squared norm of the others, if `measure` asks for them.
    fn iterate(&mut self, rows: usize, measure: bool) -> &[[f32; 3]];

    /// Records the state of `row` as the result of `sample`, in place of an earlier one; `converged`
    /// if it is the last one.
    fn record(&mut self, row: usize, sample: usize, converged: bool);

    /// Copies row `from`, which is that of `sample`, to row `to`.
    fn replace(&mut self, to: usize, from: usize, sample: usize);
}

/// Iterates `map` until every sample has ended; see [`RowMap`]. [Masking and
/// trace](StoppingRule) do not apply.
pub fn solve_rows(map: &mut impl RowMap, rule: &StoppingRule) -> Vec<Outcome> {
    let mut samples: Vec<usize> = (0..map.samples()).collect();
    let pending =
        Outcome { termination: Termination::MaxIterations, iterations: 0, residual: f64::INFINITY };
    let mut outcomes = vec![pending; samples.len()];
    for iterations in 1..=rule.max_iterations() {
        let check = rule.is_check(iterations);
        let norms: Vec<Norms> =
            map.iterate(samples.len(), check).iter().map(|squares| Norms::new(squares)).collect();
        if !check {
            continue;
        }
        // From the last row on: one that takes the place of an ended row has been checked.
        for row in (0..samples.len()).rev() {
            let sample = samples[row];
            let outcome = &mut outcomes[sample];
            let record = |converged| map.record(row, sample, converged);
            if ends(outcome, norms[row], rule, iterations, record) {
                samples.swap_remove(row);
                if row < samples.len() {
                    map.replace(row, samples.len(), samples[row]);
                }
            }
        }
        if samples.is_empty() {
            break;
        }
    }
    outcomes
}

/// Whether a sample ends at a check. Its state is recorded if it has converged, if its residual is
/// the smallest so far, or if nothing was recorded before.
fn ends(
    outcome: &mut Outcome,
    norms: Norms,
    rule: &StoppingRule,
    iterations: usize,
    record: impl FnOnce(bool),
) -> bool {
    let residual = norms.residual();
    let converged = norms.finite && rule.is_met(norms.difference, norms.image);
    let first = outcome.iterations == 0;
    outcome.iterations = iterations;
    if first || converged || residual <= outcome.residual {
        outcome.residual = residual;
        record(converged);
    }
    if !norms.finite {
        outcome.termination = Termination::NotFinite;
        outcome.residual = f64::NAN;
    } else if converged {
        outcome.termination = Termination::Converged;
    }
    !norms.finite || converged
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Int, Tensor, TensorData};

    use super::*;
    use crate::{FixedPointMap, Picard, State, solve};

    /// `f(s) = cos(c s) + d`, with a `c` for each sample; one of them never settles, one overflows.
    const FACTORS: [f32; 5] = [0.1, 2.9, 0.9, f32::NAN, 0.5];
    const UNITS: usize = 3;

    fn image(c: f32, s: f32) -> f32 {
        (c * s).cos() + 0.25
    }

    struct Rows {
        factors: Vec<f32>,
        state: Vec<f32>,
        result: Vec<f32>,
        squares: Vec<[f32; 3]>,
    }

    impl RowMap for Rows {
        fn samples(&self) -> usize {
            FACTORS.len()
        }

        fn iterate(&mut self, rows: usize, measure: bool) -> &[[f32; 3]] {
            self.squares.clear();
            for (row, c) in self.state.chunks_exact_mut(UNITS).zip(&self.factors).take(rows) {
                let mut squares = [0.0; 3];
                for s in row {
                    let new = image(*c, *s);
                    squares[0] += (new - *s).powi(2);
                    squares[1] += new.powi(2);
                    *s = new;
                }
                self.squares.push(if measure { squares } else { [f32::NAN; 3] });
            }
            &self.squares
        }

        fn record(&mut self, row: usize, sample: usize, _converged: bool) {
            let row = self.state[row * UNITS..][..UNITS].to_vec();
            self.result[sample * UNITS..][..UNITS].copy_from_slice(&row);
        }

        fn replace(&mut self, to: usize, from: usize, sample: usize) {
            self.state.copy_within(from * UNITS..(from + 1) * UNITS, to * UNITS);
            self.factors[to] = FACTORS[sample];
        }
    }

    #[derive(Clone)]
    struct Whole(Tensor<2>);

    impl FixedPointMap for Whole {
        fn apply(&self, state: &State, _iteration: usize) -> State {
            state.map(|s| (s * self.0.clone()).cos().add_scalar(0.25))
        }

        fn select(&self, rows: &Tensor<1, Int>) -> Self {
            Self(self.0.clone().select(0, rows.clone()))
        }
    }

    /// Rows in place end as the samples of a batch do: with the same outcomes and states.
    #[test]
    fn rows_end_as_samples_of_a_batch() {
        let device = Device::flex();
        let tensor = |values: Vec<f32>, columns| {
            let rows = values.len() / columns;
            Tensor::<2>::from_data(TensorData::new(values, [rows, columns]), &device)
        };
        let start: Vec<f32> = (0..FACTORS.len() * UNITS).map(|i| 0.1 * i as f32).collect();
        for check_every in [1, 3] {
            let rule = StoppingRule::new(1e-4, 20).unwrap().with_check_every(check_every).unwrap();
            let mut rows = Rows {
                factors: FACTORS.to_vec(),
                state: start.clone(),
                result: vec![0.0; start.len()],
                squares: Vec::new(),
            };
            let found = solve_rows(&mut rows, &rule);
            let guess = State::new(vec![tensor(start.clone(), UNITS)]).unwrap();
            let whole = Whole(tensor(FACTORS.to_vec(), 1));
            let expected = solve(whole, guess, &Picard, &rule).unwrap();
            let state: Vec<f32> =
                expected.state.component(0).clone().into_data().try_to_vec().unwrap();
            for (sample, (found, expected)) in found.iter().zip(&expected.outcomes).enumerate() {
                assert_eq!(found.termination, expected.termination, "{sample}");
                assert_eq!(found.iterations, expected.iterations, "{sample}");
                let [a, b] = [found.residual, expected.residual];
                assert!((a - b).abs() <= 1e-3 * b || a.is_nan() && b.is_nan(), "{sample} {a} {b}");
            }
            for (found, expected) in rows.result.iter().zip(&state) {
                let same = (found - expected).abs() < 1e-5 || found.is_nan() && expected.is_nan();
                assert!(same, "{found} {expected}");
            }
            let ends = |t| found.iter().filter(|o| o.termination == t).count();
            assert!(ends(Termination::MaxIterations) >= 1);
            assert_eq!(ends(Termination::NotFinite), 1);
        }
    }
}
