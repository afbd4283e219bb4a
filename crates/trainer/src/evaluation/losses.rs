//! Losses, loop gains and gradient check of a model on images that it is not trained on.

use anyhow::{Context, Result, ensure};
use burn::tensor::Tensor;
use hvae_data::images::Images;
use hvae_device::{download, upload};
use hvae_model::{Kind, PhaseSettings, Posterior, Vae};
use hvae_runtime::rng::{self, Stream};

use crate::config::RunConfig;
use crate::config::TrainingConfig;
use crate::draws::binarize_from;
use crate::evaluation::gradients;
use crate::latents::decode::EVALUATION_BATCH;
use crate::run::latents::LatentSums;
use crate::run::{GradientCheck, LatentUse, LoopGains, MeanLosses};

/// Images on which the loop gain is measured.
const LOOP_GAIN_IMAGES: usize = 64;
/// Power iterations for the loop gain.
const LOOP_GAIN_ITERATIONS: usize = 30;
/// Images of the gradient check after an epoch.
const GRADIENT_CHECK_IMAGES: usize = 32;
/// Sweeps through which the reference gradient is unrolled.
const GRADIENT_CHECK_SWEEPS: usize = 40;

/// What is measured after an epoch.
#[derive(Debug, Clone)]
pub(crate) struct Evaluation {
    pub(crate) losses: MeanLosses,
    pub(crate) latents: LatentUse,
    pub(crate) loop_gains: Option<LoopGains>,
    pub(crate) gradient_check: Option<GradientCheck>,
}

/// Evaluates `model` after an epoch.
pub(crate) fn evaluate_epoch(
    model: &Vae,
    images: &Images,
    config: &RunConfig,
    phases: &PhaseSettings,
) -> Result<Evaluation> {
    let (losses, latents) = evaluate(model, images, config, phases)?;
    if model.kind() == Kind::FVae {
        return Ok(Evaluation { losses, latents, loop_gains: None, gradient_check: None });
    }
    let loop_gains = Some(loop_gains(model, images, phases)?);
    let gradient_check = Some(gradient_check(model, images, config, phases)?);
    Ok(Evaluation { losses, latents, loop_gains, gradient_check })
}

/// Mean losses: reconstruction error at the posterior mean, ELBO at one sample of the posterior; and
/// how the latents are used.
pub(crate) fn evaluate(
    model: &Vae,
    images: &Images,
    config: &RunConfig,
    phases: &PhaseSettings,
) -> Result<(MeanLosses, LatentUse)> {
    let (mut error, mut log_likelihood, mut divergence) = (0.0, 0.0, 0.0);
    let mut latents = LatentSums::new(model.latent());
    let add = |sum: &mut f64, values: Tensor<1>| -> Result<()> {
        *sum += download(values)?.into_iter().map(f64::from).sum::<f64>();
        Ok(())
    };
    let seed = config.training.seed;
    for (index, mut batch) in images.batches(EVALUATION_BATCH).enumerate() {
        let index = index as u64;
        let phases = &phases.clone().numbered(index);
        if config.data.binarise {
            batch = binarize_from(batch, seed, Stream::EvaluationBinarization, index);
        }
        let reconstruction = model.reconstruct(batch.clone(), None, phases)?;
        add(&mut error, reconstruction.error)?;
        let Posterior { mean, .. } = &reconstruction.posterior;
        latents.add(&download(mean.clone())?, &download(reconstruction.posterior.sigma())?);
        let noise = noise(model, seed, index, &batch);
        let latents = reconstruction.posterior.sample(noise);
        add(&mut divergence, model.prior().divergence(&reconstruction.posterior, &latents))?;
        let (decoding, _) = model.decode(latents, phases)?;
        add(&mut log_likelihood, model.config.log_likelihood(&decoding, &batch)?)?;
    }
    let n = images.len() as f64;
    let losses = MeanLosses {
        reconstruction_error: error / n,
        divergence: divergence / n,
        elbo: (log_likelihood - divergence) / n,
    };
    ensure!(
        losses.elbo.is_finite() && losses.reconstruction_error.is_finite(),
        "validation loss is not finite; lower training.learning_rate"
    );
    Ok((losses, latents.means()))
}

/// The largest loop gains of encoder and decoder over a batch of `images`.
fn loop_gains(model: &Vae, images: &Images, phases: &PhaseSettings) -> Result<LoopGains> {
    let images = images.batches(LOOP_GAIN_IMAGES).next().context("the test set is empty")?;
    let gains = model.loop_gains(images, phases, LOOP_GAIN_ITERATIONS)?;
    let max = |gain: Tensor<1>| f64::from(gain.max().into_scalar::<f32>());
    Ok(LoopGains { encoder: max(gains.encoder), decoder: max(gains.decoder) })
}

/// The EP gradient of a batch of `images` compared with the unrolled gradient.
fn gradient_check(
    model: &Vae,
    images: &Images,
    config: &RunConfig,
    phases: &PhaseSettings,
) -> Result<GradientCheck> {
    let images = images.batches(GRADIENT_CHECK_IMAGES).next();
    let mut images = images.context("the test set is empty")?;
    let TrainingConfig { seed, kl_weight, .. } = config.training;
    if config.data.binarise {
        images = binarize_from(images, seed, Stream::EvaluationBinarization, 0);
    }
    let noise = noise(model, seed, 0, &images);
    // A gradient passes a layer in a sweep.
    let sweeps = GRADIENT_CHECK_SWEEPS.max(2 * model.config.hidden.len());
    let exact = model.unrolled_gradient(images.clone(), noise.clone(), kl_weight, sweeps)?;
    let step = model.training_step(images, noise, kl_weight, phases)?;
    let comparisons = gradients::compare(model, &step.gradients, &exact)?;
    Ok(gradients::summary(&comparisons))
}

/// Normal noise for the latents of the batch `images`, `[rows, latent]`.
fn noise(model: &Vae, seed: u64, index: u64, images: &Tensor<2>) -> Tensor<2> {
    let ([rows, _], dims) = (images.dims(), model.latent());
    upload(rng::normal(seed, Stream::Evaluation, index, rows * dims), dims, &images.device())
}
