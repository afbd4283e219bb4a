//! Own patterns: images, vectors in a file, or the latents of a run.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use burn::tensor::Tensor;
use hvae_data::own::{OwnImages, Part};
use hvae_data::{Split, images::Images};
use hvae_device::upload;
use hvae_runtime::{memory, npz, npz::Kind, npz::Rows};

use crate::api::trained::Trained;
use crate::commands::context::Context;
use crate::run::choice::CheckpointChoice;
use crate::transition::patterns::PatternSet;

/// Patterns at most.
const MOST: usize = 20_000;
/// Names of arrays of vectors; `means` is that of `hvae reconstruct --out FILE.npz`.
const NAMES: [&str; 4] = ["patterns", "latents", "means", "features"];

/// The patterns at `path`: the first `count`, or all.
pub(super) fn patterns(path: &Path, count: Option<usize>, cx: &Context) -> Result<PatternSet> {
    let shown = path.display();
    let most = count.unwrap_or(MOST);
    let (rows, kind) = if path.join("config.toml").is_file() {
        let trained = Trained::load(path, CheckpointChoice::Latest, cx.device()?)?;
        let images = trained.images(Split::Train, cx)?;
        let wanted = most.min(images.len());
        (trained.means(&images, wanted)?.narrow(0, 0, wanted), format!("latents of {shown}"))
    } else if let Some(rows) = vectors(path, most, cx)? {
        (rows, format!("vectors of {shown}"))
    } else {
        let (set, _) = OwnImages::find(path)?.read(Part::Whole, None)?;
        let images = Images::new(set.take(most), cx.device()?);
        (images.tensor().clone(), format!("images of {shown}"))
    };
    let found = rows.dims()[0];
    let wanted = count.unwrap_or(found);
    ensure!(found >= wanted, "--count {wanted}: {shown} holds {found} patterns");
    PatternSet::new(rows, kind)
}

/// The rows of an array of floats with two axes, at most `most`; `None` if the file holds none.
fn vectors(path: &Path, most: usize, cx: &Context) -> Result<Option<Tensor<2>>> {
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    let name = match ending.as_deref() {
        Some("npy") => None,
        Some("npz") => {
            let names = npz::names(path)?;
            let known = names.iter().find(|name| NAMES.contains(&name.as_str()));
            match (known, &names[..]) {
                (Some(known), _) => Some(known.clone()),
                (None, [only]) => Some(only.clone()),
                _ => return Ok(None),
            }
        }
        _ => return Ok(None),
    };
    npz::read(path, name.as_deref(), |rows| read(rows, most, cx))
}

fn read(rows: &mut Rows<'_>, most: usize, cx: &Context) -> Result<Option<Tensor<2>>> {
    let header = rows.header().clone();
    let (&[count, dimension], Kind::Float(_)) = (&header.shape[..], header.kind) else {
        return Ok(None);
    };
    let count = count.min(most);
    ensure!(count > 0 && dimension > 0, "it holds no vectors");
    let mut values: Vec<f32> = memory::reserve(count * dimension)?;
    for _ in 0..count {
        let row = rows.next_row()?.context("it was cut off")?;
        values.extend(npz::numbers(&row, header.kind).map(|value| value as f32));
    }
    Ok(Some(upload(values, dimension, cx.device()?)))
}
