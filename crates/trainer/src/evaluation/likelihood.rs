//! Bounds on the likelihood of images: evidence lower bound and importance-weighted bound.

use std::fmt;

use anyhow::{Result, ensure};
use burn::tensor::{Device, Tensor};
use hvae_data::ImageSet;
use hvae_device::{download, upload};
use hvae_model::{Likelihood, PhaseSettings, Vae, VaeConfig};
use hvae_runtime::interrupt;
use hvae_runtime::rng::{self, Stream};
use hvae_runtime::terminal::Progress;
use serde::Serialize;

use crate::draws::binarize;

/// Latents decoded at once.
const BATCH: usize = 500;

/// Decoder distribution and binarization, for the protocol of a score.
pub(crate) fn protocol(config: &VaeConfig, binarise: bool) -> String {
    let decoder = match config.likelihood {
        Likelihood::Gaussian => format!("Gaussian decoder of precision {}", config.precision),
        Likelihood::Bernoulli => "Bernoulli decoder".to_owned(),
    };
    let pixels = if binarise {
        "dynamic (each pixel is 1 with the probability of its grey value)"
    } else {
        "none (pixels in [0, 1])"
    };
    format!("{decoder}; binarization: {pixels}")
}

/// A mean over images with its standard error.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Estimate {
    pub(crate) mean: f64,
    /// Standard deviation over the images, divided by the root of their number.
    pub(crate) standard_error: f64,
}

impl Estimate {
    fn of(values: &[f64]) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Self { mean, standard_error: (squares / (n - 1.0).max(1.0) / n).sqrt() }
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} +- {:.3}", self.mean, self.standard_error)
    }
}

/// Bounds on the likelihood of a set of images.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Likelihoods {
    /// Evidence lower bound in nats per image; the KL divergence in closed form if there is one.
    pub(crate) elbo: Estimate,
    /// Negative log-likelihood in nats per image: the importance-weighted bound.
    pub(crate) nll: Estimate,
    /// Latents per image, `K`.
    pub(crate) samples: usize,
    pub(crate) images: usize,
}

/// How bounds are estimated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LikelihoodSettings {
    /// Number of images, from the first of the set.
    pub(crate) images: usize,
    /// Latents per image, `K`.
    pub(crate) samples: usize,
    pub(crate) binarise: bool,
    pub(crate) seed: u64,
}

/// Bounds on the likelihood of images of `set`, as [`bounds`] finds them.
pub(crate) fn likelihoods(
    model: &Vae,
    phases: &PhaseSettings,
    set: &ImageSet,
    settings: LikelihoodSettings,
    device: &Device,
) -> Result<Likelihoods> {
    let LikelihoodSettings { images: count, samples, .. } = settings;
    ensure!(count >= 1 && count <= set.len(), "{count} of {} images", set.len());
    let bytes = &set.bytes()[..count * set.pixels()];
    let images: Vec<f32> = bytes.iter().map(|&byte| f32::from(byte) / 255.0).collect();
    let found = bounds(model, phases, &images, settings, device)?;
    let of = |value: fn(&Bounds) -> f64| Estimate::of(&found.iter().map(value).collect::<Vec<_>>());
    Ok(Likelihoods { elbo: of(|b| b.elbo), nll: of(|b| b.nll), samples, images: count })
}

/// For each of `images`, one after another in `[0, 1]`, bounds on `ln p(x)` from posterior samples
/// (Burda et al. 2016, arXiv 1509.00519): its ELBO and its NLL,
///
/// ```text
/// ELBO = mean_k ln p(x|z_k) - KL(q(z|x) || p(z))
/// -NLL = ln 1/K sum_k p(x|z_k) p(z_k) / q(z_k|x)          z_k from q(z|x)
/// ```
pub(crate) fn bounds(
    model: &Vae,
    phases: &PhaseSettings,
    images: &[f32],
    settings: LikelihoodSettings,
    device: &Device,
) -> Result<Vec<Bounds>> {
    let LikelihoodSettings { samples, binarise, seed, .. } = settings;
    ensure!(samples >= 1, "at least one latent per image is needed");
    let count = images.len() / model.pixels();
    let mut found = Vec::with_capacity(count);
    let mut progress = Progress::start("likelihood", count, 0);
    // Several images with few latents each, or one image with its latents in batches.
    let group = (BATCH / samples).max(1);
    for (pixels, from) in images.chunks(group * model.pixels()).zip((0..).step_by(group)) {
        let images = upload(pixels.to_vec(), model.pixels(), device);
        let images = if binarise { binarized(images, from, seed) } else { images };
        let (posterior, _) = model.encode(images.clone(), phases)?;
        let divergence = model.prior().closed_divergence(&posterior).map(download).transpose()?;
        let [mean, sigma] = [download(posterior.mean.clone())?, download(posterior.sigma())?];
        for row in 0..images.dims()[0] {
            interrupt::check()?;
            let of_row = |values: &[f32]| values[row * model.latent()..][..model.latent()].to_vec();
            let image = ImagePosterior {
                model,
                phases,
                image: images.clone().narrow(0, row, 1),
                mean: of_row(&mean),
                sigma: of_row(&sigma),
            };
            let index = from + row;
            let divergence = divergence.as_ref().map(|of_each| of_each[row]);
            let both = image.bounds(samples, seed, index as u64, divergence)?;
            let finite = both.elbo.is_finite() && both.nll.is_finite();
            ensure!(finite, "the likelihood of image {index} is {}", both.nll);
            found.push(both);
        }
        progress.update(found.len(), || {
            let sum: f64 = found.iter().map(|both: &Bounds| both.nll).sum();
            format!("NLL {:.2}", sum / found.len() as f64)
        });
    }
    Ok(found)
}

