//! Ex-post density estimation: a Gaussian mixture fitted to the latents of a trained model, to
//! sample from in place of the prior (GMM, 10 components; Ghosh et al. 2020, arXiv 1903.12436).

use anyhow::{Context, Result, anyhow, ensure};
use hvae_runtime::rng::{self, Stream};
use hvae_scores::linear;
use linfa::{DatasetBase, traits::Fit};
use linfa_clustering::GaussianMixtureModel;
use ndarray::Array2;
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::{Xoshiro256Plus, rand_core::SeedableRng};

/// Components of the mixture of the evaluation protocol.
pub(crate) const COMPONENTS: usize = 10;
/// Added to every variance of the standardised latents.
const REGULARISATION: f64 = 1e-6;
/// Most EM iterations.
const MAX_ITERATIONS: u64 = 500;
/// Change of the mean log-likelihood at which EM ends, as in scikit-learn, which the paper used.
const TOLERANCE: f64 = 1e-3;

/// A fitted mixture `sum_k pi_k N(mu_k, L_k L_k^T)`.
#[derive(Debug, Clone)]
pub(crate) struct Mixture {
    dims: usize,
    /// Cumulative weights of the components; the last is 1.
    cumulative: Vec<f64>,
    /// Means, `[components, dims]`.
    means: Vec<f64>,
    /// Cholesky factors `L_k`, `[components, dims, dims]`.
    roots: Vec<f64>,
}

/// Fits `components` Gaussians with full covariances to `latents` (`[rows, dims]`) by expectation
/// maximisation (EM), initialised by k-means. Deterministic in `latents` and `seed`.
pub(crate) fn fit(latents: &[f32], dims: usize, components: usize, seed: u64) -> Result<Mixture> {
    let rows = latents.len() / dims.max(1);
    ensure!(
        dims > 0 && components > 0 && rows >= components * (dims + 1),
        "a mixture of {components} Gaussians of {dims} dimensions needs at least {} latents, not \
         {rows}",
        components * (dims + 1)
    );
    ensure!(latents.iter().all(|value| value.is_finite()), "a latent is not finite");
    let (centre, scale) = moments(latents, dims);
    // Standardised, so that the fit neither under- nor overflows.
    let unit =
        |(at, &value): (usize, &f32)| (f64::from(value) - centre[at % dims]) / scale[at % dims];
    let records: Vec<f64> = latents.iter().enumerate().map(unit).collect();
    let records = Array2::from_shape_vec((rows, dims), records).context("latents as an array")?;
    let model =
        GaussianMixtureModel::params_with_rng(components, Xoshiro256Plus::seed_from_u64(seed))
            .n_runs(1)
            .reg_covariance(REGULARISATION)
            .tolerance(TOLERANCE)
            .max_n_iterations(MAX_ITERATIONS)
            .fit(&DatasetBase::from(records))
            .map_err(|error| anyhow!("{error}"))
            .with_context(|| format!("fitting {components} Gaussians to {rows} latents"))?;

    let (mut cumulative, mut sum) = (Vec::with_capacity(components), 0.0);
    for weight in model.weights() {
        ensure!(
            weight.is_finite() && *weight >= 0.0,
            "a component of the mixture has weight {weight}"
        );
        sum += weight;
        cumulative.push(sum);
    }
    ensure!((sum - 1.0).abs() < 1e-6, "the weights of the mixture add up to {sum}");
    let means = model.means().iter().enumerate();
    let means = means.map(|(at, mean)| mean * scale[at % dims] + centre[at % dims]).collect();
    let mut roots = Vec::with_capacity(components * dims * dims);
    for component in 0..components {
        let entry = |i: usize, j: usize| model.covariances()[[component, i, j]];
        let root = cholesky(dims, entry)
            .with_context(|| format!("the covariance of component {component} is singular"))?;
        roots.extend(root.iter().enumerate().map(|(at, value)| value * scale[at / dims]));
    }
    Ok(Mixture { dims, cumulative, means, roots })
}

impl Mixture {
    /// `count` latents, `[count, dims]`; deterministic in `seed`.
    pub(crate) fn sample(&self, count: usize, seed: u64) -> Vec<f32> {
        let mut rng = rng::generator(seed, Stream::Mixture, 0);
        let mut latents = Vec::with_capacity(count * self.dims);
        for _ in 0..count {
            let uniform: f64 = rng.random();
            let component = self.cumulative.iter().position(|&sum| uniform < sum);
            let component = component.unwrap_or(self.cumulative.len() - 1);
            let noise: Vec<f64> = (0..self.dims).map(|_| StandardNormal.sample(&mut rng)).collect();
            let mean = &self.means[component * self.dims..][..self.dims];
            let root = &self.roots[component * self.dims * self.dims..][..self.dims * self.dims];
            for (row, mean) in root.chunks(self.dims).zip(mean) {
                let deviation: f64 = row.iter().zip(&noise).map(|(a, b)| a * b).sum();
                latents.push((mean + deviation) as f32);
            }
        }
        latents
    }
}

