//! How probable a model finds images: evidence lower bound and importance-weighted bound.

use anyhow::{Result, ensure};
use burn::tensor::{Device, Tensor};
use hvae_model::{Likelihood, Phases, Vae, VaeConfig};
use serde::Serialize;

use hvae_data::ImageSet;
use hvae_device::host::{download, upload};
use hvae_runtime::rng;
use hvae_runtime::rng::Stream;
use hvae_runtime::terminal::Progress;

/// Latents that are decoded at once.
const BATCH: usize = 500;
/// The pixels of image `index` of `set` in `[0, 1]`; with `binarise` each drawn as a coin of that
/// probability, from `(seed, index)` alone.
fn pixels(set: &ImageSet, index: usize, binarise: bool, seed: u64) -> Vec<f32> {
    let grey = set.image(index).iter().map(|&byte| f32::from(byte) / 255.0);
    if !binarise {
        return grey.collect();
    }
    let coins = rng::uniform(seed, Stream::LikelihoodBinarisation, index as u64, set.pixels());
    grey.zip(coins).map(|(grey, coin)| if grey > coin { 1.0 } else { 0.0 }).collect()
}

/// The decoder's distribution and what was made of the pixels, for the protocol of a score.
pub fn protocol(config: &VaeConfig, binarise: bool) -> String {
    let decoder = match config.likelihood {
        Likelihood::Gaussian => format!("Gaussian decoder of precision {}", config.precision),
        Likelihood::Bernoulli => "Bernoulli decoder".to_owned(),
    };
    let pixels = if binarise {
        "dynamic (each pixel 1 with the probability of its grey value)"
    } else {
        "none (pixels in [0, 1])"
    };
    format!("{decoder}; binarisation: {pixels}")
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
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Likelihoods {
    /// Evidence lower bound, nats per image, with the divergence in closed form.
    pub elbo: Estimate,
    /// Negative log-likelihood, nats per image: the importance-weighted bound.
    pub nll: Estimate,
    /// Latents per image.
    pub samples: usize,
    /// Images.
    pub images: usize,
}

/// What to estimate likelihoods from.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Images, from the first of the set.
    pub images: usize,
    /// Latents per image.
    pub samples: usize,
    /// Draw each pixel as a coin first.
    pub binarise: bool,
    /// Seed of all that is drawn.
    pub seed: u64,
}

/// Bounds on `ln p(x)` of images of `set` from latents of the encoder (Burda et al. 2016, arXiv
/// 1509.00519):
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
    effort: Effort,
    device: &Device,
) -> Result<Likelihoods> {
    let Effort { images: count, samples, binarise, seed } = effort;
    ensure!(samples >= 1, "at least one latent per image is needed");
    ensure!(count >= 1 && count <= set.len(), "{count} of {} images", set.len());
    let (mut elbos, mut nlls) = (Vec::with_capacity(count), Vec::with_capacity(count));
    let mut progress = Progress::start("likelihood", count, 0);
    // A few images with few latents each, or one image with its latents piece by piece.
    let group = (BATCH / samples).max(1);
    for from in (0..count).step_by(group) {
        let rows = group.min(count - from);
        let pixels: Vec<f32> = (from..from + rows)
            .flat_map(|index| self::pixels(set, index, binarise, seed))
            .collect();
        let images = upload(pixels, set.pixels(), device);
        let (posterior, _) = model.encode(images.clone(), phases)?;
        let divergence = download(posterior.divergence())?;
        let [mean, sigma] = [download(posterior.mean.clone())?, download(posterior.sigma())?];
        for row in 0..rows {
            let of_row = |values: &[f32]| values[row * model.latent()..][..model.latent()].to_vec();
            let terms = Weights {
                model,
                phases,
                image: images.clone().narrow(0, row, 1),
                mean: of_row(&mean),
                sigma: of_row(&sigma),
            };
            let (elbo, nll) = terms.bounds(samples, seed, (from + row) as u64, divergence[row])?;
            ensure!(
                elbo.is_finite() && nll.is_finite(),
                "the likelihood of image {} is {nll}",
                from + row
            );
            elbos.push(elbo);
            nlls.push(nll);
        }
        progress.update(from + rows, || format!("NLL {:.2}", Estimate::of(&nlls).mean));
    }
    Ok(Likelihoods { elbo: Estimate::of(&elbos), nll: Estimate::of(&nlls), samples, images: count })
}

