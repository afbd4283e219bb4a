//! The distribution of a modern Hopfield network: a mixture of Gaussians.

use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal};

use crate::error::{ModelError, require};

/// The distribution `sum_i pi_i N(x_i, I/b)`, in host memory and double precision: that of a modern
/// Hopfield network with patterns `x_i` at the inverse temperature `b`, with or without biases.
#[derive(Debug, Clone)]
pub struct Mixture {
    pub(crate) dimension: usize,
    /// The patterns, `[K, dimension]`.
    pub patterns: Vec<f64>,
    /// `pi`, which sums to 1.
    pub weights: Vec<f64>,
    /// The inverse temperature `b`.
    pub beta: f64,
}

impl Mixture {
    /// The mixture with the patterns (`[K, dimension]`), positive weights, which are normalised, and
    /// the inverse temperature `beta`.
    ///
    /// # Errors
    ///
    /// When there is no pattern, numbers of patterns and weights differ, or a number is out of range.
    pub fn new(
        dimension: usize,
        patterns: Vec<f64>,
        mut weights: Vec<f64>,
        beta: f64,
    ) -> Result<Self, ModelError> {
        let count = weights.len();
        let fits = count >= 1 && dimension >= 1 && patterns.len() == count * dimension;
        require(
            fits,
            "patterns",
            patterns.len(),
            "there must be as many as weights, at least one",
        )?;
        let ok = patterns.iter().all(|x| x.is_finite());
        require(ok, "patterns", "a value that is not finite", "must be finite")?;
        require(beta > 0.0 && beta.is_finite(), "beta", beta, "must be positive and finite")?;
        let total: f64 = weights.iter().sum();
        let ok = weights.iter().all(|w| *w >= 0.0) && total > 0.0 && total.is_finite();
        require(ok, "weights", total, "must be 0 or more, with a positive sum")?;
        for weight in &mut weights {
            *weight /= total;
        }
        Ok(Self { dimension, patterns, weights, beta })
    }

    /// The same patterns and weights at another inverse temperature, which is positive and finite.
    #[must_use]
    pub fn at(&self, beta: f64) -> Self {
        Self { beta, ..self.clone() }
    }

    /// Pattern `i`.
    pub fn pattern(&self, i: usize) -> &[f64] {
        &self.patterns[i * self.dimension..][..self.dimension]
    }

    /// The mode of the density that retrieval, `z <- sum_i p_i(z) x_i`, leads to from `z`: a minimum
    /// of the energy. It ends when a step moves the state by less than `tolerance`, or after
    /// `max_steps`.
    pub fn minimum(&self, z: &[f64], tolerance: f64, max_steps: usize) -> Vec<f64> {
        let mut z = z.to_vec();
        for _ in 0..max_steps {
            let terms = self.log_terms(&z);
            let total = log_sum_exp(&terms);
            let mut next = vec![0.0; self.dimension];
            for (x, term) in self.patterns.chunks(self.dimension).zip(terms) {
                let share = (term - total).exp();
                next.iter_mut().zip(x).for_each(|(next, x)| *next += share * x);
            }
            let square: f64 = z.iter().zip(&next).map(|(a, b)| (a - b).powi(2)).sum();
            z = next;
            if square.sqrt() < tolerance {
                break;
            }
        }
        z
    }

    /// Number of patterns in use: the exponential of the entropy of `pi`.
    pub fn in_use(&self) -> f64 {
        let terms = self.weights.iter().filter(|w| **w > 0.0).map(|w| -w * w.ln());
        terms.sum::<f64>().exp()
    }

    /// The mean of `|x_i - x_j|^2` over pairs of different patterns that are drawn by their weights;
    /// 0 for a single pattern.
    pub fn distance_squared(&self) -> f64 {
        let mut mean = vec![0.0; self.dimension];
        let mut square = 0.0;
        for (x, w) in self.patterns.chunks(self.dimension).zip(&self.weights) {
            square += w * x.iter().map(|x| x * x).sum::<f64>();
            mean.iter_mut().zip(x).for_each(|(mean, x)| *mean += w * x);
        }
        let same: f64 = self.weights.iter().map(|w| w * w).sum();
        let spread = square - mean.iter().map(|x| x * x).sum::<f64>();
        if same < 1.0 { 2.0 * spread.max(0.0) / (1.0 - same) } else { 0.0 }
    }

    /// `ln p(z) + d/2 ln(2 pi)`.
    pub fn log_density_per_gaussian(&self, z: &[f32]) -> f64 {
        log_sum_exp(&self.log_terms(&wide(z))) + 0.5 * self.dimension as f64 * self.beta.ln()
    }

    /// `p_i(z)`, the probability of each pattern at `z`.
    pub fn responsibilities(&self, z: &[f32]) -> Vec<f64> {
        let terms = self.log_terms(&wide(z));
        let total = log_sum_exp(&terms);
        terms.into_iter().map(|term| (term - total).exp()).collect()
    }

    /// `ln pi_i - b |z - x_i|^2/2`.
    fn log_terms(&self, z: &[f64]) -> Vec<f64> {
        let term = |(x, w): (&[f64], &f64)| {
            let square: f64 = x.iter().zip(z).map(|(x, z)| (z - x).powi(2)).sum();
            w.ln() - 0.5 * self.beta * square
        };
        self.patterns.chunks(self.dimension).zip(&self.weights).map(term).collect()
    }

    /// `samples` samples, one after the other, of patterns drawn by `weights`, which need not sum
    /// to 1, in place of `pi`.
    pub fn sample(&self, weights: &[f64], samples: usize, rng: &mut dyn Rng) -> Vec<f32> {
        let mut sum = 0.0;
        let cumulative: Vec<f64> = weights
            .iter()
            .map(|w| {
                sum += w;
                sum
            })
            .collect();
        let spread = self.beta.sqrt().recip();
        let mut values = Vec::with_capacity(samples * self.dimension);
        for _ in 0..samples {
            let drawn = rng.random::<f64>() * sum;
            let index = cumulative.partition_point(|sum| *sum <= drawn).min(weights.len() - 1);
            values.extend(self.patterns[index * self.dimension..][..self.dimension].iter().map(
                |x| {
                    let noise: f64 = StandardNormal.sample(rng);
                    (x + spread * noise) as f32
                },
            ));
        }
        values
    }
}

fn wide(z: &[f32]) -> Vec<f64> {
    z.iter().map(|&z| f64::from(z)).collect()
}

pub(crate) fn log_sum_exp(values: &[f64]) -> f64 {
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    largest + values.iter().map(|value| (value - largest).exp()).sum::<f64>().ln()
}
