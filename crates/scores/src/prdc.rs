//! Precision, recall, density and coverage: how two sets of features overlap.

use crate::linear::product;
use anyhow::{Result, ensure};
use faer::{Mat, MatRef};

use crate::FeatureSet;

/// Rows of a block of distances.
const BLOCK: usize = 512;

/// The `k` of the usual protocol.
pub const NEIGHBOURS: usize = 5;

/// More images of a set than this are left out: memory and time grow with the square.
pub const LARGEST: usize = 10_000;

/// How the samples of a model lie among real images.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Overlap {
    /// Share of samples within the neighbourhood of a real image.
    pub precision: f64,
    /// Share of real images within the neighbourhood of a sample.
    pub recall: f64,
    /// Real neighbourhoods that a sample lies in, as a share of `k`; may exceed 1.
    pub density: f64,
    /// Share of real images with a sample in their neighbourhood.
    pub coverage: f64,
    /// Which nearest neighbour bounds a neighbourhood.
    pub neighbours: usize,
    /// Real images and samples that were compared.
    pub images: [usize; 2],
}

/// Compares samples with real images. The neighbourhood of a point is the ball that reaches to the
/// `k`-th nearest other point of its own set; of either set the first [`LARGEST`] count (Kynkäänniemi et al. 2019, arXiv 1904.06991; density
/// and coverage: Naeem et al. 2020, arXiv 2002.09797).
///
/// # Errors
///
/// When a set has no `k` other points or the features differ in length.
pub fn overlap(real: &FeatureSet, samples: &FeatureSet, k: usize) -> Result<Overlap> {
    ensure!(real.dims == samples.dims, "{} features against {}", real.dims, samples.dims);
    let enough = real.len().min(samples.len()) > k && k > 0;
    ensure!(enough, "{k} neighbours need more than {k} images of each set");
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
    let images = [real.len(), samples.len()];
    let [n, m] = images.map(|count| count as f64);
    Ok(Overlap {
        precision: inside.iter().filter(|&&count| count > 0).count() as f64 / m,
        recall: recalled as f64 / n,
        density: inside.iter().sum::<usize>() as f64 / (k as f64 * m),
        coverage: covered as f64 / n,
        neighbours: k,
        images,
    })
}

/// A set of features with their squared lengths.
struct Points {
    rows: Mat<f64>,
    squares: Vec<f64>,
}

impl Points {
    fn new(set: &FeatureSet) -> Self {
        let count = set.len().min(LARGEST);
        let rows = Mat::from_fn(count, set.dims, |i, j| f64::from(set.row(i)[j]));
        let square = |i| set.row(i).iter().map(|&v| f64::from(v).powi(2)).sum();
        Self { rows, squares: (0..count).map(square).collect() }
    }

    fn len(&self) -> usize {
        self.squares.len()
    }

    /// Hands over the squared distances of a block of these rows to all of `others`.
    fn for_blocks(&self, others: &Self, mut take: impl FnMut(usize, MatRef<'_, f64>)) {
        for from in (0..self.len()).step_by(BLOCK) {
            let count = BLOCK.min(self.len() - from);
            let block = self.rows.as_ref().subrows(from, count);
            let mut distances = product(block, others.rows.transpose(), -2.0);
            for j in 0..others.len() {
                for i in 0..count {
                    let lengths = self.squares[from + i] + others.squares[j];
                    distances[(i, j)] = (distances[(i, j)] + lengths).max(0.0);
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
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use super::*;
    use hvae_runtime::rng;
    use hvae_runtime::rng::Stream;

    fn set(values: &[f32], dims: usize) -> FeatureSet {
        FeatureSet { dims, values: values.to_vec() }
    }

    fn assert_overlap(found: Overlap, expected: [f64; 4]) {
        let found = [found.precision, found.recall, found.density, found.coverage];
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-12, "{found} for {expected}");
        }
    }

    #[test]
    fn a_small_case_by_hand() {
        // Radii with k = 1: real 1, 1, 8; samples 0.5, 0.5, 19.5.
        let real = set(&[0.0, 1.0, 9.0], 1);
        let samples = set(&[0.5, 1.0, 20.5], 1);
        let found = overlap(&real, &samples, 1).unwrap();
        // Sample 0.5 lies in the balls of 0 and 1; 1.0 in that of 1 (9 reaches to 1 only, open).
        // Real 1 and 9 lie in a sample's ball, 9 in that of 20.5.
        assert_overlap(found, [2.0 / 3.0, 2.0 / 3.0, 1.0, 2.0 / 3.0]);
    }

    /// A fixture of `scripts/evaluation_fixtures.py`, which computes it in plain numpy.
    #[test]
    fn it_agrees_with_the_definition_in_numpy() {
        let expected = FeatureSet::fixture_numbers("overlap");
        let (real, fake) = (FeatureSet::fixture("real"), FeatureSet::fixture("fake"));
        let found = overlap(&real, &fake, 5).unwrap();
        assert_overlap(found, [expected[0], expected[1], expected[2], expected[3]]);
    }

    #[test]
    fn equal_and_far_sets_are_the_extremes() {
        let points = set(&rng::normal(1, Stream::Starts, 0, 700 * 3), 3);
        let same = overlap(&points, &points, 5).unwrap();
        assert_overlap(same, [1.0, 1.0, same.density, 1.0]);
        // Every sample lies in its own ball and in those of the points that count it as neighbour.
        assert!((same.density - 1.0).abs() < 1e-12, "{same:?}");
        let far = set(&points.values.iter().map(|v| v + 100.0).collect::<Vec<_>>(), 3);
        assert_overlap(overlap(&points, &far, 5).unwrap(), [0.0; 4]);
        assert!(overlap(&points, &set(&[0.0; 9], 3), 3).is_err());
    }
}
