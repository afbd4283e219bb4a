//! What a model is worth on images that it has not learnt from.

use anyhow::{Context, Result, ensure};
use burn::tensor::Tensor;
use hvae_model::{Kind, Phases, Vae};

use super::EVALUATION_BATCH;
use crate::config::RunConfig;
use crate::images::{Images, download, upload};
use crate::metrics::{Likelihood, LoopGains, Losses};
use crate::rng::{self, Stream};

/// Test images on which the loop gain is measured, and steps of its power iteration.
const LOOP_GAIN: (usize, usize) = (64, 30);

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
    let (mut error, mut sampled_error, mut divergence) = (0.0, 0.0, 0.0);
    let add = |sum: &mut f64, values: Tensor<1>| -> Result<()> {
        *sum += download(values)?.into_iter().map(f64::from).sum::<f64>();
        Ok(())
    };
    for (index, batch) in images.batches(EVALUATION_BATCH).enumerate() {
        let [rows, _] = batch.dims();
        let reconstruction = model.reconstruct(batch.clone(), None, phases)?;
        add(&mut error, reconstruction.error)?;
        add(&mut divergence, reconstruction.posterior.divergence())?;
        let seed = config.training.seed;
        let noise = rng::normal(seed, Stream::Evaluation, index as u64, rows * model.latent());
        let noise = upload(noise, model.latent(), &batch.device());
        let latents = reconstruction.posterior.sample(noise);
        let sampled = model.decode(latents, phases)?.0 - batch;
        add(&mut sampled_error, sampled.square().sum_dim(1).squeeze_dim(1))?;
    }
    let n = images.len() as f64;
    let likelihood = Likelihood { precision: model.precision, pixels: model.pixels() };
    let losses = likelihood.losses(error / n, sampled_error / n, divergence / n);
    ensure!(
        losses.elbo.is_finite() && losses.reconstruction_error.is_finite(),
        "the test loss is not a finite number; lower training.learning_rate"
    );
    Ok(losses)
}

/// The largest loop gains of encoder and decoder over a batch of `images`; none without feedback.
///
/// # Errors
///
/// When there are no images.
pub fn loop_gains(model: &Vae, images: &Images, phases: &Phases) -> Result<Option<LoopGains>> {
    if model.kind == Kind::FVae {
        return Ok(None);
    }
    let images = images.batches(LOOP_GAIN.0).next().context("the test set is empty")?;
    let (encoder, decoder) = model.loop_gains(images, phases, LOOP_GAIN.1)?;
    let max = |gain: Tensor<1>| f64::from(gain.max().into_scalar::<f32>());
    Ok(Some(LoopGains { encoder: max(encoder), decoder: max(decoder) }))
}
