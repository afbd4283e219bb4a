//! Pictures of a model during training: samples and reconstructions.

use std::path::Path;

use anyhow::{Context, Result};
use hvae_data::images::Images;
use hvae_device::download;
use hvae_model::{PhaseSettings, Vae};

use crate::figures::picture::{self, Layout, SCALE};
use crate::latents::decode::{decode, prior_latents};

/// Images in a grid.
const IMAGES: usize = 100;
/// Columns of a grid.
const COLUMNS: usize = 10;

/// Draws `samples/<name>` and `reconstructions/<name>` in the run `folder`. Latents and test images
/// are the same for every model, so that pictures can be compared.
pub(super) fn draw(
    folder: &Path,
    name: &str,
    model: &Vae,
    test: &Images,
    seed: u64,
    phases: &PhaseSettings,
) -> Result<()> {
    let layout = Layout { size: test.set().shape().size(), columns: COLUMNS, scale: SCALE };
    let shown = test.batches(IMAGES / 2).next().context("the test set is empty")?;
    let latents = prior_latents(model, IMAGES, seed);
    let samples = decode(model, &latents, phases, &shown.device())?;
    let grid = picture::grid(&[&samples], layout)?;
    picture::save_png(&folder.join("samples").join(name), &grid)?;
    let outputs = model.reconstruct(shown.clone(), None, phases)?.images;
    let (inputs, outputs) = (download(shown)?, download(outputs)?);
    let grid = picture::grid(&[&inputs, &outputs], layout)?;
    picture::save_png(&folder.join("reconstructions").join(name), &grid)
}
