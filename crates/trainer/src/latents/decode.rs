//! The images of many latents, batch by batch.

use anyhow::{Context, Result};
use burn::tensor::Device;
use hvae_device::host::{download, upload};
use hvae_model::{Phases, Vae};
use hvae_runtime::terminal::Progress;

use crate::training::evaluate::EVALUATION_BATCH;

/// The decoded images of `latents` (`[rows, latent]`) in `[0, 1]`: `[rows, pixels]`.
///
/// # Errors
///
/// When the images do not fit into memory, or the device cannot be read.
pub fn decode(model: &Vae, latents: &[f32], phases: &Phases, device: &Device) -> Result<Vec<f32>> {
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

/// The decoder's output for `latents`, `batch` at a time, each `[batch, pixels]`.
pub(crate) fn decode_batches(
    model: &Vae,
    latents: &[f32],
    batch: usize,
    phases: &Phases,
    device: &Device,
) -> impl Iterator<Item = Result<Vec<f32>>> {
    latents.chunks(batch * model.latent()).map(|latents| {
        let latents = upload(latents.to_vec(), model.latent(), device);
        download(model.decode(latents, phases)?.0.images)
    })
}
