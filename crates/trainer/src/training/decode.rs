//! Images from latents, batch by batch.

use anyhow::{Context, Result};
use burn::tensor::Device;
use hvae_device::host::{download, upload};
use hvae_model::{PhaseSettings, Vae};
use hvae_runtime::interrupt;
use hvae_runtime::terminal::Progress;

use crate::latents::prior::prior_latents;
use crate::training::evaluate::EVALUATION_BATCH;

/// `count` images decoded from samples of the prior, pixel after pixel, image after image.
///
/// # Errors
///
/// When the device cannot be read.
pub(crate) fn sample(
    model: &Vae,
    count: usize,
    seed: u64,
    phases: &PhaseSettings,
    device: &Device,
) -> Result<Vec<f32>> {
    decode(model, &prior_latents(model, count, seed), phases, device)
}

/// The images of `latents` with values in `[0, 1]`, pixel after pixel, image after image.
///
/// # Errors
///
/// When they do not fit into memory, or the device cannot be read.
pub(crate) fn decode(
    model: &Vae,
    latents: &[f32],
    phases: &PhaseSettings,
    device: &Device,
) -> Result<Vec<f32>> {
    let count = latents.len() / model.latent();
    let mut progress = Progress::start("decoding", count, 0);
    let mut images = Vec::new();
    images
        .try_reserve_exact(count * model.pixels())
        .with_context(|| format!("{count} images do not fit into memory"))?;
    for batch in decode_batches(model, latents, EVALUATION_BATCH, phases, device) {
        images.extend(batch?.into_iter().map(|value| value.clamp(0.0, 1.0)));
        progress.update(images.len() / model.pixels(), String::new);
    }
    Ok(images)
}

/// The decoder's output for `latents`, not clamped, `batch` images at a time, pixel after pixel.
pub(crate) fn decode_batches(
    model: &Vae,
    latents: &[f32],
    batch: usize,
    phases: &PhaseSettings,
    device: &Device,
) -> impl Iterator<Item = Result<Vec<f32>>> {
    latents.chunks(batch * model.latent()).map(|latents| {
        interrupt::check()?;
        let latents = upload(latents.to_vec(), model.latent(), device);
        download(model.decode(latents, phases)?.0.images)
    })
}
