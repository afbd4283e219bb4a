//! How probable a model finds images: evidence lower bound and importance-weighted bound.

use anyhow::{Result, ensure};
use burn::tensor::{Device, Tensor};
use hvae_model::{Phases, Vae};
use rand::RngExt;
use serde::Serialize;

use crate::data::ImageSet;
use crate::images::{download, upload};
use crate::report::Progress;
use crate::rng::{self, Stream};

/// Latents that are decoded at once.
const BATCH: usize = 500;
/// How far probabilities of pixels keep from 0 and 1.
const PROBABILITY_MARGIN: f64 = 1e-6;

/// The decoder's distribution `p(x|z)` around the decoded image `x^`, pixels independent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PixelLikelihood {
    /// `N(x^, 1 / precision)`, a density of real pixels in `[0, 1]`.
    Gaussian {
        /// `w`.
        precision: f64,
    },
    /// Ones with probability `x^`, of binary pixels.
    Bernoulli,
}

impl PixelLikelihood {
    /// That of a model.
    pub fn of(model: &Vae) -> Self {
        Self::Gaussian { precision: model.precision }
    }

    /// `ln p(x|z)` of every row, `[batch]`, in nats: `images` and `decoded` are `[batch, pixels]`.
    ///
    /// ```text
    /// Gaussian   -w/2 |x - x^|^2 + pixels/2 ln(w / 2 pi)
    /// Bernoulli  sum x ln x^ + (1 - x) ln(1 - x^)
    /// ```
    pub fn log_probability(self, images: Tensor<2>, decoded: Tensor<2>) -> Tensor<1> {
        let [_, pixels] = images.dims();
        match self {
            Self::Gaussian { precision } => {
                let constant =
                    0.5 * pixels as f64 * (precision / (2.0 * std::f64::consts::PI)).ln();
                let error = (decoded - images).square().sum_dim(1).squeeze_dim::<1>(1);
                error.mul_scalar(-0.5 * precision).add_scalar(constant)
            }
            Self::Bernoulli => {
                let ones = decoded.clamp(PROBABILITY_MARGIN, 1.0 - PROBABILITY_MARGIN);
                let zeros = ones.clone().neg().add_scalar(1.0);
                let terms = images.clone() * ones.log() + images.neg().add_scalar(1.0) * zeros.log();
                terms.sum_dim(1).squeeze_dim::<1>(1)
            }
        }
    }

    /// What the pixels are made into, for the protocol of a score.
    pub fn binarisation(self) -> &'static str {
        match self {
            Self::Gaussian { .. } => "none (Gaussian decoder, pixels in [0, 1])",
            Self::Bernoulli => "dynamic (each pixel 1 with the probability of its grey value)",
        }
    }

    /// The pixels of image `index` of `set` as this distribution takes them: grey values, or drawn
    /// ones that depend on `seed` and `index` alone.
    fn pixels(self, set: &ImageSet, index: usize, seed: u64) -> Vec<f32> {
        let grey = set.image(index).iter().map(|&byte| f32::from(byte) / 255.0);
        match self {
            Self::Gaussian { .. } => grey.collect(),
            Self::Bernoulli => {
                let mut rng = rng::generator(seed, Stream::Binarisation, index as u64);
                grey.map(|p| if rng.random::<f32>() < p { 1.0 } else { 0.0 }).collect()
            }
        }
    }
}

/// A mean over images with its standard error.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// Standard deviation over the images, by the root of their number.
    pub standard_error: f64,
}

impl Estimate {
    /// Of these values.
    fn of(values: &[f64]) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Self { mean, standard_error: (squares / (n - 1.0).max(1.0) / n).sqrt() }
    }
}

/// Likelihoods of a set of images.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Likelihoods {
    /// Evidence lower bound, nats per image, with the divergence in closed form.
    pub elbo: Estimate,
    /// Negative log-likelihood, nats per image: the importance-weighted bound.
    pub nll: Estimate,
    /// Latents per image.
    pub samples: usize,
    /// Images.
    pub images: usize,
    /// What the pixels were made into.
    pub binarisation: &'static str,
}

