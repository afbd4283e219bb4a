//! Latents of the prior, and images from latents, batch by batch.

use anyhow::{Context, Result};
use burn::tensor::Device;
use hvae_device::{download, upload};
use hvae_model::{PhaseSettings, Vae};
use hvae_runtime::interrupt;
use hvae_runtime::rng::{self, Stream};
use hvae_runtime::terminal::Progress;

/// Images per batch where there is no training step.
pub(crate) const EVALUATION_BATCH: usize = 500;

/// `count` latents of the prior, `[count, latent]`; the same in `hvae sample` and `hvae fid`.
pub(crate) fn prior_latents(model: &Vae, count: usize, seed: u64) -> Vec<f32> {
    model.prior().sample(count, model.latent(), &mut rng::generator(seed, Stream::Prior, 0))
}

/// The images of `latents` with values in `[0, 1]`, pixel after pixel, image after image.
pub(crate) fn decode(
    model: &Vae,
    latents: &[f32],
    phases: &PhaseSettings,
    device: &Device,
) -> Result<Vec<f32>> {
    let count = latents.len() / model.latent();
    let mut images = Vec::new();
    images
        .try_reserve_exact(count * model.pixels())
        .with_context(|| format!("{count} images do not fit into memory"))?;
    decode_parts(model, latents, phases, device, &mut |part| {
        images.extend(part);
        Ok(())
    })?;
    Ok(images)
}

/// Gives the images of [`decode`] to `take`, a batch at a time.
pub(crate) fn decode_parts(
    model: &Vae,
    latents: &[f32],
    phases: &PhaseSettings,
    device: &Device,
    take: &mut dyn FnMut(&[f32]) -> Result<()>,
) -> Result<()> {
    let mut progress = Progress::start("decoding", latents.len() / model.latent(), 0);
    let mut done = 0;
    for batch in decode_batches(model, latents, EVALUATION_BATCH, phases, device) {
        let images: Vec<f32> = batch?.into_iter().map(|value| value.clamp(0.0, 1.0)).collect();
        take(&images)?;
        done += images.len() / model.pixels();
        progress.update(done, String::new);
    }
    Ok(())
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
