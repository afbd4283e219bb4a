use anyhow::{Result, bail};
use clap::Args;
use hvae_data::{ImageSet, Split};
use hvae_runtime::terminal;
use hvae_scores::classifier;

use crate::api::classes::NamedPatterns;
use crate::api::trained::Trained;
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
  hvae sample checkpoints/h-vae-hopfield-001 --class 7

The same RUN, checkpoint, count and seed give the same samples. --class takes the patterns of a
learned prior that win the latents of most training images of a class; no label is used in training.
The share of samples that the built-in classifier takes for that class is printed.")]
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
    /// Sample from the patterns of one class, of a prior that is a Hopfield network
    #[arg(long, value_name = "LABEL", conflicts_with = "from")]
    class: Option<u8>,
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
        let latents = match self.class {
            Some(class) => {
                let images = trained.images(Split::Train, cx)?;
                NamedPatterns::of(&trained, &images)?.sample(class, count, self.seed)?
            }
            None => trained.latents(self.from, count, self.seed, cx)?,
        };
        if self.out.format == Format::Png {
            let images = trained.decode(&latents)?;
            let what = format!("samples of the {}", self.from.name());
            let caption = trained.caption(&what, Some(self.seed));
            let sheet = Sheet::new(trained.size(), columns.min(count), &images);
            self.out.write(&sheet.with(caption, self.look), Vec::new())?;
        } else {
            let fill =
                |add: &mut dyn FnMut(&[f32]) -> Result<()>| trained.decode_parts(&latents, add);
            self.out.stream(trained.size(), count, fill)?;
        }
        if let Some(class) = self.class {
            print_accuracy(&trained, &latents, class)?;
        }
        Ok(Ended::Done)
    }
}

/// Samples that are classified, at most.
const CLASSIFIED: usize = 1000;

/// Prints the share of the first samples that the built-in classifier takes for `class`, where it
/// can read them.
fn print_accuracy(trained: &Trained, latents: &[f32], class: u8) -> Result<()> {
    let shape = trained.config.data.shape();
    if classifier::check_shape(shape).is_err() || usize::from(class) >= classifier::CLASSES {
        return Ok(());
    }
    let numbers = latents.len().min(CLASSIFIED * trained.model.latent());
    let images = trained.decode(&latents[..numbers])?;
    #[allow(clippy::cast_sign_loss, reason = "between 0 and 255")]
    let bytes: Vec<u8> = images.iter().map(|v| (v * 255.0).round() as u8).collect();
    let count = numbers / trained.model.latent();
    let set = ImageSet::new(bytes, vec![class; count], shape)?;
    let (network, _) = classifier::shipped(&trained.device)?;
    let share = 100.0 * classifier::accuracy(&network, &set, &trained.device)?;
    terminal::result(&format!("{share:.1}% of the samples are classified as {class}"));
    Ok(())
}
