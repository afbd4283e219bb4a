//! The distribution whose energy is that of the network.

use burn::tensor::Tensor;
use hvae_device::{read, upload};
use rand::Rng;

use crate::error::{ModelError, require, require_shape};
use crate::modern::mixture::Mixture;
use crate::modern::network::{ModernHopfield, host};

/// The density `p(xi) ~ exp(-beta E(xi))` at one inverse temperature: the [`Mixture`]
///
/// ```text
/// p(xi) = sum_i w_i N(xi; x_i, I/beta)                 w = softmax(beta |x_i|^2 / 2)
/// ```
#[derive(Debug)]
pub struct Density<'a> {
    network: &'a ModernHopfield,
    mixture: Mixture,
}

impl ModernHopfield {
    /// The density at the inverse temperature `beta`, which is positive and finite in f32.
    pub fn density(&self, beta: f64) -> Result<Density<'_>, ModelError> {
        let ok = (beta as f32).is_finite() && beta > 0.0;
        require(ok, "beta", beta, "a density needs a positive, finite inverse temperature")?;
        let patterns = host(self.patterns());
        let squares = patterns.chunks(self.dimension()).map(|x| x.iter().map(|x| x * x).sum());
        let squares: Vec<f64> = squares.collect();
        let largest = squares.iter().copied().fold(0.0, f64::max);
        let weights = squares.iter().map(|square| (beta * (square - largest) / 2.0).exp());
        let mixture = Mixture::new(self.dimension(), patterns, weights.collect(), beta)?;
        Ok(Density { network: self, mixture })
    }
}

impl Density<'_> {
    /// `ln p` of `states` `[B, d]`, one each.
    pub fn log(&self, states: Tensor<2>) -> Result<Vec<f64>, ModelError> {
        let [_, d] = states.dims();
        let shape = [states.dims()[0], self.network.dimension()];
        require_shape("states", &states, shape)?;
        let constant = -0.5 * d as f64 * std::f64::consts::TAU.ln();
        let states = read(states);
        let each = states.chunks(d).map(|z| constant + self.mixture.log_density_per_gaussian(z));
        Ok(each.collect())
    }

    /// `count` samples, `[count, d]`.
    pub fn sample(&self, count: usize, rng: &mut impl Rng) -> Tensor<2> {
        let values = self.mixture.sample(&self.mixture.weights, count, rng);
        upload(values, self.network.dimension(), &self.network.device())
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use rand::SeedableRng;

    use super::*;

    fn network() -> ModernHopfield {
        let patterns = Tensor::from_floats([[0.5_f32], [-1.0], [2.0]], &Device::flex());
        ModernHopfield::new(patterns).expect("patterns")
    }

    /// The closed form of the mixture, and an integral of 1.
    #[test]
    fn the_density_is_the_mixture_and_normalised() {
        let (network, beta) = (network(), 1.7_f64);
        let density = network.density(beta).expect("beta");
        let places: Vec<f32> = (0..4000).map(|i| -8.0 + i as f32 * 0.004).collect();
        let found = density.log(upload(places.clone(), 1, &Device::flex())).expect("states");
        let mass: f64 = found.iter().map(|log| log.exp() * 0.004).sum();
        assert!((mass - 1.0).abs() < 1e-3, "{mass}");
        let centres = [0.5_f64, -1.0, 2.0];
        let weight = |x: f64| (beta * x * x / 2.0).exp();
        let total: f64 = centres.map(weight).iter().sum();
        for at in [1000, 1900, 2600] {
            let x = f64::from(places[at]);
            let normal = |c: f64| (-beta * (x - c).powi(2) / 2.0).exp() * weight(c) / total;
            let scale = (beta / (2.0 * std::f64::consts::PI)).sqrt();
            let exact = (scale * centres.map(normal).iter().sum::<f64>()).ln();
            assert!((found[at] - exact).abs() < 1e-4, "{} {exact}", found[at]);
        }
    }

    #[test]
    fn samples_have_the_mean_of_the_mixture() {
        let (network, beta) = (network(), 1.7_f64);
        let density = network.density(beta).expect("beta");
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        let samples = host(density.sample(20_000, &mut rng));
        let centres = [0.5_f64, -1.0, 2.0];
        let weights = centres.map(|x| (beta * x * x / 2.0).exp());
        let exact = centres.iter().zip(weights).map(|(c, w)| c * w).sum::<f64>()
            / weights.iter().sum::<f64>();
        let mean = samples.iter().sum::<f64>() / samples.len() as f64;
        // Five standard errors of a variance below 2.
        assert!((mean - exact).abs() < 0.05, "{mean} {exact}");
        assert!(network.density(0.0).is_err());
    }
}
