//! The prior `p(z)`.

use burn::tensor::Tensor;

use crate::vae::posterior::{Posterior, PosteriorGradient};

/// The distribution of latents before an image is seen.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use hvae_model::Prior;
///
/// let z = Tensor::<2>::from_data([[1.0, -2.0]], &Device::flex());
/// let score: Vec<f32> = Prior::StandardNormal.score(z).into_data().try_to_vec().unwrap();
/// assert_eq!(score, [-1.0, 2.0]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Prior {
    /// `N(0, I)`.
    #[default]
    StandardNormal,
}

impl Prior {
    /// `ln p(z)` of every sample, in nats, `[batch]`.
    pub fn log_density(&self, z: Tensor<2>) -> Tensor<1> {
        let Self::StandardNormal = self;
        let constant = -0.5 * z.dims()[1] as f64 * std::f64::consts::TAU.ln();
        let squares: Tensor<1> = z.square().sum_dim(1).squeeze_dim(1);
        squares.mul_scalar(-0.5).add_scalar(constant)
    }

    /// `ln p(z)` of one sample on the host, without the constant `-d/2 ln(2 pi)`, which cancels
    /// against that of a Gaussian posterior in importance weights.
    pub fn log_kernel(&self, z: &[f32]) -> f64 {
        let Self::StandardNormal = self;
        z.iter().map(|&z| -0.5 * f64::from(z) * f64::from(z)).sum()
    }

    /// The score `d ln p/dz`, `[batch, latent]`.
    pub fn score(&self, z: Tensor<2>) -> Tensor<2> {
        let Self::StandardNormal = self;
        z.neg()
    }

    /// Samples, from standard normal noise of the same shape, row after row.
    pub fn sample(&self, noise: Vec<f32>) -> Vec<f32> {
        let Self::StandardNormal = self;
        noise
    }

    /// `KL(q || p)` of every sample, in nats, `[batch]`; a prior without a closed form estimates it
    /// at the samples `z` of the posterior, `[batch, latent]`.
    ///
    /// Standard normal: `1/2 sum(mu^2 + sigma^2 - 1 - ln sigma^2)`.
    pub fn divergence(&self, posterior: &Posterior, _z: &Tensor<2>) -> Tensor<1> {
        let Self::StandardNormal = self;
        let log_variance = posterior.clamped_log_variance();
        let mean = posterior.mean.clone();
        let terms = mean.square() + log_variance.clone().exp() - log_variance;
        terms.sub_scalar(1.0).sum_dim(1).mul_scalar(0.5).squeeze_dim(1)
    }

    /// The gradient of [`Self::divergence`] in mean and log-variance: `mu` and `(sigma^2 - 1)/2`.
    pub fn divergence_gradient(&self, posterior: &Posterior, _z: &Tensor<2>) -> PosteriorGradient {
        let Self::StandardNormal = self;
        let log_variance = posterior.sigma().square().sub_scalar(1.0).mul_scalar(0.5);
        PosteriorGradient { mean: posterior.mean.clone(), log_variance }
    }
}
