//! `hvae reconstruct`.

use anyhow::{Result, bail, ensure};
use burn::tensor::Device;

use crate::cli::{Global, ReconstructArgs};
use crate::config::DataConfig;
use crate::data::Split;
use crate::images::{Images, download};
use crate::report::Progress;
use crate::training::{EVALUATION_BATCH, SCALE};
use crate::{npz, picture, report};

use super::{Output, SIDE, load, output};

/// Images side by side in a picture.
const COLUMNS: usize = 10;

pub(super) fn run(args: &ReconstructArgs, global: &Global, device: &Device) -> Result<()> {
    let output = output(&args.out)?;
    let trained = load(&args.run, args.checkpoint, device)?;
    let count = args.count as usize;
    let load = |data: &DataConfig| {
        Images::load(data, Split::Test, &global.data_dir, global.verbosity(), device)
    };
    let available = load(&trained.config.data)?.len();
    ensure!(count <= available, "--count {count}: the run has {available} test images");
    let test = load(&DataConfig { test_images: Some(count), ..trained.config.data })?;
    let (mut inputs, mut outputs, mut error) = (Vec::new(), Vec::new(), 0.0);
    let mut progress = Progress::start("reconstructing", count, 0);
    for batch in test.batches(EVALUATION_BATCH) {
        let reconstruction = trained.model.reconstruct(batch.clone(), None, &trained.phases)?;
        inputs.extend(download(batch)?);
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
            npz::save(
                &args.out,
                &[
                    ("inputs", npz::Array::F32 { shape: shape.clone(), values: &inputs }),
                    ("images", npz::Array::F32 { shape, values: &outputs }),
                    ("labels", npz::Array::U8 { shape: vec![count], values: labels }),
                ],
            )?;
        }
        Output::Folder => bail!("--out {}: write a .png or a .npz", args.out.display()),
    }
    report::line(&format!("reconstruction error {:.3} per image", error / count as f64));
    report::result(&args.out.display().to_string());
    Ok(())
}
