//! What a model is worth on images that it has not learnt from.

use anyhow::{Context, Result, ensure};
use burn::tensor::Tensor;
use hvae_model::{Kind, Phases, Vae};

use crate::config::{RunConfig, TrainingConfig};
use crate::evaluation::gradients;
use crate::run::metrics::{GradientCheck, LoopGains, Losses};
use crate::training::binarize::binarised;
use hvae_data::images::Images;
use hvae_device::host::{download, upload};
use hvae_runtime::rng;
use hvae_runtime::rng::Stream;

/// Images per batch where nothing is learnt.
pub const EVALUATION_BATCH: usize = 500;

/// Test images on which the loop gain is measured, and steps of its power iteration.
const LOOP_GAIN: (usize, usize) = (64, 30);
/// Test images on which gradients are compared each epoch, and sweeps differentiated through.
const GRADIENT_CHECK: (usize, usize) = (32, 40);

/// Mean losses over `images`: reconstruction at the posterior mean, ELBO at one sample of it.
///
/// # Errors
///
/// When a loss is not finite or the device cannot be read.
pub fn evaluate(
    model: &Vae,
    images: &Images,
    config: &RunConfig,
    phases: &Phases,
) -> Result<Losses> {
    let (mut error, mut log_likelihood, mut divergence) = (0.0, 0.0, 0.0);
    let add = |sum: &mut f64, values: Tensor<1>| -> Result<()> {
        *sum += download(values)?.into_iter().map(f64::from).sum::<f64>();
        Ok(())
    };
    let seed = config.training.seed;
    for (index, mut batch) in images.batches(EVALUATION_BATCH).enumerate() {
        let (index, [rows, _]) = (index as u64, batch.dims());
        if config.data.binarise {
            batch = binarised(batch, seed, Stream::EvaluationBinarization, index);
        }
        let reconstruction = model.reconstruct(batch.clone(), None, phases)?;
        add(&mut error, reconstruction.error)?;
        add(&mut divergence, reconstruction.posterior.divergence())?;
        let noise = rng::normal(seed, Stream::Evaluation, index, rows * model.latent());
        let noise = upload(noise, model.latent(), &batch.device());
        let latents = reconstruction.posterior.sample(noise);
        let (decoding, _) = model.decode(latents, phases)?;
        add(&mut log_likelihood, model.config.log_likelihood(&decoding, &batch)?)?;
    }
    let n = images.len() as f64;
    let losses = Losses {
        reconstruction_error: error / n,
        divergence: divergence / n,
        elbo: (log_likelihood - divergence) / n,
    };
    ensure!(
        losses.elbo.is_finite() && losses.reconstruction_error.is_finite(),
        "the loss on the images that training is watched on is not a finite number; lower \
         training.learning_rate"
    );
    Ok(losses)
}

/// The largest loop gains of encoder and decoder over a batch of `images`; none without feedback.
///
/// # Errors
///
/// When there are no images.
pub(super) fn loop_gains(
    model: &Vae,
    images: &Images,
    phases: &Phases,
) -> Result<Option<LoopGains>> {
    if model.kind() == Kind::FVae {
        return Ok(None);
    }
    let images = images.batches(LOOP_GAIN.0).next().context("the test set is empty")?;
    let (encoder, decoder) = model.loop_gains(images, phases, LOOP_GAIN.1)?;
    let max = |gain: Tensor<1>| f64::from(gain.max().into_scalar::<f32>());
    Ok(Some(LoopGains { encoder: max(encoder), decoder: max(decoder) }))
}

/// The estimated gradient of a batch of `images` beside that through the relaxation; none without
/// equilibria.
///
/// # Errors
///
/// When there are no images, or a number is not finite.
pub(super) fn gradient_check(
    model: &Vae,
    images: &Images,
    config: &RunConfig,
    phases: &Phases,
) -> Result<Option<GradientCheck>> {
    if model.kind() == Kind::FVae {
        return Ok(None);
    }
    let (count, sweeps) = GRADIENT_CHECK;
    let mut images = images.batches(count).next().context("the test set is empty")?;
    let TrainingConfig { seed, kl_weight, .. } = config.training;
    if config.data.binarise {
        images = binarised(images, seed, Stream::EvaluationBinarization, 0);
    }
    let ([rows, _], device) = (images.dims(), images.device());
    let noise = rng::normal(seed, Stream::Evaluation, 0, rows * model.latent());
    let noise = upload(noise, model.latent(), &device);
    let exact = model.unrolled_gradient(images.clone(), noise.clone(), kl_weight, sweeps)?;
    let step = model.training_step(images, noise, kl_weight, phases)?;
    let comparisons = gradients::compare(model, &step.gradients, &exact)?;
    Ok(Some(gradients::summary(&comparisons)))
}
