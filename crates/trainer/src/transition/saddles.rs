//! Saddles, which fixed-point iteration cannot reach: Newton's method on the weights.

use anyhow::Result;

use crate::transition::patterns::PatternSet;
use hvae_device::host::download;
use hvae_runtime::terminal;

/// A fixed point found from the midpoint between two patterns.
#[derive(Debug, Clone)]
pub(super) struct Saddle {
    /// Index of the pair of patterns.
    pub(super) pair: usize,
    /// `beta D^2 / 2`.
    pub(super) beta_eff: f64,
    /// Distance to the mean pattern.
    pub(super) to_mean: f64,
    /// Its weights, `[N]`.
    pub(super) weights: Vec<f32>,
}

/// Largest number of patterns: each Newton step solves a dense system of this size.
const MAX_COUNT: usize = 256;
/// Pairs of patterns with a saddle that are followed.
const PAIRS: usize = 6;
/// Pairs of patterns that are tried.
const PAIRS_TRIED: usize = 100;
/// Values of `beta` per pair.
const VALUES: usize = 20;
/// Smallest weight of either pattern.
const MIN_WEIGHT: f64 = 0.02;
const MAX_ITERATIONS: usize = 30;
/// Largest change of a weight at which Newton's method has converged.
const TOLERANCE: f64 = 1e-11;

/// Fixed points between two patterns at some of `effective`, followed down from the largest as long
/// as Newton's method converges and both patterns keep [`MIN_WEIGHT`]. Pairs without one at the
/// largest are skipped.
///
/// # Errors
///
/// If the device cannot be read.
pub(super) fn find(set: &PatternSet, effective: &[f64]) -> Result<Vec<Saddle>> {
    let count = set.count();
    if !(2..=MAX_COUNT).contains(&count) {
        terminal::line(&format!("skipping saddles: only searched for 2 to {MAX_COUNT} patterns"));
        return Ok(Vec::new());
    }
    let system = System::new(set)?;
    let mut found = Vec::new();
    let mut pair = 0;
    let pairs = (0..count).flat_map(|i| (0..i).map(move |j| (i, j))).take(PAIRS_TRIED);
    for (i, j) in pairs {
        let Some(mut weights) = system.equal_mixture(i, j) else { continue };
        if pair == PAIRS {
            break;
        }
        let before = found.len();
        for &beta_eff in effective.iter().rev().step_by(effective.len().div_ceil(VALUES)) {
            let beta = beta_eff / set.description.scale;
            let Some(next) = system.newton(&weights, beta) else { break };
            if next[i].min(next[j]) < MIN_WEIGHT {
                break;
            }
            weights = next;
            let to_mean = system.to_mean(&weights);
            let weights = weights.iter().map(|&w| w as f32).collect();
            found.push(Saddle { pair, beta_eff, to_mean, weights });
        }
        pair += usize::from(found.len() > before);
    }
    Ok(found)
}

/// `F(p) = softmax(beta (K p + k)) - p` in double precision.
struct System {
    kernel: Vec<Vec<f64>>,
    bias: Vec<f64>,
}

impl System {
    fn new(set: &PatternSet) -> Result<Self> {
        let network = &set.network;
        let read = |tensor| -> Result<Vec<f64>> {
            Ok(download::<2>(tensor)?.into_iter().map(f64::from).collect())
        };
        let mean = read(network.mean())?;
        let centred = read(network.patterns() - network.mean())?;
        let rows: Vec<&[f64]> = centred.chunks(network.dimension()).collect();
        let kernel = rows.iter().map(|a| rows.iter().map(|b| dot(a, b)).collect()).collect();
        let bias = rows.iter().map(|row| dot(row, &mean)).collect();
        Ok(Self { kernel, bias })
    }

    /// The mixture of patterns `i` and `j` with equal overlap with both, if it exists: the limit of
    /// their saddle for large `beta`.
    fn equal_mixture(&self, i: usize, j: usize) -> Option<Vec<f64>> {
        let (k, b) = (&self.kernel, &self.bias);
        let part = (k[j][j] - k[i][j] + b[j] - b[i]) / (k[i][i] + k[j][j] - 2.0 * k[i][j]);
        let mut weights = vec![0.0; b.len()];
        weights[i] = part;
        weights[j] = 1.0 - part;
        (MIN_WEIGHT..=1.0 - MIN_WEIGHT).contains(&part).then_some(weights)
    }

