//! Precision and recall (Kynkäänniemi et al. 2019, arXiv 1904.06991), density and coverage (Naeem
//! et al. 2020, arXiv 2002.09797) of generated samples.

use anyhow::{Result, ensure};
use faer::{Mat, MatRef};
use serde::Serialize;

use crate::{features::FeatureSet, linear::product};

/// Rows of a block of the distance matrix.
const BLOCK: usize = 512;

/// The usual number of nearest neighbours.
pub(crate) const NEIGHBOURS: usize = 5;

/// At most this many images of each set are compared: memory and time grow with the square.
pub(crate) const MAX_IMAGES: usize = 10_000;

/// Precision, recall, density and coverage of samples with respect to real images.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Prdc {
    /// Share of samples inside the neighbourhood of a real image.
    pub precision: f64,
    /// Share of real images inside the neighbourhood of a sample.
    pub recall: f64,
    /// Mean number of real neighbourhoods that contain a sample, divided by `k`; may exceed 1.
    pub density: f64,
    /// Share of real images with a sample inside their neighbourhood.
    pub coverage: f64,
    /// Which nearest neighbour sets the radius of a neighbourhood, `k`.
    pub neighbours: usize,
    /// Number of real images compared.
    pub real_images: usize,
    /// Number of samples compared.
    pub samples: usize,
}

/// Compares samples with real images. The neighbourhood of a point is the open ball whose radius is
/// the distance to the `k`-th nearest other point of its own set. Only the first 10,000 images of
/// each set are compared. Each set needs more than `k`.
pub fn prdc(real: &FeatureSet, samples: &FeatureSet, k: usize) -> Result<Prdc> {
    ensure!(real.dims == samples.dims, "{} features against {}", real.dims, samples.dims);
    let enough = real.len().min(samples.len()) > k && k > 0;
    ensure!(enough, "{k} neighbours need more than {k} images in each set");
    let (real, samples) = (Points::new(real), Points::new(samples));
    let (real_radii, sample_radii) = (real.radii(k), samples.radii(k));
    let mut inside = vec![0_usize; samples.len()];
    let (mut recalled, mut covered) = (0_usize, 0_usize);
    real.for_blocks(&samples, |from, distances| {
        for row in 0..distances.nrows() {
            let radius = real_radii[from + row];
            let (mut nearest, mut is_recalled) = (f64::INFINITY, false);
            for column in 0..distances.ncols() {
                let distance = distances[(row, column)];
                inside[column] += usize::from(distance < radius);
                is_recalled |= distance < sample_radii[column];
                nearest = nearest.min(distance);
            }
            recalled += usize::from(is_recalled);
            covered += usize::from(nearest < radius);
        }
    });
    let (n, m) = (real.len() as f64, samples.len() as f64);
    Ok(Prdc {
        precision: inside.iter().filter(|&&count| count > 0).count() as f64 / m,
        recall: recalled as f64 / n,
        density: inside.iter().sum::<usize>() as f64 / (k as f64 * m),
        coverage: covered as f64 / n,
        neighbours: k,
        real_images: real.len(),
        samples: samples.len(),
    })
}

/// Feature vectors with their squared norms.
struct Points {
    rows: Mat<f64>,
    squares: Vec<f64>,
}

impl Points {
    fn new(set: &FeatureSet) -> Self {
        let count = set.len().min(MAX_IMAGES);
        let rows = Mat::from_fn(count, set.dims, |i, j| f64::from(set.row(i)[j]));
        let square = |i| set.row(i).iter().map(|&v| f64::from(v).powi(2)).sum();
        Self { rows, squares: (0..count).map(square).collect() }
    }

    fn len(&self) -> usize {
        self.squares.len()
    }

    /// Passes on the squared distances from a block of these rows to all `others`, block by block.
    fn for_blocks(&self, others: &Self, mut take: impl FnMut(usize, MatRef<'_, f64>)) {
        for from in (0..self.len()).step_by(BLOCK) {
            let count = BLOCK.min(self.len() - from);
            let block = self.rows.as_ref().subrows(from, count);
            let mut distances = product(block, others.rows.transpose(), -2.0);
            for j in 0..others.len() {
                for i in 0..count {
                    let norms = self.squares[from + i] + others.squares[j];
                    distances[(i, j)] = (distances[(i, j)] + norms).max(0.0);
                }
            }
            take(from, distances.as_ref());
        }
    }

    /// The squared distance of every row to its `k`-th nearest other row.
    fn radii(&self, k: usize) -> Vec<f64> {
        let mut radii = Vec::with_capacity(self.len());
        self.for_blocks(self, |from, distances| {
            for row in 0..distances.nrows() {
                let mut others: Vec<f64> = (0..self.len())
                    .filter(|column| *column != from + row)
                    .map(|column| distances[(row, column)])
                    .collect();
                radii.push(*others.select_nth_unstable_by(k - 1, f64::total_cmp).1);
            }
        });
        radii
    }
}

#[cfg(test)]
mod tests {
    use hvae_runtime::rng::{self, Stream};

    use super::*;
    use crate::features::tests::fixture_numbers;

    fn assert_prdc(found: Prdc, expected: [f64; 4]) {
        let found = [found.precision, found.recall, found.density, found.coverage];
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} for {expected}");
        }
    }

    #[test]
    fn a_small_case_by_hand() {
        // Radii with k = 1: real 1, 1, 8; samples 0.5, 0.5, 19.5.
        let real = FeatureSet::new(&[0.0, 1.0, 9.0], 1);
        let samples = FeatureSet::new(&[0.5, 1.0, 20.5], 1);
        let found = prdc(&real, &samples, 1).unwrap();
        // Sample 0.5 lies in the balls of 0 and 1; 1.0 in that of 1 (9 reaches to 1 only, open).
        // Real 1 and 9 lie in a sample's ball, 9 in that of 20.5.
        assert_prdc(found, [2.0 / 3.0, 2.0 / 3.0, 1.0, 2.0 / 3.0]);
    }

    /// Fixture of `scripts/evaluation_fixtures.py`: the definitions in numpy.
    #[test]
    fn scores_agree_with_numpy() {
        let expected = fixture_numbers("features.npz", "overlap");
        let (real, fake) = (FeatureSet::fixture("real"), FeatureSet::fixture("fake"));
        let found = prdc(&real, &fake, 5).unwrap();
        assert_prdc(found, [expected[0], expected[1], expected[2], expected[3]]);
    }

    #[test]
    fn identical_sets_score_one_and_distant_sets_zero() {
        let points = FeatureSet::new(&rng::normal(1, Stream::Starts, 0, 700 * 3), 3);
        let same = prdc(&points, &points, 5).unwrap();
        assert_prdc(same, [1.0, 1.0, same.density, 1.0]);
        assert!((same.density - 1.0).abs() < 1e-12, "{same:?}");
        let far = FeatureSet::new(&points.values.iter().map(|v| v + 100.0).collect::<Vec<_>>(), 3);
        assert_prdc(prdc(&points, &far, 5).unwrap(), [0.0; 4]);
        assert!(prdc(&points, &FeatureSet::new(&[0.0; 9], 3), 3).is_err());
    }
}
