//! Mean and covariance of features, in double precision and one pass.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use faer::{Mat, MatRef};
use hvae_runtime::npz::{self, Array, Loaded, Values};

use crate::{linear::add_product, origin::ENTRY, origin::Origin};

/// Rows per update of the covariance, which is one matrix product.
const BLOCK: usize = 512;

/// Mean and covariance of the features of a set of images.
#[derive(Debug, Clone)]
pub struct Statistics {
    /// `mu`, `[dims]`.
    pub(crate) mean: Vec<f64>,
    /// `sigma`, `[dims, dims]`, with `N - 1` in the denominator.
    pub(crate) covariance: Mat<f64>,
    /// Number of images, if known: a file of statistics does not hold it.
    pub(crate) count: Option<usize>,
}

impl Statistics {
    /// From a mean and a covariance in row-major order. The covariance must be symmetric, and all
    /// values finite.
    pub fn new(mean: Vec<f64>, covariance: &[f64]) -> Result<Self> {
        let dims = mean.len();
        ensure!(
            dims > 0 && covariance.len() == dims * dims,
            "a mean of {dims} and a covariance of {} numbers do not fit",
            covariance.len()
        );
        ensure!(
            mean.iter().chain(covariance).all(|value| value.is_finite()),
            "`mu` or `sigma` has values that are not finite"
        );
        let scale = covariance.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
        let covariance = MatRef::from_row_major_slice(covariance, dims, dims).to_owned();
        for i in 0..dims {
            for j in 0..i {
                let difference = (covariance[(i, j)] - covariance[(j, i)]).abs();
                ensure!(difference <= 1e-6 * scale, "`sigma` is not symmetric at [{i}, {j}]");
            }
        }
        Ok(Self { mean, covariance, count: None })
    }

    /// Number of features.
    pub fn dims(&self) -> usize {
        self.mean.len()
    }

    /// Number of images, if known.
    pub fn count(&self) -> Option<usize> {
        self.count
    }

    /// Saves `mu` and `sigma` as pytorch-fid does, and `origin` in an entry that it ignores.
    pub fn save(&self, path: &Path, origin: Option<&Origin>) -> Result<()> {
        let dims = self.dims();
        let sigma: Vec<f64> =
            (0..dims).flat_map(|i| (0..dims).map(move |j| self.covariance[(i, j)])).collect();
        let origin = origin.map(serde_json::to_vec).transpose().context("writing their origin")?;
        let entry = origin.iter().map(|bytes| (ENTRY, Array::U8(vec![bytes.len()], bytes)));
        let mut arrays = vec![
            ("mu", Array::F64(vec![dims], &self.mean)),
            ("sigma", Array::F64(vec![dims, dims], &sigma)),
        ];
        arrays.extend(entry);
        npz::save(path, &arrays)
    }

    /// Whether the `.npz` file `path` holds statistics rather than images.
    pub fn is_in(path: &Path) -> Result<bool> {
        let names = npz::names(path)?;
        Ok(["mu", "sigma"].iter().all(|wanted| names.iter().any(|name| name == wanted)))
    }

    /// Reads `mu` and `sigma`, as pytorch-fid writes them.
    pub fn load(path: &Path) -> Result<Self> {
        let read = || {
            let (mu, sigma) = (npz::load(path, "mu")?, npz::load(path, "sigma")?);
            let dims: usize = mu.shape.iter().product();
            ensure!(
                mu.shape.len() == 1 && dims > 0 && sigma.shape == [dims, dims],
                "`mu` has shape {:?} and `sigma` {:?}; expected [d] and [d, d]",
                mu.shape,
                sigma.shape
            );
            Self::new(doubles(mu)?, &doubles(sigma)?)
        };
        read().with_context(|| format!("cannot use the statistics in {}", path.display()))
    }
}

