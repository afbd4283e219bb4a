use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Args;
use hvae_data::Split;
use hvae_runtime::npz::{self, Array};
use hvae_runtime::{files, terminal};

use crate::cli::values::{count, file};
use crate::commands::context::{Context, Ended, Run};
use crate::commands::trained::RunArgs;
use crate::evaluation::source::Source;

/// Encode own images to the means and log-variances of their latents
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae encode checkpoints/h-vae-001 mnist-test --out z.npz
  hvae encode checkpoints/h-vae-001 photos/ --out z.npz
  hvae encode checkpoints/h-vae-001 images.npz --count 1000 --out z.npz

IMAGES is what `hvae train --dataset` takes, mnist-train or mnist-test: the test images, if they are
a part of their own, otherwise all. They are converted to the size of the run's images. The .npz
holds `means` and `log_variances`, float32 [N, latent], and `labels`, uint8 [N]; `hvae decode`
reads it.")]
pub struct Encode {
    #[command(flatten)]
    run: RunArgs,
    /// Images to encode
    #[arg(index = 2)]
    images: PathBuf,
    /// Number of images, from the first [default: all]
    #[arg(long, value_name = "N", value_parser = count(1..))]
    count: Option<usize>,
    /// Output file
    #[arg(long, value_name = "FILE", default_value = "latents.npz", value_parser = file(&["npz"]))]
    out: PathBuf,
}

impl Run for Encode {
    fn run(self, cx: &Context) -> Result<Ended> {
        files::require_writable(&self.out)?;
        let source = Source::find(&self.images)?;
        let trained = self.run.load(cx)?;
        let (shape, data_dir) = (trained.config.data.shape(), cx.global.data_dir.as_deref());
        let set = source.images(Split::Test, Some(shape), data_dir)?;
        let count = self.count.unwrap_or(set.len());
        ensure!(count <= set.len(), "--count {count}: {source} has {} images", set.len());
        let set = set.take(count);
        let pixels: Vec<f32> = set.bytes().iter().map(|&byte| f32::from(byte) / 255.0).collect();
        let posteriors = trained.encode(&pixels)?;
        let shape = vec![count, trained.model.latent()];
        let arrays = [
            ("means", Array::F32(shape.clone(), &posteriors.means)),
            ("log_variances", Array::F32(shape, &posteriors.log_variances)),
            ("labels", Array::U8(vec![count], set.labels())),
        ];
        npz::save(&self.out, &arrays)?;
        terminal::result(&self.out.display().to_string());
        Ok(Ended::Done)
    }
}