/// An image with its posterior.
struct Weights<'a> {
    model: &'a Vae,
    phases: &'a Phases,
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
            let decoded = self.model.decode(upload(latents.clone(), dims, &device), self.phases)?.0;
            let images = self.image.clone().repeat_dim(0, rows);
            let likelihoods = download(self.model.config.log_likelihood(&decoded, &images)?)?;
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use burn::module::Param;
    use burn::tensor::TensorData;
    use hvae_model::{Activation, EpConfig, Kind, VaeConfig};

    use super::*;

    #[test]
    fn pixels_are_drawn_with_the_probability_of_their_grey() {
        let grey: Vec<u8> = (0..200 * 50).map(|at| if at % 2 == 0 { 255 } else { 51 }).collect();
        let set = ImageSet::new(grey, vec![0; 50], 10, 20).unwrap();
        let draw = |index, seed| pixels(&set, index, true, seed);
        let all: Vec<f32> = (0..50).flat_map(|index| draw(index, 1)).collect();
        assert!(
            all.iter().all(|pixel| [0.0_f32, 1.0].map(f32::to_bits).contains(&pixel.to_bits()))
        );
        assert!(all.iter().step_by(2).all(|&pixel| pixel > 0.5));
        let share = all.iter().skip(1).step_by(2).sum::<f32>() / 5000.0;
        // Five standard errors around 0.2.
        assert!((share - 0.2).abs() < 0.029, "{share}");
        assert_eq!(draw(3, 1), draw(3, 1));
        assert_ne!(draw(3, 1), draw(3, 2));
        assert_ne!(draw(3, 1), draw(4, 1));
        assert!((pixels(&set, 0, false, 1)[1] - 0.2).abs() < 1e-6);
    }

    #[test]
    fn the_mean_of_exponentials_does_not_overflow() {
        let found = log_mean_exp(&[1000.0, 1000.0 + 3.0_f64.ln()]);
        assert!((found - (1000.0 + 2.0_f64.ln())).abs() < 1e-12, "{found}");
    }

    /// A linear decoder `x^ = W z`, whose images are Gaussian in closed form.
    fn linear_model(weight: [f32; 3]) -> Vae {
        let config = VaeConfig {
            kind: Kind::FVae,
            hidden: vec![1],
            latent: 1,
            hidden_activation: Activation::Identity.into(),
            visible_activation: Activation::Identity,
            hidden_gain: 1.0,
            visible_gain: 1.0,
            latent_gain: 1.0,
            precision: 4.0,
            initial_log_variance: -0.5,
            ..VaeConfig::default()
        };
        let mut rng = rng::generator(1, Stream::Weights, 0);
        let mut model = Vae::new(&config, 3, &mut rng, &Device::flex()).unwrap();
        let value = |values: &[f32], shape| {
            Param::from_data(TensorData::new(values.to_vec(), shape), &Device::flex())
        };
        // The encoder says the same of every image: mean 0, the initial variance.
        for coupling in &mut model.encoder.couplings {
            let nothing = coupling.weight.val().zeros_like();
            coupling.weight = Param::from_tensor(nothing);
        }
        let decoder = model.decoder.as_mut().unwrap();
        // All biases but that of the log-variances, which come last, start at random.
        let outputs = model.encoder.layers.len() - 1;
        for layer in model.encoder.layers[..outputs].iter_mut().chain(&mut decoder.layers) {
            if let Some(bias) = &mut layer.bias {
                *bias = Param::from_tensor(bias.val().zeros_like());
            }
        }
        decoder.couplings[0].weight = value(&[1.0], [1, 1]);
        decoder.couplings[1].weight = value(&weight, [1, 3]);
        model
    }

    #[test]
    fn the_bound_reaches_the_exact_likelihood_of_a_linear_model() {
        let weight = [0.8_f32, -0.3, 0.4];
        let model = linear_model(weight);
        let set = ImageSet::new(vec![200, 30, 90, 10, 120, 60], vec![0; 2], 1, 3).unwrap();
        let phases = Phases::new(&EpConfig::default()).unwrap();
        let effort = Effort { images: 2, samples: 20_000, binarise: false, seed: 5 };
        let found = likelihoods(&model, &phases, &set, effort, &Device::flex()).unwrap();
        // x ~ N(0, w w^T + I/4): by Sherman and Morrison with |w|^2 = s.
        let s: f64 = weight.iter().map(|w| f64::from(*w).powi(2)).sum();
        let exact = |image: &[u8]| {
            let x: Vec<f64> = image.iter().map(|&b| f64::from(b) / 255.0).collect();
            let square: f64 = x.iter().map(|x| x * x).sum();
            let along: f64 = x.iter().zip(weight).map(|(x, w)| x * f64::from(w)).sum();
            let form = 4.0 * square - 16.0 * along * along / (1.0 + 4.0 * s);
            let log_det = (1.0 + 4.0 * s).ln() - 3.0 * 4.0_f64.ln();
            0.5 * (form + log_det + 3.0 * (2.0 * std::f64::consts::PI).ln())
        };
        let expected = 0.5 * (exact(set.image(0)) + exact(set.image(1)));
        assert!((found.nll.mean - expected).abs() < 0.01, "{found:?} for {expected}");
        assert!(-found.elbo.mean > found.nll.mean + 0.01, "{found:?}");
        assert!(protocol(&model.config, false).contains("precision 4; binarisation: none"));
        // Half the difference of two values is the standard error of their mean.
        let half = 0.5 * (exact(set.image(0)) - exact(set.image(1))).abs();
        assert!((found.nll.standard_error - half).abs() < 0.01, "{found:?} for {half}");
    }

    #[test]
    fn likelihoods_repeat_themselves_and_counts_are_checked() {
        let model = linear_model([0.8, -0.3, 0.4]);
        let set = ImageSet::new(vec![9; 6], vec![0; 2], 1, 3).unwrap();
        let phases = Phases::new(&EpConfig::default()).unwrap();
        let run = |images, samples| {
            let effort = Effort { images, samples, binarise: true, seed: 5 };
            likelihoods(&model, &phases, &set, effort, &Device::flex())
        };
        assert!(run(3, 1).unwrap_err().to_string().contains("3 of 2"));
        assert!(run(1, 0).is_err());
        assert_eq!(run(2, 700).unwrap(), run(2, 700).unwrap());
    }
}