/// `images` (`[images, pixels]` in `[0, 1]`), of which the first has the index `first`, binarized
/// by the random numbers of `(seed, index)`.
fn binarized(images: Tensor<2>, first: usize, seed: u64) -> Tensor<2> {
    let [rows, pixels] = images.dims();
    let uniform = (first..first + rows)
        .flat_map(|index| rng::uniform(seed, Stream::LikelihoodBinarization, index as u64, pixels));
    binarize(images, uniform.collect())
}

/// An image with its posterior.
struct ImagePosterior<'a> {
    model: &'a Vae,
    phases: &'a PhaseSettings,
    image: Tensor<2>,
    mean: Vec<f32>,
    sigma: Vec<f32>,
}

/// The bounds of one image, in nats.
pub(crate) struct Bounds {
    pub(crate) elbo: f64,
    pub(crate) nll: f64,
}

impl ImagePosterior<'_> {
    /// Without the `divergence` the ELBO, too, is a mean over all samples.
    fn bounds(
        &self,
        samples: usize,
        seed: u64,
        index: u64,
        divergence: Option<f32>,
    ) -> Result<Bounds> {
        let dims = self.mean.len();
        let noise = rng::normal(seed, Stream::Importance, index, samples * dims);
        let (mut reconstruction, mut ratios, mut logs) = (0.0, 0.0, Vec::with_capacity(samples));
        for noise in noise.chunks(BATCH * dims) {
            let rows = noise.len() / dims;
            let latent = |(at, e): (usize, &f32)| self.mean[at % dims] + self.sigma[at % dims] * e;
            let latents: Vec<f32> = noise.iter().enumerate().map(latent).collect();
            let device = self.image.device();
            let decoded = self.model.decode(upload(latents.clone(), dims, &device), self.phases)?.0;
            let images = self.image.clone().repeat_dim(0, rows);
            let likelihoods = download(self.model.config.log_likelihood(&decoded, &images)?)?;
            let priors = self.model.prior().log_densities_per_gaussian(&latents, dims);
            for ((prior, noise), likelihood) in
                priors.iter().zip(noise.chunks(dims)).zip(likelihoods)
            {
                // ln p(z) - ln q(z|x), both per (2 pi)^(d/2).
                let posterior = noise.iter().zip(&self.sigma).map(|(&e, &s)| {
                    let [e, s] = [e, s].map(f64::from);
                    -0.5 * e * e - s.ln()
                });
                let ratio = prior - posterior.sum::<f64>();
                ratios += ratio;
                reconstruction += f64::from(likelihood);
                logs.push(f64::from(likelihood) + ratio);
            }
        }
        let divergence = divergence.map_or(-ratios / samples as f64, f64::from);
        let elbo = reconstruction / samples as f64 - divergence;
        Ok(Bounds { elbo, nll: -log_mean_exp(&logs) })
    }
}

/// `ln (1/n sum exp v)` by log-sum-exp.
fn log_mean_exp(values: &[f64]) -> f64 {
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = values.iter().map(|value| (value - largest).exp()).sum();
    largest + (sum / values.len() as f64).ln()
}

#[cfg(test)]
mod tests {
    use burn::module::Param;
    use hvae_data::ImageShape;
    use hvae_model::{Activation, EpConfig, Kind, ReadPolicy, Shape, VaeConfig};

    use super::*;

