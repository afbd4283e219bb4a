//! The Gaussian posterior `q(z|x) = N(mu, sigma^2)`: sampling, divergence and their gradients.

use burn::tensor::Tensor;

/// Range of the log-variance. Outside it the variance no longer follows the network.
pub const LOG_VARIANCE_RANGE: (f64, f64) = (-10.0, 4.0);

/// A batch of diagonal Gaussians.
#[derive(Debug, Clone)]
pub struct Posterior {
    /// Means, `[batch, latent]`.
    pub mean: Tensor<2>,
    /// `ln sigma^2` as the network gave it, `[batch, latent]`, or a constant of that shape.
    pub log_variance: Tensor<2>,
}

impl Posterior {
    fn clamped(&self) -> Tensor<2> {
        let (low, high) = LOG_VARIANCE_RANGE;
        self.log_variance.clone().clamp(low, high)
    }

    /// Standard deviations, `[batch, latent]`.
    pub fn sigma(&self) -> Tensor<2> {
        self.clamped().mul_scalar(0.5).exp()
    }

    /// `mu + sigma * noise` (Kingma & Welling 2014, arXiv 1312.6114), `[batch, latent]`.
    pub fn sample(&self, noise: Tensor<2>) -> Tensor<2> {
        self.mean.clone() + self.sigma() * noise
    }

    /// `KL(q || N(0, 1)) = 1/2 sum(mu^2 + sigma^2 - 1 - ln sigma^2)` of every sample, in nats,
    /// `[batch]`.
    pub fn divergence(&self) -> Tensor<1> {
        let log_variance = self.clamped();
        let terms = self.mean.clone().square() + log_variance.clone().exp() - log_variance;
        terms.sub_scalar(1.0).sum_dim(1).mul_scalar(0.5).squeeze_dim(1)
    }

    /// The gradients of `C(z) + kl_weight KL` in `mu` and `ln sigma^2`, each `[batch, latent]`,
    /// from `dC/dz` at `z = mu + sigma * noise`:
    ///
    /// ```text
    /// d/dmu           = dC/dz + kl_weight mu
    /// d/d ln sigma^2  = dC/dz * noise * sigma / 2 + kl_weight (sigma^2 - 1) / 2
    /// ```
    ///
    /// Where the log-variance has left [`LOG_VARIANCE_RANGE`], only the part that leads back in.
    pub fn gradient(
        &self,
        cost: &Tensor<2>,
        noise: Tensor<2>,
        kl_weight: f64,
    ) -> (Tensor<2>, Tensor<2>) {
        let mean = cost.clone() + self.mean.clone().mul_scalar(kl_weight);
        let sigma = self.sigma();
        let pull = sigma.clone().square().sub_scalar(1.0).mul_scalar(kl_weight);
        let spread = (cost.clone() * noise * sigma + pull).mul_scalar(0.5);
        let (low, high) = LOG_VARIANCE_RANGE;
        let below = self.log_variance.clone().lower_elem(low).float();
        let above = self.log_variance.clone().greater_elem(high).float();
        let inside = (below.clone() + above.clone()).neg().add_scalar(1.0);
        let inward = below * spread.clone().clamp_max(0.0) + above * spread.clone().clamp_min(0.0);
        (mean, spread * inside + inward)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    /// Outside the range only what leads back in is left, on either side.
    #[test]
    fn a_log_variance_beyond_its_range_only_moves_inward() {
        let device = Device::flex();
        let row = |values: [f32; 6]| Tensor::<1>::from_floats(values, &device).reshape([1, 6]);
        let posterior = Posterior {
            mean: row([0.0; 6]),
            log_variance: row([-12.0, -12.0, 0.0, 0.0, 6.0, 6.0]),
        };
        let cost = row([1.0, -1.0, 1.0, -1.0, 1.0, -1.0]);
        let (mean, spread) = posterior.gradient(&cost, row([1.0; 6]), 0.0);
        assert_eq!(mean.into_data(), cost.into_data());
        let spread: Vec<f32> = spread.into_data().try_into_vec().expect("f32");
        // A descent moves against the gradient: upward where it is negative.
        let sigmas = [(-5.0_f32).exp(), 1.0, 2.0_f32.exp()];
        let expected = [0.0, -sigmas[0], sigmas[1], -sigmas[1], sigmas[2], 0.0].map(|s| s / 2.0);
        for (found, expected) in spread.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{spread:?}");
        }
    }
}