    fn softmax(&self, weights: &[f64], beta: f64) -> Vec<f64> {
        let overlaps = self.kernel.iter().zip(&self.bias).map(|(row, k)| dot(row, weights) + k);
        let overlaps: Vec<f64> = overlaps.collect();
        let largest = overlaps.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let raised: Vec<f64> = overlaps.iter().map(|t| (beta * (t - largest)).exp()).collect();
        let sum: f64 = raised.iter().sum();
        raised.into_iter().map(|r| r / sum).collect()
    }

    /// The fixed point that Newton's method finds from `start`.
    fn newton(&self, start: &[f64], beta: f64) -> Option<Vec<f64>> {
        let mut weights = start.to_vec();
        for _ in 0..MAX_ITERATIONS {
            let image = self.softmax(&weights, beta);
            let residual: Vec<f64> = image.iter().zip(&weights).map(|(q, p)| q - p).collect();
            let step = solve(self.jacobian(&image, beta), residual)?;
            let largest = step.iter().fold(0.0, |m: f64, s| m.max(s.abs()));
            weights.iter_mut().zip(&step).for_each(|(p, s)| *p += s);
            if largest < TOLERANCE {
                return weights.iter().all(|p| (-1e-9..=1.0 + 1e-9).contains(p)).then_some(weights);
            }
        }
        None
    }

    /// `I - beta (diag q - q q') K`.
    fn jacobian(&self, image: &[f64], beta: f64) -> Vec<Vec<f64>> {
        let count = image.len();
        let mut means = vec![0.0; count];
        for (row, q) in self.kernel.iter().zip(image) {
            means.iter_mut().zip(row).for_each(|(m, k)| *m += q * k);
        }
        let entry = |i: usize, j: usize| {
            let identity = if i == j { 1.0 } else { 0.0 };
            identity - beta * image[i] * (self.kernel[i][j] - means[j])
        };
        (0..count).map(|i| (0..count).map(|j| entry(i, j)).collect()).collect()
    }

    /// `|Y' p|`.
    fn to_mean(&self, weights: &[f64]) -> f64 {
        let image: Vec<f64> = self.kernel.iter().map(|row| dot(row, weights)).collect();
        dot(&image, weights).max(0.0).sqrt()
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Solves `matrix x = right` by Gaussian elimination with partial pivoting; `None` if singular.
fn solve(mut matrix: Vec<Vec<f64>>, mut right: Vec<f64>) -> Option<Vec<f64>> {
    let count = right.len();
    for pivot in 0..count {
        let best = (pivot..count)
            .max_by(|&a, &b| matrix[a][pivot].abs().total_cmp(&matrix[b][pivot].abs()))?;
        matrix.swap(pivot, best);
        right.swap(pivot, best);
        let (above, below) = matrix.split_at_mut(pivot + 1);
        let row = &above[pivot];
        if row[pivot].is_nan() || row[pivot].abs() <= f64::MIN_POSITIVE {
            return None;
        }
        for (offset, other) in below.iter_mut().enumerate() {
            let factor = other[pivot] / row[pivot];
            other[pivot..].iter_mut().zip(&row[pivot..]).for_each(|(o, r)| *o -= factor * r);
            right[pivot + 1 + offset] -= factor * right[pivot];
        }
    }
    for row in (0..count).rev() {
        let known = dot(&matrix[row][row + 1..], &right[row + 1..]);
        right[row] = (right[row] - known) / matrix[row][row];
    }
    right.iter().all(|x| x.is_finite()).then_some(right)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_is_solved_with_pivoting() {
        let matrix = vec![vec![0.0, 2.0, 1.0], vec![1.0, 1.0, 0.0], vec![3.0, 0.0, 1.0]];
        let solution = solve(matrix, vec![7.0, 3.0, 6.0]).expect("the matrix is regular");
        for (found, expected) in solution.iter().zip([1.0, 2.0, 3.0]) {
            assert!((found - expected).abs() < 1e-12, "{solution:?}");
        }
        assert_eq!(solve(vec![vec![1.0, 1.0], vec![1.0, 1.0]], vec![1.0, 2.0]), None);
    }
}