    #[test]
    fn pixels_are_one_with_the_probability_of_their_grey_value() {
        let grey: Vec<u8> = (0..200 * 50).map(|at| if at % 2 == 0 { 255 } else { 51 }).collect();
        let set = ImageSet::new(grey, vec![0; 50], ImageShape::grey(10, 20)).unwrap();
        let images = |from: usize, count: usize, seed| {
            let bytes = &set.bytes()[from * 200..][..count * 200];
            let pixels = bytes.iter().map(|&byte| f32::from(byte) / 255.0).collect();
            let images = upload(pixels, 200, &Device::flex());
            download(binarized(images, from, seed)).unwrap()
        };
        let draw = |index, seed| images(index, 1, seed);
        let all: Vec<f32> = (0..50).flat_map(|index| draw(index, 1)).collect();
        let binary = [0.0_f32, 1.0].map(f32::to_bits);
        assert!(all.iter().all(|pixel| binary.contains(&pixel.to_bits())));
        assert!(all.iter().step_by(2).all(|&pixel| pixel > 0.5));
        let share = all.iter().skip(1).step_by(2).sum::<f32>() / 5000.0;
        // Five standard errors around 0.2.
        assert!((share - 0.2).abs() < 0.029, "{share}");
        assert_eq!(draw(3, 1), draw(3, 1));
        assert_ne!(draw(3, 1), draw(3, 2));
        assert_ne!(draw(3, 1), draw(4, 1));
        // The numbers of an image do not depend on its batch.
        assert_eq!(images(3, 2, 1), [draw(3, 1), draw(4, 1)].concat());
    }

    #[test]
    fn log_mean_exp_does_not_overflow() {
        let found = log_mean_exp(&[1000.0, 1000.0 + 3.0_f64.ln()]);
        assert!((found - (1000.0 + 2.0_f64.ln())).abs() < 1e-12, "{found}");
    }

    /// A linear decoder `x^ = W z`, whose marginal likelihood is Gaussian in closed form.
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
        let mut model = Vae::new(&config, Shape::flat(3), &mut rng, &Device::flex()).unwrap();
        let value = |values: &[f32]| Tensor::<1>::from_data(values, &Device::flex());
        // The posterior of every image has mean 0 and the initial variance.
        for coupling in &mut model.encoder.couplings {
            coupling.set_weights(coupling.weights().zeros_like());
        }
        let decoder = model.decoder.as_mut().unwrap();
        // All biases but that of the log-variances, which come last, start at random.
        let outputs = model.encoder.layers.len() - 1;
        for layer in model.encoder.layers[..outputs].iter_mut().chain(&mut decoder.layers) {
            if let Some(bias) = &mut layer.bias {
                *bias = Param::from_tensor(bias.val().zeros_like());
            }
        }
        decoder.couplings[0].set_weights(value(&[1.0]));
        decoder.couplings[1].set_weights(value(&weight));
        model
    }

    const WEIGHT: [f32; 3] = [0.8, -0.3, 0.4];

    /// Of two images of three pixels.
    fn run(pixels: [u8; 6], images: usize, samples: usize, binarise: bool) -> Result<Likelihoods> {
        let set = ImageSet::new(pixels.to_vec(), vec![0; 2], ImageShape::grey(1, 3)).unwrap();
        let phases = PhaseSettings::new(&EpConfig::default(), ReadPolicy::EveryStep).unwrap();
        let settings = LikelihoodSettings { images, samples, binarise, seed: 5 };
        likelihoods(&linear_model(WEIGHT), &phases, &set, settings, &Device::flex())
    }

    #[test]
    fn the_bound_reaches_the_exact_likelihood_of_a_linear_model() {
        let pixels = [200, 30, 90, 10, 120, 60];
        let found = run(pixels, 2, 20_000, false).unwrap();
        // x ~ N(0, w w^T + I/4), by the Sherman-Morrison formula with |w|^2 = s.
        let s: f64 = WEIGHT.iter().map(|w| f64::from(*w).powi(2)).sum();
        let exact = |image: &[u8]| {
            let x: Vec<f64> = image.iter().map(|&b| f64::from(b) / 255.0).collect();
            let square: f64 = x.iter().map(|x| x * x).sum();
            let along: f64 = x.iter().zip(WEIGHT).map(|(x, w)| x * f64::from(w)).sum();
            let form = 4.0 * square - 16.0 * along * along / (1.0 + 4.0 * s);
            let log_det = (1.0 + 4.0 * s).ln() - 3.0 * 4.0_f64.ln();
            0.5 * (form + log_det + 3.0 * (2.0 * std::f64::consts::PI).ln())
        };
        let [first, second] = [exact(&pixels[..3]), exact(&pixels[3..])];
        let expected = 0.5 * (first + second);
        assert!((found.nll.mean - expected).abs() < 0.01, "{found:?} for {expected}");
        assert!(-found.elbo.mean > found.nll.mean + 0.01, "{found:?}");
        assert!(
            protocol(&linear_model(WEIGHT).config, false)
                .contains("precision 4; binarization: none")
        );
        // The standard error of the mean of two values is half their difference.
        let half = 0.5 * (first - second).abs();
        assert!((found.nll.standard_error - half).abs() < 0.01, "{found:?} for {half}");
    }

    #[test]
    fn likelihoods_are_deterministic_and_counts_are_checked() {
        let run = |images, samples| run([9; 6], images, samples, true);
        assert!(run(3, 1).unwrap_err().to_string().contains("3 of 2"));
        assert!(run(1, 0).is_err());
        assert_eq!(run(2, 700).unwrap(), run(2, 700).unwrap());
    }
}
