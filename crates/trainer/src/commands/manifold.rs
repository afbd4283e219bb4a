//! `hvae manifold`.

use anyhow::{Result, bail, ensure};
use burn::tensor::Device;

use crate::cli::Global;
use crate::cli::pictures::ManifoldArgs;
use crate::figures::picture;
use crate::latents::pca::Pca;
use hvae_data::images::SIDE;
use hvae_device::host::download;
use hvae_runtime::{files, terminal};

use crate::commands::{Output, cannot_write, decoded, load, means, output, test_images};

/// Test images that principal directions are taken from.
const IMAGES: usize = 5000;

pub(super) fn run(args: &ManifoldArgs, global: &Global, device: &Device) -> Result<()> {
    ensure!(matches!(output(&args.out), Output::Png), cannot_write(&args.out, ".png"));
    files::require_writable(&args.out)?;
    let range = args.range;
    let trained = load(&args.run, args.checkpoint, device)?;
    let latent = trained.model.latent();
    let chosen = match args.dimensions {
        Some([i, j]) if i.max(j) < latent => Some([i, j]),
        Some([i, j]) => bail!(
            "--dimensions {i},{j}: the run's latent has the coordinates 0 to {}",
            latent.saturating_sub(1)
        ),
        None if latent == 1 => bail!("a latent of one dimension has no plane"),
        None if latent == 2 => Some([0, 1]),
        None => None,
    };
    let place: Box<dyn Fn(f64, f64) -> Vec<f32>> = if let Some([i, j]) = chosen {
        Box::new(move |x, y| {
            let mut point = vec![0.0; latent];
            (point[i], point[j]) = (x as f32, y as f32);
            point
        })
    } else {
        let images = test_images(&trained, global, device)?;
        let means = download(means(&trained, &images, IMAGES)?)?;
        let principal = Pca::of(&means, latent)?;
        Box::new(move |x, y| principal.point(&[x, y]))
    };
    let side = usize::from(args.side);
    let at = |k: usize| range * (2.0 * k as f64 / (side - 1) as f64 - 1.0);
    // To the right along the first axis, upwards along the second.
    let latents = (0..side)
        .rev()
        .flat_map(|y| (0..side).map(move |x| (x, y)))
        .flat_map(|(x, y)| place(at(x), at(y)));
    let images = decoded(&trained, &latents.collect::<Vec<_>>(), device)?;
    let grid = picture::grid(&images, SIDE, SIDE, side, picture::SCALE)?;
    picture::save_png(&args.out, &grid)?;
    terminal::result(&args.out.display().to_string());
    Ok(())
}
