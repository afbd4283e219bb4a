//! The prior `p(z)`.

use std::f64::consts::TAU;
use std::fmt::Debug;

use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use rand::Rng;
use rand_distr::Distribution;

use crate::vae::posterior::{Posterior, PosteriorGradient};

/// The distribution of latents before an image is seen.
///
/// The parameters of a prior that is learned are parameters of the model that holds it, as its
/// weights are: they are saved, averaged and updated under their ids, with
/// [`Self::accumulate_gradient`] in the place of a backward pass.
pub trait Prior: Debug {
    /// `ln p(z)` of every sample, normalised, in nats, `[batch]`.
    fn log_density(&self, z: Tensor<2>) -> Tensor<1>;

    /// `ln p(z) + d/2 ln(2 pi)` of each of the samples in `z`, one after the other, normalised
    /// likewise, in double precision: the density per `(2 pi)^(d/2)`, in which that of a Gaussian
    /// posterior is `-1/2 |eps|^2 - sum(ln sigma)`. The importance weight of a sample is the
    /// difference of the two.
    fn log_densities_per_gaussian(&self, z: &[f32], latent: usize) -> Vec<f64>;

    /// The score `d ln p/dz`, `[batch, latent]`.
    fn score(&self, z: Tensor<2>) -> Tensor<2>;

    /// `samples` samples of `latent` numbers, one after the other.
    fn sample(&self, samples: usize, latent: usize, rng: &mut dyn Rng) -> Vec<f32>;

    /// `KL(q || p)` of every sample, in nats, `[batch]`; `None` without a closed form.
    fn closed_divergence(&self, posterior: &Posterior) -> Option<Tensor<1>> {
        let _ = posterior;
        None
    }

    /// `KL(q || p)` of every sample, in nats, `[batch]`: in closed form, or estimated without bias
    /// as `-H(q) - ln p(z)` at `z`, `[batch, latent]`, which must be a sample of `posterior`, not
    /// its mean.
    fn divergence(&self, posterior: &Posterior, z: &Tensor<2>) -> Tensor<1> {
        let estimate = || posterior.entropy().neg() - self.log_density(z.clone());
        self.closed_divergence(posterior).unwrap_or_else(estimate)
    }

    /// The gradient of [`Self::divergence`] in mean and log-variance. Without a closed form it is
    /// that of the estimate through `z = mu + sigma eps`, with the score `g` of the prior
    /// `-g` and `-1/2 - g (z - mu)/2`.
    fn divergence_gradient(&self, posterior: &Posterior, z: &Tensor<2>) -> PosteriorGradient {
        let mean = self.score(z.clone()).neg();
        let spread = mean.clone() * (z.clone() - posterior.mean.clone());
        PosteriorGradient { mean, log_variance: spread.sub_scalar(1.0).mul_scalar(0.5) }
    }

    /// Adds the gradient of the batch's mean of `weight KL(q || p)` in the parameters of the prior
    /// to `gradients`, under their ids: `-weight d ln p(z)/dtheta` at the samples `z` of the
    /// posteriors. Rows that are not `counted` contribute nothing, but the mean is over all.
    fn accumulate_gradient(
        &self,
        z: &Tensor<2>,
        counted: &[bool],
        weight: f64,
        gradients: &mut GradientsParams,
    ) {
        let _ = (z, counted, weight, gradients);
    }
}

/// `N(0, I)`.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use hvae_model::{Prior, StandardNormal};
///
/// let z = Tensor::<2>::from_data([[1.0, -2.0]], &Device::flex());
/// let score: Vec<f32> = StandardNormal.score(z).into_data().try_to_vec().unwrap();
/// assert_eq!(score, [-1.0, 2.0]);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct StandardNormal;

impl Prior for StandardNormal {
    fn log_density(&self, z: Tensor<2>) -> Tensor<1> {
        let constant = -0.5 * z.dims()[1] as f64 * TAU.ln();
        let squares: Tensor<1> = z.square().sum_dim(1).squeeze_dim(1);
        squares.mul_scalar(-0.5).add_scalar(constant)
    }

    fn log_densities_per_gaussian(&self, z: &[f32], latent: usize) -> Vec<f64> {
        let of_sample = |z: &[f32]| z.iter().map(|&z| -0.5 * f64::from(z) * f64::from(z)).sum();
        z.chunks(latent).map(of_sample).collect()
    }

    fn score(&self, z: Tensor<2>) -> Tensor<2> {
        z.neg()
    }

    fn sample(&self, samples: usize, latent: usize, rng: &mut dyn Rng) -> Vec<f32> {
        (0..samples * latent).map(|_| rand_distr::StandardNormal.sample(rng)).collect()
    }

    /// `1/2 sum(mu^2 + sigma^2 - 1 - ln sigma^2)`.
    fn closed_divergence(&self, posterior: &Posterior) -> Option<Tensor<1>> {
        let log_variance = posterior.clamped_log_variance();
        let mean = posterior.mean.clone();
        let terms = mean.square() + log_variance.clone().exp() - log_variance;
        Some(terms.sub_scalar(1.0).sum_dim(1).mul_scalar(0.5).squeeze_dim(1))
    }

    /// `mu` and `(sigma^2 - 1)/2`.
    fn divergence_gradient(&self, posterior: &Posterior, _z: &Tensor<2>) -> PosteriorGradient {
        let log_variance = posterior.sigma().square().sub_scalar(1.0).mul_scalar(0.5);
        PosteriorGradient { mean: posterior.mean.clone(), log_variance }
    }
}
