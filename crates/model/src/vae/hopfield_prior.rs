//! A prior that is a modern Hopfield network.

use std::f64::consts::TAU;

use burn::module::{Module, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, activation::softmax};
use hvae_device::read;
use rand::Rng;
use rayon::prelude::*;

use crate::eqprop::SampleMask;
use crate::error::{ModelError, require};
use crate::modern::Mixture;
use crate::modern::mixture::log_sum_exp;
use crate::vae::prior::Prior;

/// A modern Hopfield network over `K` learned patterns `x_i` with biases `c_i` and an inverse
/// temperature `b`, whose distribution is a mixture of Gaussians:
///
/// ```text
/// E(z) = |z|^2/2 - 1/b ln sum_i exp(b <x_i, z> + c_i)
/// p(z) = exp(-b E(z)) / Z = sum_i pi_i N(z; x_i, I/b)       pi = softmax(c_i + b |x_i|^2 / 2)
/// ln Z = logsumexp_i(c_i + b |x_i|^2 / 2) + d/2 ln(2 pi / b)
/// ```
///
/// The score is one retrieval step, with `p_i(z) = softmax_i(b <x_i, z> + c_i)`:
///
/// ```text
/// d ln p/dz = -b (z - sum_i p_i(z) x_i)
/// ```
///
/// Its parameters learn, as the weights of the networks do, by the difference of two phases: of the
/// model, whose averages are known in closed form, and of the data.
///
/// ```text
/// -d ln p/dc_i = pi_i - p_i(z)
/// -d ln p/dx_i = b (pi_i x_i - p_i(z) z)
/// -d ln p/db   = |z|^2/2 - sum_i p_i(z) <x_i, z> + sum_i pi_i |x_i|^2/2 - d/(2b)
/// ```
#[derive(Module, Debug)]
pub struct HopfieldPrior {
    /// The patterns `x_i`, `[K, latent]`.
    pub patterns: Param<Tensor<2>>,
    /// The biases `c_i`, `[K]`.
    pub biases: Param<Tensor<1>>,
    /// `ln b`, `[1]`.
    pub log_beta: Param<Tensor<1>>,
}

impl HopfieldPrior {
    /// Patterns that are all used equally, `[K, latent]`, at the inverse temperature `beta`.
    ///
    /// # Errors
    ///
    /// Without a pattern, for patterns that are not finite, and for a `beta` that is not positive
    /// and finite.
    pub fn new(patterns: Tensor<2>, beta: f64) -> Result<Self, ModelError> {
        let [count, _] = patterns.dims();
        require(count >= 1, "prior.patterns", count, "at least one pattern is needed")?;
        let ok = (beta as f32).is_finite() && beta > 0.0;
        require(ok, "prior.beta", beta, "must be a positive number")?;
        let squares: Tensor<1> = patterns.clone().square().sum_dim(1).squeeze_dim(1);
        if read(squares.clone()).iter().any(|square| !square.is_finite()) {
            return Err(ModelError::NotFinite {
                what: "patterns of the prior".to_owned(),
                remedy: "lower the learning rate, or raise prior.start".to_owned(),
            });
        }
        let log_beta = Tensor::from_floats([beta.ln() as f32], &patterns.device());
        Ok(Self {
            biases: Param::from_tensor(squares.mul_scalar(-0.5 * beta)),
            patterns: Param::from_tensor(patterns),
            log_beta: Param::from_tensor(log_beta),
        })
    }

    /// Zeros in these shapes, to load parameters into.
    pub fn zeros(count: usize, latent: usize, device: &Device) -> Self {
        let vector = |n| Param::from_tensor(Tensor::zeros([n], device));
        Self {
            patterns: Param::from_tensor(Tensor::zeros([count, latent], device)),
            biases: vector(count),
            log_beta: vector(1),
        }
    }

    /// Number of patterns.
    pub fn count(&self) -> usize {
        self.patterns.dims()[0]
    }

    /// Parameters: patterns, biases and inverse temperature.
    pub fn parameters(&self) -> usize {
        let [count, latent] = self.patterns.dims();
        count * (latent + 1) + 1
    }

