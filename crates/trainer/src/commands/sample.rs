//! `hvae sample`.

use anyhow::{Result, bail};
use burn::tensor::Device;

use crate::cli::{Global, SampleArgs};
use crate::config::Usage;
use crate::figures::picture;
use hvae_runtime::{npz, terminal};

use crate::commands::fid::latents;
use crate::commands::{Output, SIDE, cannot_write, decoded, load, output, require};

pub(super) fn run(args: &SampleArgs, global: &Global, device: &Device) -> Result<()> {
    let output = output(&args.out);
    let (rows, columns) = args.grid;
    let count = args.count.map_or(rows * columns, |c| c as usize);
    let columns = columns.min(count);
    if matches!(output, Output::Png) && count > rows * args.grid.1 {
        bail!(Usage::new(format!(
            "--count {count} samples do not fit a --grid of {rows}x{}: enlarge it, or write a .npz \
             or a folder with --out",
            args.grid.1
        )));
    }
    require(&args.out, &output)?;
    let trained = load(&args.run, args.checkpoint, device)?;
    let latents = latents(&trained, args.from, count, args.seed, global, device)?;
    let images = decoded(&trained, &latents, device)?;
    match output {
        Output::Png => {
            let grid = picture::grid(&images, SIDE, SIDE, columns, picture::SCALE)?;
            picture::save_png(&args.out, &grid)?;
        }
        Output::Npz => {
            let array = npz::Array::F32 { shape: vec![count, SIDE, SIDE], values: &images };
            npz::save(&args.out, &[("images", array)])?;
        }
        Output::Gif => return Err(cannot_write(&args.out, ".png, .npz or a folder")),
        Output::Folder => picture::save_folder(&args.out, &images, SIDE, SIDE)?,
    }
    terminal::result(&args.out.display().to_string());
    Ok(())
}
