//! The Gaussian posterior `q(z|x) = N(mu, sigma^2)`.

use std::f64::consts::TAU;
use std::ops::RangeInclusive;

use burn::tensor::Tensor;

/// Range of the log-variance. Outside it the variance no longer follows the network.
pub(crate) const LOG_VARIANCE_RANGE: RangeInclusive<f64> = -10.0..=4.0;

/// A batch of diagonal Gaussians.
#[derive(Debug, Clone)]
pub struct Posterior {
    /// Means, `[batch, latent]`.
    pub mean: Tensor<2>,
    /// `ln sigma^2` as the network gave it, `[batch, latent]`, or a constant of that shape. Outside
    /// -10 to 4 the variance is that of the nearer end.
    pub log_variance: Tensor<2>,
}

impl Posterior {
    /// `ln sigma^2` within [`LOG_VARIANCE_RANGE`], `[batch, latent]`.
    pub(crate) fn clamped_log_variance(&self) -> Tensor<2> {
        self.log_variance.clone().clamp(*LOG_VARIANCE_RANGE.start(), *LOG_VARIANCE_RANGE.end())
    }

    /// The entropy of every sample, `sum(ln sigma) + d/2 (1 + ln(2 pi))`, in nats, `[batch]`.
    pub fn entropy(&self) -> Tensor<1> {
        let constant = 0.5 * self.mean.dims()[1] as f64 * (1.0 + TAU.ln());
        let logarithms: Tensor<1> = self.clamped_log_variance().sum_dim(1).squeeze_dim(1);
        logarithms.mul_scalar(0.5).add_scalar(constant)
    }

    /// Standard deviations, `[batch, latent]`.
    pub fn sigma(&self) -> Tensor<2> {
        self.clamped_log_variance().mul_scalar(0.5).exp()
    }

    /// `mu + sigma * noise` (Kingma & Welling 2014, arXiv 1312.6114), `[batch, latent]`.
    pub fn sample(&self, noise: Tensor<2>) -> Tensor<2> {
        self.mean.clone() + self.sigma() * noise
    }

    /// The gradient of `C(z) + kl_weight KL` in mean and log-variance, from `cost = dC/dz` at
    /// `z = mu + sigma noise` and the gradient of the divergence:
    ///
    /// ```text
    /// d/dmu           = dC/dz + kl_weight dKL/dmu
    /// d/d ln sigma^2  = dC/dz * noise * sigma / 2 + kl_weight dKL/d ln sigma^2
    /// ```
    ///
    /// Where the log-variance has left its range, only the part that leads back in is kept.
    pub fn gradient(
        &self,
        cost: &Tensor<2>,
        noise: Tensor<2>,
        divergence: PosteriorGradient,
        kl_weight: f64,
    ) -> PosteriorGradient {
        let mean = cost.clone() + divergence.mean.mul_scalar(kl_weight);
        let spread = (cost.clone() * noise * self.sigma()).mul_scalar(0.5)
            + divergence.log_variance.mul_scalar(kl_weight);
        let below = self.log_variance.clone().lower_elem(*LOG_VARIANCE_RANGE.start()).float();
        let above = self.log_variance.clone().greater_elem(*LOG_VARIANCE_RANGE.end()).float();
        let inside = (below.clone() + above.clone()).neg().add_scalar(1.0);
        let inward = below * spread.clone().clamp_max(0.0) + above * spread.clone().clamp_min(0.0);
        PosteriorGradient { mean, log_variance: spread * inside + inward }
    }
}

/// A gradient in the parameters of a [`Posterior`], each `[batch, latent]`.
#[derive(Debug, Clone)]
pub struct PosteriorGradient {
    /// In the means.
    pub mean: Tensor<2>,
    /// In `ln sigma^2`.
    pub log_variance: Tensor<2>,
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    /// Outside the range, on either side, only what leads back in is kept.
    #[test]
    fn a_log_variance_beyond_its_range_only_moves_inward() {
        let device = Device::flex();
        let row = |values: [f32; 6]| Tensor::<1>::from_floats(values, &device).reshape([1, 6]);
        let posterior = Posterior {
            mean: row([0.0; 6]),
            log_variance: row([-12.0, -12.0, 0.0, 0.0, 6.0, 6.0]),
        };
        let cost = row([1.0, -1.0, 1.0, -1.0, 1.0, -1.0]);
        let nothing = PosteriorGradient { mean: row([0.0; 6]), log_variance: row([0.0; 6]) };
        let found = posterior.gradient(&cost, row([1.0; 6]), nothing, 0.0);
        assert_eq!(found.mean.into_data(), cost.into_data());
        let spread: Vec<f32> = found.log_variance.into_data().try_into_vec().expect("f32");
        // A descent moves against the gradient: upward where it is negative.
        let sigmas = [(-5.0_f32).exp(), 1.0, 2.0_f32.exp()];
        let expected = [0.0, -sigmas[0], sigmas[1], -sigmas[1], sigmas[2], 0.0].map(|s| s / 2.0);
        for (found, expected) in spread.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{spread:?}");
        }
    }
}