/// Mean and standard deviation of each dimension; 1 in place of a deviation of 0.
fn moments(latents: &[f32], dims: usize) -> (Vec<f64>, Vec<f64>) {
    let rows = (latents.len() / dims) as f64;
    let mut mean = vec![0.0; dims];
    for (at, &value) in latents.iter().enumerate() {
        mean[at % dims] += f64::from(value) / rows;
    }
    let mut variance = vec![0.0; dims];
    for (at, &value) in latents.iter().enumerate() {
        variance[at % dims] += (f64::from(value) - mean[at % dims]).powi(2) / rows;
    }
    let unit = |variance: f64| if variance > 0.0 { variance.sqrt() } else { 1.0 };
    (mean, variance.into_iter().map(unit).collect())
}

/// The Cholesky factor of `A` in row-major order; `None` when `A` is not positive definite.
fn cholesky(dims: usize, entry: impl Fn(usize, usize) -> f64) -> Option<Vec<f64>> {
    let matrix = faer::Mat::from_fn(dims, dims, entry);
    let lower = linear::cholesky(matrix.as_ref()).ok()?;
    Some((0..dims * dims).map(|at| lower[(at / dims, at % dims)]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two clusters, one with correlated dimensions, the second dimension on a much smaller scale.
    fn clusters(count: usize) -> Vec<f32> {
        let noise = rng::normal(5, Stream::Starts, 0, 2 * count);
        let place = |(i, pair): (usize, &[f32])| {
            if i % 4 == 0 {
                [10.0 + 0.5 * pair[0], 1e-3 * (5.0 + pair[1])]
            } else {
                [pair[0], 1e-3 * (pair[0] + 0.3 * pair[1])]
            }
        };
        noise.chunks(2).enumerate().flat_map(place).collect()
    }

    #[test]
    fn samples_have_the_moments_of_the_clusters() {
        let mixture = fit(&clusters(4000), 2, 2, 1).unwrap();
        let samples = mixture.sample(20_000, 3);
        let right: Vec<_> = samples.chunks(2).filter(|s| s[0] > 5.0).collect();
        let left: Vec<_> = samples.chunks(2).filter(|s| s[0] <= 5.0).collect();
        let share = right.len() as f32 / 20_000.0;
        assert!((share - 0.25).abs() < 0.03, "{share}");
        let mean = |set: &[&[f32]], axis: usize| {
            set.iter().map(|s| s[axis]).sum::<f32>() / set.len() as f32
        };
        assert!((mean(&right, 0) - 10.0).abs() < 0.1 && mean(&left, 0).abs() < 0.1);
        assert!((mean(&right, 1) - 5e-3).abs() < 2e-4 && mean(&left, 1).abs() < 2e-4);
        // The covariance of the left cluster is 1e-3.
        let covariance = left.iter().map(|s| s[0] * s[1]).sum::<f32>() / left.len() as f32;
        assert!((covariance - 1e-3).abs() < 1.5e-4, "{covariance}");
    }

    #[test]
    fn equal_seeds_give_equal_mixtures_and_samples() {
        let (latents, draw) = (clusters(500), |m: &Mixture| m.sample(50, 2));
        let (a, b) = (fit(&latents, 2, 3, 7).unwrap(), fit(&latents, 2, 3, 7).unwrap());
        assert_eq!(draw(&a), draw(&b));
        assert_ne!(a.sample(50, 3), a.sample(50, 2));
    }

    #[test]
    fn degenerate_latents_are_fitted_or_refused() {
        // A dimension without variance stays at zero.
        let latents: Vec<f32> = clusters(500).chunks(2).flat_map(|p| [p[0], 0.0]).collect();
        let samples = fit(&latents, 2, 2, 1).unwrap().sample(100, 1);
        assert!(samples.iter().skip(1).step_by(2).all(|value| value.abs() < 0.01));
        let few = fit(&latents[..10], 2, 2, 1).unwrap_err().to_string();
        assert!(few.contains("at least 6 latents, not 5"), "{few}");
        assert!(fit(&[0.0, f32::NAN, 1.0, 2.0], 1, 1, 1).is_err());
    }
}