fn doubles(array: Loaded) -> Result<Vec<f64>> {
    match array.values {
        Values::F64(values) => Ok(values),
        Values::F32(values) => Ok(values.into_iter().map(f64::from).collect()),
        _ => bail!("`mu` and `sigma` must be float64 or float32"),
    }
}

/// Mean and scatter matrix of a stream of feature vectors.
///
/// Blocks are centred on their own mean and merged by the rule of Chan, Golub and `LeVeque` (1979):
///
/// ```text
/// mean    <- mean + delta n_b / (n + n_b)              delta = mean_b - mean
/// scatter <- scatter + scatter_b + delta delta^T n n_b / (n + n_b)
/// ```
#[derive(Debug)]
pub struct Accumulator {
    dims: usize,
    count: usize,
    mean: Vec<f64>,
    scatter: Mat<f64>,
    block: Vec<f64>,
}

impl Accumulator {
    /// An empty accumulator for vectors of `dims` features.
    pub fn new(dims: usize) -> Self {
        Self {
            dims,
            count: 0,
            mean: vec![0.0; dims],
            scatter: Mat::zeros(dims, dims),
            block: Vec::with_capacity(BLOCK * dims),
        }
    }

    /// Adds the features of some images, `[images, dims]` in row-major order. The error names the
    /// feature that is not finite.
    pub fn add(&mut self, features: &[f32]) -> Result<()> {
        debug_assert!(features.len().is_multiple_of(self.dims));
        for row in features.chunks(self.dims) {
            if let Some(at) = row.iter().position(|value| !value.is_finite()) {
                let image = self.count + self.block.len() / self.dims;
                bail!("feature {at} of image {image} is not finite");
            }
            self.block.extend(row.iter().copied().map(f64::from));
            if self.block.len() == BLOCK * self.dims {
                self.merge();
            }
        }
        Ok(())
    }

    fn merge(&mut self) {
        let rows = self.block.len() / self.dims;
        if rows == 0 {
            return;
        }
        let mut mean = vec![0.0; self.dims];
        for row in self.block.chunks(self.dims) {
            mean.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
        }
        for sum in &mut mean {
            *sum /= rows as f64;
        }
        for row in self.block.chunks_mut(self.dims) {
            row.iter_mut().zip(&mean).for_each(|(value, mean)| *value -= mean);
        }
        let block = MatRef::from_row_major_slice(&self.block, rows, self.dims);
        add_product(self.scatter.as_mut(), block.transpose(), block, 1.0);

        let (before, after) = (self.count as f64, (self.count + rows) as f64);
        let delta: Vec<f64> = mean.iter().zip(&self.mean).map(|(new, old)| new - old).collect();
        let delta_column = MatRef::from_column_major_slice(&delta, self.dims, 1);
        let weight = before * rows as f64 / after;
        add_product(self.scatter.as_mut(), delta_column, delta_column.transpose(), weight);
        for (mean, delta) in self.mean.iter_mut().zip(&delta) {
            *mean += delta * rows as f64 / after;
        }
        self.count += rows;
        self.block.clear();
    }

