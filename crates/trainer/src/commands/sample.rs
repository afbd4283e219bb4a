use anyhow::{Result, bail};
use clap::Args;

use crate::cli::values::{Grid, count};
use crate::commands::context::{Context, Ended, Run};
use crate::commands::output::{Format, Look, Output, Sheet};
use crate::commands::trained::RunArgs;
use crate::config::Usage;
use crate::latents::sampler::LatentSource;

/// Decode latents drawn from the prior
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae sample checkpoints/h-vae-001
  hvae sample checkpoints/h-vae-001 --grid 5x20 --seed 7 --out grid.png
  hvae sample checkpoints/h-vae-001 --count 10000 --out samples.npz
  hvae sample checkpoints/h-vae-001 --count 64 --out samples/
  hvae sample checkpoints/h-vae-001 --from mixture

The same RUN, checkpoint, count and seed give the same samples.")]
pub struct Sample {
    /// Number of samples [default: as many as the grid holds]
    #[arg(long, value_name = "N", value_parser = count(1..=1_000_000))]
    count: Option<usize>,
    /// Seed of the latents
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where the latents come from; the mixture needs the run's training images
    #[arg(long, value_enum, default_value_t = LatentSource::Prior)]
    from: LatentSource,
    /// Rows and columns of a picture
    #[arg(long, value_name = "ROWSxCOLUMNS", default_value = "10x10")]
    grid: Grid,
    /// Output: a .png with a grid, a .npz with float32 [N, height, width] named `images`, or else a
    /// folder with one picture each
    #[arg(long, value_name = "PATH", default_value = "samples.png", value_parser = Output::parser(&[Format::Png, Format::Npz, Format::Folder]))]
    out: Output,
    #[command(flatten)]
    look: Look,
    #[command(flatten)]
    run: RunArgs,
}

impl Run for Sample {
    fn run(self, cx: &Context) -> Result<Ended> {
        let Grid { rows, columns } = self.grid;
        let count = self.count.unwrap_or(self.grid.cells());
        if self.out.format == Format::Png && count > self.grid.cells() {
            bail!(Usage::new(format!(
                "--count {count} samples do not fit a --grid of {rows}x{columns}: enlarge it, or \
                 write a .npz or a folder with --out"
            )));
        }
        self.out.require()?;
        let trained = self.run.load(cx)?;
        let latents = trained.latents(self.from, count, self.seed, cx)?;
        if self.out.format != Format::Png {
            let fill =
                |add: &mut dyn FnMut(&[f32]) -> Result<()>| trained.decode_parts(&latents, add);
            self.out.stream(trained.size(), count, fill)?;
            return Ok(Ended::Done);
        }
        let images = trained.decode(&latents)?;
        let what = format!("samples of the {}", self.from.name());
        let caption = trained.caption(&what, Some(self.seed));
        let sheet = Sheet::new(trained.size(), columns.min(count), &images);
        self.out.write(&sheet.with(caption, self.look), Vec::new())?;
        Ok(Ended::Done)
    }
}
