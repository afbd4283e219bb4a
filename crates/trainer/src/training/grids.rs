//! Pictures of a model: samples, reconstructions.

use std::path::Path;

use anyhow::{Context, Result};
use burn::tensor::Device;
use hvae_model::{Phases, Vae};

use crate::figures::picture;
use crate::figures::picture::SCALE;
use crate::training::evaluate::EVALUATION_BATCH;
use hvae_data::ImageSize;
use hvae_data::images::Images;
use hvae_device::host::{download, upload};
use hvae_runtime::rng;
use hvae_runtime::rng::Stream;
use hvae_runtime::terminal::Progress;

/// Images of each grid, and how many stand side by side.
const GRID: (usize, usize) = (100, 10);

/// Draws `samples/<name>` and `reconstructions/<name>` in the run `folder`: the same latents and
/// the same test images whatever the model, so that the pictures compare.
///
/// # Errors
///
/// When there are no images, or a file cannot be written.
pub(super) fn draw(
    folder: &Path,
    name: &str,
    model: &Vae,
    test: &Images,
    seed: u64,
    phases: &Phases,
) -> Result<()> {
    let (count, columns) = GRID;
    let ImageSize { height, width } = test.set().shape().size();
    let shown = test.batches(count / 2).next().context("the test set is empty")?;
    let samples = sample(model, count, seed, phases, &shown.device())?;
    let grid = picture::grid(&samples, height, width, columns, SCALE)?;
    picture::save_png(&folder.join("samples").join(name), &grid)?;
    let outputs = model.reconstruct(shown.clone(), None, phases)?.images;
    let (inputs, outputs) = (download(shown)?, download(outputs)?);
    let grid = picture::pairs(&inputs, &outputs, height, width, columns, SCALE)?;
    picture::save_png(&folder.join("reconstructions").join(name), &grid)
}

/// `count` images decoded from the prior, pixel after pixel, image after image.
///
/// # Errors
///
/// When the device cannot be read.
pub fn sample(
    model: &Vae,
    count: usize,
    seed: u64,
    phases: &Phases,
    device: &Device,
) -> Result<Vec<f32>> {
    decode(model, &rng::normal(seed, Stream::Prior, 0, count * model.latent()), phases, device)
}

/// The images of `latents` with values in `[0, 1]`, pixel after pixel, image after image.
///
/// # Errors
///
/// When they do not fit into memory, or the device cannot be read.
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

/// The images of `latents` as the decoder gives them, `batch` at a time, pixel after pixel.
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
