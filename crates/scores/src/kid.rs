//! Kernel Inception distance: squared maximum mean discrepancy under a cubic polynomial kernel
//! (Binkowski et al. 2018, arXiv 1801.01401).

use anyhow::{Result, ensure};
use faer::{Mat, MatRef};
use hvae_runtime::rng::{self, Stream};
use rand::seq::index::sample;
use serde::Serialize;

use crate::{features::FeatureSet, linear::product};

/// The usual number of subsets.
pub(crate) const SUBSETS: usize = 100;
/// The usual number of images of each set in a subset.
pub(crate) const SUBSET_SIZE: usize = 1000;

/// A kernel distance as mean over subsets.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Kid {
    /// Mean over the subsets. The estimate is unbiased, so it may be negative.
    pub mean: f64,
    /// Standard deviation over the subsets, if there are several.
    pub deviation: Option<f64>,
    /// Number of subsets.
    pub subsets: usize,
    /// Images of each set in a subset; of the larger set if both are used whole.
    pub size: usize,
}

impl std::fmt::Display for Kid {
    /// Mean and, if there is one, standard deviation.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.6}", self.mean)?;
        self.deviation.map_or(Ok(()), |deviation| write!(f, " +- {deviation:.6}"))
    }
}

/// The unbiased estimate with the kernel `(x.y / d + 1)^3`, averaged over `subsets` random subsets
/// of at most `size` images, drawn from `seed`. If both sets fit into one subset, each is used once
/// and whole. Each set needs two images.
pub fn kid(a: &FeatureSet, b: &FeatureSet, subsets: usize, size: usize, seed: u64) -> Result<Kid> {
    ensure!(a.dims == b.dims, "{} features against {}", a.dims, b.dims);
    let fewest = a.len().min(b.len());
    ensure!(fewest >= 2 && subsets >= 1, "KID needs at least two images in each set");
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
    Ok(Kid { mean, deviation, subsets, size })
}

/// `mean k(x, x') + mean k(y, y') - 2 mean k(x, y)` over pairs of different images.
fn discrepancy(x: MatRef<'_, f64>, y: MatRef<'_, f64>) -> f64 {
    let (m, n) = (x.nrows() as f64, y.nrows() as f64);
    let within = |x: MatRef<'_, f64>| {
        let (all, diagonal) = kernel_sums(x, x);
        all - diagonal
    };
    let between = kernel_sums(x, y).0;
    within(x) / (m * (m - 1.0)) + within(y) / (n * (n - 1.0)) - 2.0 * between / (m * n)
}

/// The sum of all `k(x_i, y_j)` and that of the diagonal `i = j`.
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
mod tests {
    use super::*;
    use crate::features::tests::fixture_numbers;

    #[test]
    fn small_cases_by_hand() {
        let mut case = (FeatureSet::new(&[1.0, 3.0], 1), FeatureSet::new(&[0.0, 2.0], 1));
        // k(1,3)=4^3, k(0,2)=1, pairs between: 1, 27, 1, 343; d = 1.
        let found = kid(&case.0, &case.1, 1, 10, 0).unwrap();
        let expected = 64.0 + 1.0 - 2.0 * (1.0 + 27.0 + 1.0 + 343.0) / 4.0;
        assert!((found.mean - expected).abs() < 1e-9, "{found:?}");
        assert_eq!((found.size, found.subsets, found.deviation), (2, 1, None));
        // k(0,2)=1, k(0,1)=1, k(2,1)=27; between: 1, 27, 8 and 1, 343, 64. Both fit into a subset.
        case.1.values.push(1.0);
        let found = kid(&case.0, &case.1, 100, 10, 0).unwrap();
        let expected = 64.0 + 29.0 / 3.0 - 2.0 * (1.0 + 27.0 + 8.0 + 1.0 + 343.0 + 64.0) / 6.0;
        assert!((found.mean - expected).abs() < 1e-9, "{found:?}");
        assert_eq!((found.subsets, found.deviation), (1, None));
        let drawn = kid(&case.0, &case.1, 100, 2, 0).unwrap();
        assert!(drawn.subsets == 100 && drawn.deviation.unwrap() > 0.0, "{drawn:?}");
    }

    /// Fixture of `scripts/evaluation_fixtures.py`: the definition in numpy.
    #[test]
    fn kid_agrees_with_numpy() {
        let (real, fake) = (FeatureSet::fixture("real"), FeatureSet::fixture("fake"));
        let real = FeatureSet::new(&real.values[..50 * 6], 6);
        let found = kid(&fake, &real, 1, 50, 3).unwrap().mean;
        let expected = fixture_numbers("features.npz", "kid")[0];
        assert!((found - expected).abs() < 1e-12, "{found} for {expected}");
    }

    #[test]
    fn kid_is_near_zero_for_equal_distributions_only() {
        let draw = |seed| FeatureSet::new(&rng::normal(seed, Stream::Starts, 0, 400 * 4), 4);
        let mut shifted = draw(3);
        shifted.values.iter_mut().for_each(|v| *v += 0.7);
        let same = kid(&draw(1), &draw(2), 20, 100, 1).unwrap();
        let other = kid(&draw(1), &shifted, 20, 100, 1).unwrap();
        // Five standard errors of the mean over the subsets.
        let deviation = same.deviation.unwrap();
        assert!(same.mean.abs() < 5.0 * deviation / 20.0_f64.sqrt() + 0.02, "{same:?}");
        assert!(other.mean > 0.5, "{other:?}");
        assert_eq!(same, kid(&draw(1), &draw(2), 20, 100, 1).unwrap());
        assert!(kid(&FeatureSet::new(&[1.0], 1), &draw(1), 1, 10, 0).is_err());
    }
}