/// Bounds on `ln p(x)` of the first `count` images of `set` from `samples` latents each (Burda et
/// al. 2016, arXiv 1509.00519):
///
/// ```text
/// ELBO = mean_k ln p(x|z_k) - KL(q(z|x) || p(z))
/// -NLL = ln 1/K sum_k p(x|z_k) p(z_k) / q(z_k|x)          z_k from q(z|x)
/// ```
///
/// # Errors
///
/// When the set is smaller, a number is not finite, or the device cannot be read.
pub fn likelihoods(
    model: &Vae,
    phases: &Phases,
    set: &ImageSet,
    count: usize,
    samples: usize,
    seed: u64,
    device: &Device,
) -> Result<Likelihoods> {
    ensure!(samples >= 1, "at least one latent per image is needed");
    ensure!(count >= 1 && count <= set.len(), "{count} of {} images", set.len());
    let likelihood = PixelLikelihood::of(model);
    let (mut elbos, mut nlls) = (Vec::with_capacity(count), Vec::with_capacity(count));
    let mut progress = Progress::start("likelihood", count, 0);
    // A few images with few latents each, or one image with its latents piece by piece.
    let group = (BATCH / samples).max(1);
    for from in (0..count).step_by(group) {
        let rows = group.min(count - from);
        let pixels: Vec<f32> =
            (from..from + rows).flat_map(|index| likelihood.pixels(set, index, seed)).collect();
        let images = upload(pixels, set.pixels(), device);
        let (posterior, _) = model.encode(images.clone(), phases)?;
        let divergence = download(posterior.divergence())?;
        let [mean, sigma] = [download(posterior.mean.clone())?, download(posterior.sigma())?];
        for row in 0..rows {
            let of_row = |values: &[f32]| values[row * model.latent()..][..model.latent()].to_vec();
            let terms = Weights {
                model,
                phases,
                likelihood,
                image: images.clone().narrow(0, row, 1),
                mean: of_row(&mean),
                sigma: of_row(&sigma),
            };
            let (elbo, nll) = terms.bounds(samples, seed, (from + row) as u64, divergence[row])?;
            ensure!(elbo.is_finite() && nll.is_finite(), "the likelihood of image {} is {nll}", from + row);
            elbos.push(elbo);
            nlls.push(nll);
        }
        progress.update(from + rows, || format!("NLL {:.2}", Estimate::of(&nlls).mean));
    }
    Ok(Likelihoods {
        elbo: Estimate::of(&elbos),
        nll: Estimate::of(&nlls),
        samples,
        images: count,
        binarisation: likelihood.binarisation(),
    })
}

/// An image with its posterior.
struct Weights<'a> {
    model: &'a Vae,
    phases: &'a Phases,
    likelihood: PixelLikelihood,
    image: Tensor<2>,
    mean: Vec<f32>,
    sigma: Vec<f32>,
}

impl Weights<'_> {
    fn bounds(&self, samples: usize, seed: u64, index: u64, divergence: f32) -> Result<(f64, f64)> {
        let dims = self.mean.len();
        let noise = rng::normal(seed, Stream::Importance, index, samples * dims);
        let (mut reconstruction, mut logs) = (0.0, Vec::with_capacity(samples));
        for noise in noise.chunks(BATCH * dims) {
            let rows = noise.len() / dims;
            let latent = |(at, e): (usize, &f32)| self.mean[at % dims] + self.sigma[at % dims] * e;
            let latents: Vec<f32> = noise.iter().enumerate().map(latent).collect();
            let device = self.image.device();
            let decoded =
                self.model.decode(upload(latents.clone(), dims, &device), self.phases)?.0;
            let images = self.image.clone().repeat_dim(0, rows);
            let likelihoods = download(self.likelihood.log_probability(images, decoded))?;
            let rows = latents.chunks(dims).zip(noise.chunks(dims)).zip(likelihoods);
            for ((latent, noise), likelihood) in rows {
                // ln p(z) - ln q(z|x); the terms ln 2 pi cancel.
                let ratio: f64 = (0..dims)
                    .map(|d| {
                        let [z, e, s] = [latent[d], noise[d], self.sigma[d]].map(f64::from);
                        0.5 * (e * e - z * z) + s.ln()
                    })
                    .sum();
                reconstruction += f64::from(likelihood);
                logs.push(f64::from(likelihood) + ratio);
            }
        }
        let elbo = reconstruction / samples as f64 - f64::from(divergence);
        Ok((elbo, -log_mean_exp(&logs)))
    }
}

/// `ln (1/n sum exp v)` without overflow.
fn log_mean_exp(values: &[f64]) -> f64 {
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = values.iter().map(|value| (value - largest).exp()).sum();
    largest + (sum / values.len() as f64).ln()
}
