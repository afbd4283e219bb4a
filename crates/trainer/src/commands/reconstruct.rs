//! `hvae reconstruct`.

use anyhow::{Result, ensure};
use burn::tensor::Device;
use hvae_model::EpConfig;

use crate::cli::{Global, ReconstructArgs};
use crate::figures::picture;
use crate::figures::picture::SCALE;
use crate::run::environment;
use crate::training::evaluate::EVALUATION_BATCH;
use hvae_data::Split;
use hvae_data::config::DataConfig;
use hvae_data::images::Images;
use hvae_device::host::download;
use hvae_runtime::terminal::Progress;
use hvae_runtime::{npz, terminal};

use crate::commands::{Output, SIDE, cannot_write, load, output, require};

/// Sweeps of a free phase at most, under a tolerance of one's own.
const MOST_SWEEPS: usize = 1000;
/// Images unless told otherwise.
const COUNT: usize = 50;
/// Images side by side in a picture.
const COLUMNS: usize = 10;

pub(super) fn run(args: &ReconstructArgs, global: &Global, device: &Device) -> Result<()> {
    let output = output(&args.out);
    ensure!(matches!(output, Output::Png | Output::Npz), cannot_write(&args.out, ".png or .npz"));
    require(&args.out, &output)?;
    let mut trained = load(&args.run, args.checkpoint, device)?;
    if let Some(tolerance) = args.tolerance {
        let free_sweeps = trained.config.ep.free_sweeps.max(MOST_SWEEPS);
        let ep = EpConfig { tolerance, free_sweeps, ..trained.config.ep.clone() };
        trained.phases = crate::training::phases(&ep, device)?;
    }
    let data_dir = environment::data_dir(global.data_dir.as_deref(), &trained.run)?;
    let load =
        |data: &DataConfig| Images::load(data, Split::Test, &data_dir, global.verbosity(), device);
    let available = load(&trained.config.data)?.len();
    let count = args.count.map_or(available.min(COUNT), |count| count as usize);
    ensure!(count <= available, "--count {count}: the run has {available} test images");
    let test = load(&DataConfig { test_images: Some(count), ..trained.config.data.clone() })?;
    let (mut inputs, mut outputs, mut error) = (Vec::new(), Vec::new(), 0.0);
    let (mut means, mut log_variances) = (Vec::new(), Vec::new());
    let mut progress = Progress::start("reconstructing", count, 0);
    for batch in test.batches(EVALUATION_BATCH) {
        let reconstruction = trained.model.reconstruct(batch.clone(), None, &trained.phases)?;
        inputs.extend(download(batch)?);
        means.extend(download(reconstruction.posterior.mean)?);
        log_variances.extend(download(reconstruction.posterior.log_variance)?);
        outputs.extend(download(reconstruction.images.clamp(0.0, 1.0))?);
        error += download(reconstruction.error)?.into_iter().map(f64::from).sum::<f64>();
        progress.update(inputs.len() / (SIDE * SIDE), String::new);
    }
    drop(progress);
    match output {
        Output::Png => {
            let grid = picture::pairs(&inputs, &outputs, SIDE, SIDE, COLUMNS, SCALE)?;
            picture::save_png(&args.out, &grid)?;
        }
        Output::Npz => {
            let shape = vec![count, SIDE, SIDE];
            let labels = test.set().labels();
            let latents = vec![count, trained.model.latent()];
            npz::save(
                &args.out,
                &[
                    ("inputs", npz::Array::F32 { shape: shape.clone(), values: &inputs }),
                    ("images", npz::Array::F32 { shape, values: &outputs }),
                    ("labels", npz::Array::U8 { shape: vec![count], values: labels }),
                    ("means", npz::Array::F32 { shape: latents.clone(), values: &means }),
                    ("log_variances", npz::Array::F32 { shape: latents, values: &log_variances }),
                ],
            )?;
        }
        Output::Gif | Output::Folder => return Err(cannot_write(&args.out, ".png or .npz")),
    }
    terminal::line(&format!("reconstruction error {:.3} per image", error / count as f64));
    terminal::result(&args.out.display().to_string());
    Ok(())
}
