//! Pictures of a model: samples, reconstructions.

use std::path::Path;

use anyhow::{Context, Result};
use burn::tensor::Device;
use hvae_model::{Phases, Vae};

use super::{EVALUATION_BATCH, SCALE};
use crate::images::{Images, download, upload};
use crate::picture;
use crate::report::Progress;
use crate::rng::{self, Stream};

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
    let (height, width) = (test.set().height(), test.set().width());
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

/// The images of `latents`, pixel after pixel, image after image.
///
/// # Errors
///
/// When the device cannot be read.
pub fn decode(model: &Vae, latents: &[f32], phases: &Phases, device: &Device) -> Result<Vec<f32>> {
    let count = latents.len() / model.latent();
    let mut progress = Progress::start("sampling", count, 0);
    let mut images = Vec::new();
    images
        .try_reserve_exact(count * model.pixels())
        .with_context(|| format!("{count} samples do not fit into memory"))?;
    for chunk in latents.chunks(EVALUATION_BATCH * model.latent()) {
        let latents = upload(chunk.to_vec(), model.latent(), device);
        images.extend(download(model.decode(latents, phases)?.0.images.clamp(0.0, 1.0))?);
        progress.update(images.len() / model.pixels(), String::new);
    }
    Ok(images)
}
