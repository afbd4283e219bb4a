//! Saddles, which fixed-point iteration cannot reach: Newton's method on the weights.

use anyhow::Result;
use faer::{Col, Mat, linalg::solvers::Solve};
use hvae_device::download;
use hvae_runtime::terminal;
use ndarray::{Array1, Array2};

use crate::transition::hysteresis::{Branch, FixedPoint, FixedPoints};
use crate::transition::patterns::PatternSet;

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

/// Adds fixed points between two patterns at some of `effective`, followed down from the largest as long
/// as Newton's method converges and both patterns keep [`MIN_WEIGHT`]. Pairs without one at the
/// largest are skipped.
pub(super) fn add(set: &PatternSet, effective: &[f64], found: &mut FixedPoints) -> Result<()> {
    let count = set.count();
    if !(2..=MAX_COUNT).contains(&count) {
        terminal::line(&format!("skipping saddles: only searched for 2 to {MAX_COUNT} patterns"));
        return Ok(());
    }
    let system = System::new(set)?;
    let mut track = 0;
    let pairs = (0..count).flat_map(|i| (0..i).map(move |j| (i, j))).take(PAIRS_TRIED);
    for (i, j) in pairs {
        let Some(mut weights) = system.equal_mixture(i, j) else { continue };
        if track == PAIRS {
            break;
        }
        let before = found.points.len();
        for &beta_eff in effective.iter().rev().step_by(effective.len().div_ceil(VALUES)) {
            let beta = beta_eff / set.description.scale;
            let Some(next) = system.newton(&weights, beta) else { break };
            if next[i].min(next[j]) < MIN_WEIGHT {
                break;
            }
            weights = next;
            let (branch, order) = (Branch::Saddle, set.order(system.to_mean(&weights)));
            let (energy, iterations, at_limit) = (f64::NAN, 0, false);
            let point = FixedPoint { branch, track, beta_eff, order, energy, iterations, at_limit };
            found.push(set, point, weights.iter().map(|&w| w as f32).collect());
        }
        track += usize::from(found.points.len() > before);
    }
    Ok(())
}

/// `F(p) = softmax(beta (K p + k)) - p` in double precision.
struct System {
    kernel: Array2<f64>,
    bias: Array1<f64>,
}

impl System {
    fn new(set: &PatternSet) -> Result<Self> {
        let network = &set.network;
        let read = |tensor| -> Result<Array2<f64>> {
            let values: Vec<f64> = download::<2>(tensor)?.into_iter().map(f64::from).collect();
            let columns = network.dimension();
            Ok(Array2::from_shape_vec((values.len() / columns, columns), values)?)
        };
        let mean = read(network.mean())?;
        let centred = read(network.patterns() - network.mean())?;
        Ok(Self { kernel: centred.dot(&centred.t()), bias: centred.dot(&mean.row(0)) })
    }

    /// The mixture of patterns `i` and `j` with equal overlap with both, if it exists: the limit of
    /// their saddle for large `beta`.
    fn equal_mixture(&self, i: usize, j: usize) -> Option<Array1<f64>> {
        let (k, b) = (&self.kernel, &self.bias);
        let part =
            (k[[j, j]] - k[[i, j]] + b[j] - b[i]) / (k[[i, i]] + k[[j, j]] - 2.0 * k[[i, j]]);
        let mut weights = Array1::zeros(b.len());
        weights[i] = part;
        weights[j] = 1.0 - part;
        (MIN_WEIGHT..=1.0 - MIN_WEIGHT).contains(&part).then_some(weights)
    }

    fn softmax(&self, weights: &Array1<f64>, beta: f64) -> Array1<f64> {
        let overlaps = self.kernel.dot(weights) + &self.bias;
        let largest = overlaps.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let raised = overlaps.mapv(|t| (beta * (t - largest)).exp());
        &raised / raised.sum()
    }

    /// The fixed point that Newton's method finds from `start`.
    fn newton(&self, start: &Array1<f64>, beta: f64) -> Option<Array1<f64>> {
        let mut weights = start.clone();
        for _ in 0..MAX_ITERATIONS {
            let image = self.softmax(&weights, beta);
            let step = solve(&self.jacobian(&image, beta), &image - &weights)?;
            weights += &step;
            if step.iter().all(|s| s.abs() < TOLERANCE) {
                return weights.iter().all(|p| (-1e-9..=1.0 + 1e-9).contains(p)).then_some(weights);
            }
        }
        None
    }

    /// `I - beta (diag q - q q') K`.
    fn jacobian(&self, image: &Array1<f64>, beta: f64) -> Mat<f64> {
        let means = self.kernel.dot(image);
        Mat::from_fn(image.len(), image.len(), |i, j| {
            let identity = if i == j { 1.0 } else { 0.0 };
            identity - beta * image[i] * (self.kernel[[i, j]] - means[j])
        })
    }

    /// `|Y' p|`.
    fn to_mean(&self, weights: &Array1<f64>) -> f64 {
        self.kernel.dot(weights).dot(weights).max(0.0).sqrt()
    }
}

/// The solution `x` of `matrix x = right`; `None` if it is not finite.
fn solve(matrix: &Mat<f64>, right: Array1<f64>) -> Option<Array1<f64>> {
    let mut solution = Col::from_iter(right);
    matrix.partial_piv_lu().solve_in_place(&mut solution);
    solution.iter().all(|x| x.is_finite()).then(|| solution.iter().copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_is_solved_with_pivoting() {
        let matrix = faer::mat![[0.0, 2.0, 1.0], [1.0, 1.0, 0.0], [3.0, 0.0, 1.0]];
        let solution = solve(&matrix, vec![7.0, 3.0, 6.0].into()).expect("the matrix is regular");
        for (found, expected) in solution.iter().zip([1.0, 2.0, 3.0]) {
            assert!((found - expected).abs() < 1e-12, "{solution:?}");
        }
        assert_eq!(solve(&Mat::ones(2, 2), vec![1.0, 2.0].into()), None);
    }
}
