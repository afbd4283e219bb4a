//! Pictures of a model during training: samples and reconstructions.

use std::path::Path;

use anyhow::{Context, Result};
use hvae_data::images::Images;
use hvae_device::download;
use hvae_model::{PhaseSettings, Vae};
use hvae_runtime::files;

use crate::figures::caption::{self, Caption, Png};
use crate::figures::picture::{self, Layout, ROOM};
use crate::latents::decode::{decode, prior_latents};

/// Images in a grid.
const IMAGES: usize = 100;
/// Columns of a grid.
const COLUMNS: usize = 10;

/// Where pictures are from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment<'a> {
    /// Name of the files.
    pub(super) file: &'a str,
    /// The time for their titles.
    pub(super) shown: &'a str,
    pub(super) step: usize,
    pub(super) seed: u64,
}

/// Draws `samples/<file>` and `reconstructions/<file>` in the run `folder`, and returns both.
/// Latents and test images are the same for every model, so that pictures can be compared.
pub(super) fn draw(
    folder: &Path,
    moment: Moment<'_>,
    model: &Vae,
    test: &Images,
    phases: &PhaseSettings,
) -> Result<[(&'static str, Png); 2]> {
    let size = test.set().shape().size();
    let shown = test.batches(IMAGES / 2).next().context("the test set is empty")?;
    let latents = prior_latents(model, IMAGES, moment.seed);
    let samples = decode(model, &latents, phases, &shown.device())?;
    let outputs = model.reconstruct(shown.clone(), None, phases)?.images;
    let (inputs, outputs) = (download(shown)?, download(outputs)?);
    let save = |kind, title: &str, rows: &[&str], layers: &[&[f32]]| {
        let texts = moment.caption(folder, title, rows);
        let count = layers.iter().map(|images| images.len() / (size.height * size.width)).sum();
        let layout = Layout::fitting(size, COLUMNS, count, ROOM);
        let grid = picture::grid(layers, layout)?;
        let grid = texts.around(grid, u32::try_from(size.height)? * layout.scale)?;
        let png = caption::png(&grid, &texts)?;
        files::write(&folder.join(kind).join(moment.file), &png.bytes)?;
        anyhow::Ok((kind, png))
    };
    let pairs = ["images", "reconstructed"];
    Ok([
        save("samples", "samples of the prior", &[], &[&samples])?,
        save("reconstructions", "reconstructions", &pairs, &[&inputs, &outputs])?,
    ])
}

impl Moment<'_> {
    fn caption(self, run: &Path, title: &str, rows: &[&str]) -> Caption {
        let Self { shown, step, seed, .. } = self;
        let name = run.file_name().unwrap_or(run.as_os_str()).to_string_lossy();
        Caption {
            title: format!("{title} · {name}, {shown}"),
            rows: rows.iter().map(|&row| row.to_owned()).collect(),
            facts: vec![
                ("Run", run.display().to_string()),
                ("Step", step.to_string()),
                ("Seed", seed.to_string()),
            ],
        }
    }
}