    /// The ids of its parameters with their names.
    pub fn ids(&self) -> [(ParamId, &'static str); 3] {
        [(self.patterns.id, "patterns"), (self.biases.id, "biases"), (self.log_beta.id, "log beta")]
    }

    /// The inverse temperature `b`, `[1]`.
    fn beta(&self) -> Tensor<1> {
        self.log_beta.val().exp()
    }

    /// `b <x_i, z> + c_i`, `[batch, K]`.
    fn logits(&self, z: Tensor<2>) -> Tensor<2> {
        let overlaps = z.matmul(self.patterns.val().transpose());
        overlaps * self.beta().unsqueeze() + self.biases.val().unsqueeze()
    }

    /// `c_i + b |x_i|^2/2`, of which `pi` is the softmax, `[1, K]`.
    fn log_weights(&self) -> Tensor<2> {
        let squares: Tensor<1> = self.patterns.val().square().sum_dim(1).squeeze_dim(1);
        (self.biases.val() + squares * self.beta().mul_scalar(0.5)).unsqueeze()
    }

    /// What one retrieval step makes of `z`: `sum_i p_i(z) x_i`, `[batch, latent]`.
    pub fn retrieve(&self, z: Tensor<2>) -> Tensor<2> {
        softmax(self.logits(z), 1).matmul(self.patterns.val())
    }

    /// Patterns, weights and inverse temperature in double precision.
    pub fn on_host(&self) -> Mixture {
        let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect::<Vec<f64>>();
        let latent = self.patterns.dims()[1];
        let patterns = wide(read(self.patterns.val()));
        let beta = wide(read(self.log_beta.val()))[0].exp();
        let squares = patterns.chunks(latent).map(|x| x.iter().map(|x| x * x).sum::<f64>());
        let biases = wide(read(self.biases.val()));
        let mut weights: Vec<f64> =
            biases.iter().zip(squares).map(|(c, square)| c + 0.5 * beta * square).collect();
        let total = log_sum_exp(&weights);
        for weight in &mut weights {
            *weight = (*weight - total).exp();
        }
        Mixture { dimension: latent, patterns, weights, beta }
    }
}

impl Prior for HopfieldPrior {
    fn log_density(&self, z: Tensor<2>) -> Tensor<1> {
        let latent = z.dims()[1] as f64;
        let squares: Tensor<1> = z.clone().square().sum_dim(1).squeeze_dim(1);
        let half = squares * self.beta().mul_scalar(-0.5);
        let constant = self.log_beta.val().sub_scalar(TAU.ln()).mul_scalar(0.5 * latent);
        half + log_sum_exp_rows(self.logits(z)) - log_sum_exp_rows(self.log_weights()) + constant
    }

    fn log_densities_per_gaussian(&self, z: &[f32], latent: usize) -> Vec<f64> {
        let mixture = self.on_host();
        z.par_chunks(latent).map(|z| mixture.log_density_per_gaussian(z)).collect()
    }

    fn score(&self, z: Tensor<2>) -> Tensor<2> {
        (self.retrieve(z.clone()) - z) * self.beta().unsqueeze()
    }

    fn sample(&self, samples: usize, _latent: usize, rng: &mut dyn Rng) -> Vec<f32> {
        let mixture = self.on_host();
        mixture.sample(&mixture.weights, samples, rng)
    }

    fn accumulate_gradient(
        &self,
        z: &Tensor<2>,
        counted: &[bool],
        weight: f64,
        gradients: &mut GradientsParams,
    ) {
        let [rows, latent] = z.dims();
        let mask = SampleMask::new(counted, &z.device());
        let (each, share) = (weight / rows as f64, weight * mask.count() as f64 / rows as f64);
        let (z, beta) = (mask.apply(z.clone()), self.beta());
        // Rows that do not count are zero, in which a product with them is, too.
        let data = mask.apply(softmax(self.logits(z.clone()), 1));
        let retrieved = data.clone().matmul(self.patterns.val());
        let model: Tensor<2> = softmax(self.log_weights(), 1);

        let of_biases = model.clone().mul_scalar(share) - data.clone().sum_dim(0).mul_scalar(each);
        let column = model.swap_dims(0, 1);
        let patterns = self.patterns.val();
        let of_patterns = (column.clone() * patterns.clone()).mul_scalar(share)
            - data.transpose().matmul(z.clone()).mul_scalar(each);
        let of_data = (z.clone().square().mul_scalar(0.5) - retrieved * z).sum().mul_scalar(each);
        let of_model = (patterns.square() * column).sum().mul_scalar(0.5 * share);
        // b d/db, with b/(2b) in the last term.
        let of_log_beta = (of_data + of_model) * beta.clone();
        let of_log_beta = of_log_beta.sub_scalar(0.5 * share * latent as f64);
        gradients.register::<1>(self.biases.id, of_biases.squeeze_dim(0));
        gradients.register::<2>(self.patterns.id, of_patterns * beta.unsqueeze());
        gradients.register::<1>(self.log_beta.id, of_log_beta);
    }
}

/// `ln sum_i exp` of each row, `[batch]`.
fn log_sum_exp_rows(rows: Tensor<2>) -> Tensor<1> {
    let largest = rows.clone().detach().max_dim(1);
    let sum = (rows - largest.clone()).exp().sum_dim(1).log();
    (sum + largest).squeeze_dim(1)
}
