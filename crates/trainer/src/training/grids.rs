//! Pictures of a model: samples, reconstructions.

use std::path::Path;

use anyhow::{Context, Result};
use burn::tensor::Device;
use hvae_model::{Phases, Vae};

use crate::figures::picture;
use crate::figures::picture::SCALE;
use crate::latents::decode::decode;
use crate::latents::sampler::prior_latents;
use hvae_data::images::Images;
use hvae_device::host::download;

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

/// `count` images decoded from the prior, `[count, pixels]`.
fn sample(
    model: &Vae,
    count: usize,
    seed: u64,
    phases: &Phases,
    device: &Device,
) -> Result<Vec<f32>> {
    decode(model, &prior_latents(model, count, seed), phases, device)
}
