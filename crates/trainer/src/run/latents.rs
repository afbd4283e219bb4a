//! How much each latent dimension is used.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Variance over the images of a posterior mean above which its unit is active (Burda et al. 2016,
/// arXiv 1509.00519).
const ACTIVE_ABOVE: f64 = 0.01;

/// How the latent dimensions are used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LatentUse {
    /// Dimensions whose posterior mean varies from image to image.
    pub(crate) active_units: usize,
    /// Mean divergence of each dimension's posterior from `N(0, 1)`, nats.
    pub(crate) kl: Vec<f64>,
}

impl LatentUse {
    /// A warning if few dimensions are active: fewer than a quarter.
    pub(crate) fn warning(&self) -> Option<String> {
        let (active, all) = (self.active_units, self.kl.len());
        (4 * active < all).then(|| {
            let are = if active == 1 { "is" } else { "are" };
            format!(
                "only {active} of {all} latents {are} active, the posterior of the others is the \
                 prior: lower training.kl_weight, or raise training.kl_warmup_steps"
            )
        })
    }
}

impl fmt::Display for LatentUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.active_units, self.kl.len())
    }
}

/// Sums over images, for each latent dimension.
#[derive(Debug)]
pub(crate) struct LatentSums {
    images: f64,
    /// Mean of the posterior means, and sum of their squared deviations from it (Welford 1962).
    mean: Vec<f64>,
    squares: Vec<f64>,
    kl: Vec<f64>,
}

impl LatentSums {
    pub(crate) fn new(latent: usize) -> Self {
        let zeros = || vec![0.0; latent];
        Self { images: 0.0, mean: zeros(), squares: zeros(), kl: zeros() }
    }

    /// Adds posteriors by their means and standard deviations, each `[images, latent]`.
    pub(crate) fn add(&mut self, means: &[f32], sigmas: &[f32]) {
        let latent = self.mean.len();
        for (means, sigmas) in means.chunks(latent).zip(sigmas.chunks(latent)) {
            self.images += 1.0;
            for (at, (mean, sigma)) in means.iter().zip(sigmas).enumerate() {
                let (mean, variance) = (f64::from(*mean), f64::from(*sigma).powi(2));
                let before = mean - self.mean[at];
                self.mean[at] += before / self.images;
                self.squares[at] += before * (mean - self.mean[at]);
                self.kl[at] += 0.5 * (mean.powi(2) + variance - 1.0 - variance.ln());
            }
        }
    }

    pub(crate) fn means(self) -> LatentUse {
        let n = self.images.max(1.0);
        let active = self.squares.iter().filter(|squares| *squares / n > ACTIVE_ABOVE);
        LatentUse { active_units: active.count(), kl: self.kl.iter().map(|kl| kl / n).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn active_units_and_divergences_by_hand() {
        let mut sums = LatentSums::new(3);
        // Means 0.3 and -0.1 (variance 0.04), 5.05 and 4.95 (0.0025), 0 and 0.
        sums.add(&[0.3, 5.05, 0.0], &[1.0, 1.0, 0.5]);
        sums.add(&[-0.1, 4.95, 0.0], &[1.0, 1.0, 0.5]);
        let found = sums.means();
        assert_eq!(found.active_units, 1);
        let expected = [0.025, 12.501_25, 0.5 * (0.25 - 1.0 + 4.0_f64.ln())];
        for (found, expected) in found.kl.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-5, "{found} for {expected}");
        }
        assert_eq!(found.warning(), None);
        let few = LatentUse { active_units: 1, kl: vec![0.0; 8] }.warning();
        assert!(few.is_some_and(|text| text.contains("only 1 of 8 latents is active")));
        assert_eq!(LatentUse { active_units: 2, kl: vec![0.0; 8] }.warning(), None);
    }
}
