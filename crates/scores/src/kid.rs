//! Kernel distance: the squared maximum mean discrepancy under a cubic polynomial kernel.

use crate::linear::product;
use anyhow::{Result, ensure};
use faer::{Mat, MatRef};
use rand::seq::index::sample;

use crate::FeatureSet;
use hvae_runtime::rng;
use hvae_runtime::rng::Stream;

/// Subsets, and images of each set in one, as KID is usually taken.
pub const SUBSETS: usize = 100;
/// See [`SUBSETS`].
pub const SUBSET_SIZE: usize = 1000;

/// A kernel distance as mean over subsets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KernelDistance {
    /// Mean over the subsets. Unbiased, so that it may fall below 0.
    pub mean: f64,
    /// Standard deviation over the subsets, if there are several.
    pub deviation: Option<f64>,
    /// How many subsets.
    pub subsets: usize,
    /// Images of each set in a subset, or fewer of a set that has fewer.
    pub size: usize,
}

impl std::fmt::Display for KernelDistance {
    /// The mean, with the deviation if there is one.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.6}", self.mean)?;
        self.deviation.map_or(Ok(()), |deviation| write!(f, " +- {deviation:.6}"))
    }
}

/// The unbiased estimate with the kernel `(x.y / d + 1)^3` (KID: Binkowski et al. 2018, arXiv
/// 1801.01401), over `subsets` random subsets of at most `size` images, drawn from `seed`.
///
/// # Errors
///
/// When a set has fewer than two images or the features differ in length.
pub fn kernel_distance(
    a: &FeatureSet,
    b: &FeatureSet,
    subsets: usize,
    size: usize,
    seed: u64,
) -> Result<KernelDistance> {
    ensure!(a.dims == b.dims, "{} features against {}", a.dims, b.dims);
    let fewest = a.len().min(b.len());
    ensure!(fewest >= 2 && subsets >= 1, "a kernel distance needs at least two images of each set");
    // Small sets are taken whole: subsets of all images are one and the same.
    let whole = a.len() <= size && b.len() <= size;
    let (subsets, size) =
        if whole { (1, a.len().max(b.len())) } else { (subsets, size.min(fewest)) };
    let mut values = Vec::with_capacity(subsets);
    for subset in 0..subsets {
        let mut rng = rng::generator(seed, Stream::Subsets, subset as u64);
        let mut draw = |set: &FeatureSet| {
            let rows = sample(&mut rng, set.len(), size.min(set.len())).into_vec();
            Mat::from_fn(rows.len(), set.dims, |i, j| f64::from(set.row(rows[i])[j]))
        };
        let (x, y) = (draw(a), draw(b));
        values.push(discrepancy(x.as_ref(), y.as_ref()));
    }
    let n = subsets as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n;
    let deviation = (subsets > 1).then(|| variance.sqrt());
    Ok(KernelDistance { mean, deviation, subsets, size })
}

/// `mean k(x, x') + mean k(y, y') - 2 mean k(x, y)`, without pairs of an image with itself.
fn discrepancy(x: MatRef<'_, f64>, y: MatRef<'_, f64>) -> f64 {
    let (m, n) = (x.nrows() as f64, y.nrows() as f64);
    let within = |x: MatRef<'_, f64>| {
        let (all, diagonal) = kernel_sums(x, x);
        all - diagonal
    };
    let between = kernel_sums(x, y).0;
    within(x) / (m * (m - 1.0)) + within(y) / (n * (n - 1.0)) - 2.0 * between / (m * n)
}

/// The sum of all `k(x_i, y_j)`, and that of those with `i = j`.
fn kernel_sums(x: MatRef<'_, f64>, y: MatRef<'_, f64>) -> (f64, f64) {
    let products = product(x, y.transpose(), 1.0 / x.ncols() as f64);
    let (mut all, mut diagonal) = (0.0, 0.0);
    for j in 0..y.nrows() {
        for i in 0..x.nrows() {
            let kernel = (products[(i, j)] + 1.0).powi(3);
            all += kernel;
            diagonal += if i == j { kernel } else { 0.0 };
        }
    }
    (all, diagonal)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use super::*;

    fn set(values: &[f32], dims: usize) -> FeatureSet {
        FeatureSet { dims, values: values.to_vec() }
    }

    #[test]
    fn a_small_case_by_hand() {
        // k(1,3)=4^3, k(0,2)=1, pairs between: 1, 27, 1, 343; d = 1.
        let (a, b) = (set(&[1.0, 3.0], 1), set(&[0.0, 2.0], 1));
        let found = kernel_distance(&a, &b, 1, 10, 0).unwrap();
        let expected = 64.0 + 1.0 - 2.0 * (1.0 + 27.0 + 1.0 + 343.0) / 4.0;
        assert!((found.mean - expected).abs() < 1e-9, "{found:?}");
        assert_eq!((found.size, found.subsets, found.deviation), (2, 1, None));
    }

    /// Whatever their numbers, sets that fit into a subset are compared once, whole.
    #[test]
    fn small_sets_are_taken_whole() {
        let (a, b) = (set(&[1.0, 3.0], 1), set(&[0.0, 2.0, 1.0], 1));
        let found = kernel_distance(&a, &b, 100, 10, 0).unwrap();
        // k(0,2)=1, k(0,1)=1, k(2,1)=27; between: 1, 27, 8 and 1, 343, 64.
        let expected = 64.0 + 29.0 / 3.0 - 2.0 * (1.0 + 27.0 + 8.0 + 1.0 + 343.0 + 64.0) / 6.0;
        assert!((found.mean - expected).abs() < 1e-9, "{found:?}");
        assert_eq!((found.subsets, found.deviation), (1, None));
        let drawn = kernel_distance(&a, &b, 100, 2, 0).unwrap();
        assert!(drawn.subsets == 100 && drawn.deviation.unwrap() > 0.0, "{drawn:?}");
    }

    /// A fixture of `scripts/evaluation_fixtures.py`, which computes it in plain numpy.
    #[test]
    fn it_agrees_with_the_definition_in_numpy() {
        let (real, fake) = (FeatureSet::fixture("real"), FeatureSet::fixture("fake"));
        // Subsets as large as the sets: all of them, in any order.
        let real = set(&real.values[..50 * 6], 6);
        let found = kernel_distance(&fake, &real, 1, 50, 3).unwrap().mean;
        let expected = FeatureSet::fixture_numbers("kid")[0];
        assert!((found - expected).abs() < 1e-12, "{found} for {expected}");
    }

    #[test]
    fn it_is_about_zero_for_one_distribution_and_not_for_two() {
        let draw = |seed| set(&rng::normal(seed, Stream::Starts, 0, 400 * 4), 4);
        let mut shifted = draw(3);
        shifted.values.iter_mut().for_each(|v| *v += 0.7);
        let same = kernel_distance(&draw(1), &draw(2), 20, 100, 1).unwrap();
        let other = kernel_distance(&draw(1), &shifted, 20, 100, 1).unwrap();
        // Five standard errors of the mean over the subsets.
        let deviation = same.deviation.unwrap();
        assert!(same.mean.abs() < 5.0 * deviation / 20.0_f64.sqrt() + 0.02, "{same:?}");
        assert!(other.mean > 0.5, "{other:?}");
        assert_eq!(same, kernel_distance(&draw(1), &draw(2), 20, 100, 1).unwrap());
        assert!(kernel_distance(&set(&[1.0], 1), &draw(1), 1, 10, 0).is_err());
    }
}