    /// The statistics of all images added. There must be at least two.
    pub fn finish(mut self) -> Result<Statistics> {
        self.merge();
        ensure!(self.count >= 2, "{} images have no covariance: at least 2 are needed", self.count);
        let scale = 1.0 / (self.count - 1) as f64;
        // The matrix product may round [i, j] and [j, i] differently.
        let symmetric = |i, j| 0.5 * scale * (self.scatter[(i, j)] + self.scatter[(j, i)]);
        let covariance = Mat::from_fn(self.dims, self.dims, symmetric);
        Ok(Statistics { mean: self.mean, covariance, count: Some(self.count) })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use hvae_runtime::rng::{self, Stream};

    use super::*;

    /// Statistics of `rows` random features, correlated and far from zero.
    pub(crate) fn random(
        rows: usize,
        dims: usize,
        seed: u64,
        offset: f32,
    ) -> (Vec<f32>, Statistics) {
        let noise = rng::normal(seed, Stream::Starts, 0, rows * dims);
        let feature = |(at, v): (usize, &f32)| {
            offset + v * (1.0 + (at % dims) as f32) + noise[at - at % dims]
        };
        let features: Vec<f32> = noise.iter().enumerate().map(feature).collect();
        let mut accumulator = Accumulator::new(dims);
        accumulator.add(&features).unwrap();
        (features, accumulator.finish().unwrap())
    }

    #[test]
    fn one_pass_equals_two_passes_far_from_zero_in_any_batches() {
        let (rows, dims) = (BLOCK + 77, 5);
        let (features, found) = random(rows, dims, 3, 1000.0);
        let column = |j: usize| features.iter().skip(j).step_by(dims).map(|v| f64::from(*v));
        for i in 0..dims {
            let mean_i = column(i).sum::<f64>() / rows as f64;
            assert!((found.mean[i] - mean_i).abs() < 1e-9, "{i}");
            for j in 0..dims {
                let mean_j = column(j).sum::<f64>() / rows as f64;
                let products = column(i).zip(column(j)).map(|(a, b)| (a - mean_i) * (b - mean_j));
                let expected = products.sum::<f64>() / (rows - 1) as f64;
                let value = found.covariance[(i, j)];
                assert!((value - expected).abs() < 1e-9 * expected.abs().max(1.0), "{i} {j}");
            }
        }
        assert_eq!(found.count, Some(rows));
        let mut pieces = Accumulator::new(dims);
        for piece in features.chunks(dims * 7) {
            pieces.add(piece).unwrap();
        }
        let pieces = pieces.finish().unwrap();
        assert_eq!((pieces.mean, pieces.covariance), (found.mean, found.covariance));
    }

    #[test]
    fn non_finite_features_are_located() {
        let mut accumulator = Accumulator::new(2);
        accumulator.add(&[1.0, 2.0]).unwrap();
        let message = accumulator.add(&[1.0, 2.0, 3.0, f32::NAN]).unwrap_err().to_string();
        assert!(message.contains("feature 1 of image 2"), "{message}");
        let one = Accumulator::new(2);
        assert!(one.finish().unwrap_err().to_string().contains("at least 2"));
    }

    #[test]
    fn statistics_survive_the_file() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("statistics.npz");
        let (_, statistics) = random(50, 4, 5, 0.0);
        statistics.save(&path, None).unwrap();
        assert!(Statistics::is_in(&path).unwrap());
        let loaded = Statistics::load(&path).unwrap();
        assert_eq!((loaded.mean, loaded.count), (statistics.mean, None));
        assert_eq!(loaded.covariance, statistics.covariance);
    }

    #[test]
    fn invalid_statistics_files_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("statistics.npz");
        let array = |shape: &[usize], values| Array::F64(shape.to_vec(), values);
        let one = || array(&[1], &[0.0]);
        for (mu, sigma, part) in [
            (array(&[2], &[0.0; 2]), array(&[2, 1], &[0.0; 2]), "[2, 1]"),
            (array(&[2], &[0.0; 2]), array(&[2, 2], &[1.0, 0.5, 0.0, 1.0]), "not symmetric"),
            (one(), array(&[1, 1], &[f64::NAN]), "not finite"),
            (Array::U8(vec![1], &[0]), array(&[1, 1], &[0.0]), "float64"),
        ] {
            npz::save(&path, &[("mu", mu), ("sigma", sigma)]).unwrap();
            let message = format!("{:#}", Statistics::load(&path).unwrap_err());
            assert!(message.contains(part) && message.contains("statistics.npz"), "{message}");
        }
        npz::save(&path, &[("mu", one())]).unwrap();
        assert!(!Statistics::is_in(&path).unwrap());
        assert!(format!("{:#}", Statistics::load(&path).unwrap_err()).contains("sigma"));
    }
}
