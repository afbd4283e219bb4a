//! The Fréchet distance between two Gaussians; with Inception features it is FID.

use anyhow::{Context, Result, ensure};
use faer::Mat;

use crate::{linear::eigen, linear::product, linear::singular_values, statistics::Statistics};

/// Most negative eigenvalue of a covariance, relative to the largest, that rounding explains.
const MAX_NEGATIVE: f64 = 1e-4;

/// `|m1 - m2|^2 + tr(S1) + tr(S2) - 2 tr((S1^1/2 S2 S1^1/2)^1/2)` (Dowson & Landau 1982; as FID,
/// Heusel et al. 2017, arXiv 1706.08500).
///
/// With `S = F F^T` the last trace is the sum of the singular values of `F1^T F2`. `F` comes from a
/// symmetric eigendecomposition without the eigenvalues at rounding level, so singular covariances
/// are exact and the distance from a set to itself is 0.
pub fn frechet_distance(a: &Statistics, b: &Statistics) -> Result<f64> {
    ensure!(
        a.dims() == b.dims(),
        "{} features against {}: the statistics are not of the same network",
        a.dims(),
        b.dims()
    );
    let means: f64 = a.mean.iter().zip(&b.mean).map(|(a, b)| (a - b).powi(2)).sum();
    let traces = trace(&a.covariance) + trace(&b.covariance);
    let (first, second) = (factor(&a.covariance)?, factor(&b.covariance)?);
    let root_trace: f64 = if first.ncols() == 0 || second.ncols() == 0 {
        0.0
    } else {
        let product = product(first.transpose(), second.as_ref(), 1.0);
        singular_values(product.as_ref())?.iter().sum()
    };
    let distance = means + traces - 2.0 * root_trace;
    ensure!(distance.is_finite(), "the distance overflows");
    // Negative only by rounding.
    Ok(distance.max(0.0))
}

fn trace(matrix: &Mat<f64>) -> f64 {
    (0..matrix.nrows()).map(|i| matrix[(i, i)]).sum()
}

/// `F` with `F F^T = S`, `[d, rank of S]`: eigenvectors scaled by the roots of their eigenvalues.
/// Eigenvalues at rounding level are dropped.
fn factor(covariance: &Mat<f64>) -> Result<Mat<f64>> {
    let dims = covariance.nrows();
    let (values, vectors) = eigen(covariance.as_ref()).context("decomposing a covariance")?;
    let largest = values.iter().map(|value| value.abs()).fold(0.0, f64::max);
    let lowest = values.iter().copied().fold(0.0, f64::min);
    ensure!(
        lowest >= -MAX_NEGATIVE * largest,
        "not a covariance: eigenvalue {lowest:.3e} (largest {largest:.3e})"
    );
    let threshold = dims as f64 * f64::EPSILON * largest;
    let kept: Vec<usize> = (0..dims).filter(|&i| values[i] > threshold).collect();
    Ok(Mat::from_fn(dims, kept.len(), |i, j| vectors[(i, kept[j])] * values[kept[j]].sqrt()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{features::tests::fixture_numbers, statistics::tests::random};

    fn diagonal(mean: &[f64], variances: &[f64]) -> Statistics {
        let dims = mean.len();
        let entry = |i, j| if i == j { variances[i] } else { 0.0 };
        Statistics { mean: mean.to_vec(), covariance: Mat::from_fn(dims, dims, entry), count: None }
    }

    #[test]
    fn diagonal_gaussians_have_the_known_distance() {
        let a = diagonal(&[0.0, 1.0], &[4.0, 9.0]);
        let b = diagonal(&[1.0, -1.0], &[1.0, 0.0]);
        // 1 + 4 + (2 - 1)^2 + (3 - 0)^2
        assert!((frechet_distance(&a, &b).unwrap() - 15.0).abs() < 1e-12);
        assert!((frechet_distance(&b, &a).unwrap() - 15.0).abs() < 1e-12);
    }

    #[test]
    fn distance_to_itself_is_zero() {
        // Fewer rows than features: the covariance is singular.
        for rows in [20, 2000] {
            let (_, statistics) = random(rows, 64, 8, 3.0);
            let distance = frechet_distance(&statistics, &statistics).unwrap();
            assert!(distance < 1e-10 * trace(&statistics.covariance), "{distance}");
        }
        let point = diagonal(&[3.0], &[0.0]);
        assert!(frechet_distance(&point, &point).unwrap().abs() < f64::EPSILON);
    }

    /// Fixture of `scripts/evaluation_fixtures.py`: distances of pytorch-fid, by scipy's `sqrtm`.
    #[test]
    fn distances_agree_with_pytorch_fid() {
        let doubles = |name: &str| fixture_numbers("distance.npz", name);
        for case in ["full", "singular", "near", "scaled"] {
            let load = |set: &str| {
                let mean = doubles(&format!("{case}_{set}_mu"));
                Statistics::new(mean, &doubles(&format!("{case}_{set}_sigma"))).unwrap()
            };
            let expected = doubles(&format!("{case}_distance"))[0];
            let found = frechet_distance(&load("a"), &load("b")).unwrap();
            assert!((found - expected).abs() <= 1e-6 * expected, "{case}: {found} for {expected}");
        }
    }

    #[test]
    fn mismatched_statistics_are_refused() {
        let (a, b) = (diagonal(&[0.0], &[1.0]), diagonal(&[0.0; 2], &[1.0; 2]));
        assert!(frechet_distance(&a, &b).unwrap_err().to_string().contains("1 features"));
        let negative = diagonal(&[0.0; 2], &[1.0, -1.0]);
        assert!(frechet_distance(&negative, &b).unwrap_err().to_string().contains("eigenvalue"));
    }
}
