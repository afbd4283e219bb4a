use anyhow::{Context as _, Result};
use clap::Args;

use crate::api::relax::Sweeps;
use crate::api::trained::Trained;
use crate::cli::values::{DAMPING, Grid, count, number};
use crate::commands::context::{Context, Ended, Run};
use crate::commands::output::{Format, Output, Sheet};
use crate::commands::trained::RunArgs;
use crate::latents::decode::prior_latents;

/// Show images relaxing to equilibrium
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae relax checkpoints/h-vae-001
  hvae relax checkpoints/h-vae-001 --grid 3x6 --damping 0.9 --frames 60 --out slow.gif

Latents drawn from the prior are clamped. Hidden layers and images start at random and relax, sweep
by sweep, to the equilibrium, which depends only on the latent. Without damping this takes a few
sweeps. A .png holds the frames side by side, a row for each image.")]
pub struct Relax {
    /// Rows and columns
    #[arg(long, value_name = "ROWSxCOLUMNS", default_value = "4x8")]
    grid: Grid,
    /// Number of sweeps
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = count(1..=1000))]
    frames: usize,
    /// Damping: the fraction of the old state that every sweep keeps, to slow the relaxation down
    #[arg(long, allow_negative_numbers = true, value_name = "X", default_value_t = 0.8, value_parser = number(DAMPING))]
    damping: f64,
    /// Milliseconds per frame
    #[arg(long, value_name = "MS", default_value_t = 80, value_parser = clap::value_parser!(u32).range(20..=10_000))]
    pace: u32,
    /// Seed of latents and initial states
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Output: a .gif or a .png
    #[arg(long, value_name = "PATH", default_value = "relaxation.gif", value_parser = Output::parser(&[Format::Gif, Format::Png]))]
    out: Output,
    #[command(flatten)]
    run: RunArgs,
}

impl Run for Relax {
    fn run(self, cx: &Context) -> Result<Ended> {
        self.out.require()?;
        let trained = self.run.load(cx)?;
        let frames = self.frames(&trained)?;
        let size = trained.size();
        if self.out.format == Format::Gif {
            let frame = |images| Sheet::new(size, self.grid.columns, images).draw();
            let mut frames: Vec<_> =
                frames.iter().map(|images| frame(images)).collect::<Result<_>>()?;
            // The equilibrium stays visible for a while.
            if let Some(last) = frames.last().cloned() {
                frames.extend(std::iter::repeat_n(last, frames.len() / 3));
            }
            self.out.animate(&frames, self.pace)?;
        } else {
            let pixels = trained.model.pixels();
            let image = |at: usize| frames.iter().flat_map(move |f| &f[at * pixels..][..pixels]);
            let strip: Vec<f32> = (0..self.grid.cells()).flat_map(image).copied().collect();
            self.out.write(&Sheet::new(size, frames.len(), &strip), Vec::new())?;
        }
        Ok(Ended::Done)
    }
}

impl Relax {
    /// The images at the start and after every sweep.
    fn frames(&self, trained: &Trained) -> Result<Vec<Vec<f32>>> {
        let latents = prior_latents(&trained.model, self.grid.cells(), self.seed);
        let Self { frames: count, damping, seed, .. } = *self;
        let layers = trained.relax(latents, Sweeps { count, damping, seed })?;
        let image = layers.into_iter().find(|layer| layer.name == trained.image_layer_name());
        let mut frames = image.context("the image relaxes when a model decodes")?.states;
        for value in frames.iter_mut().flatten() {
            *value = value.clamp(0.0, 1.0);
        }
        Ok(frames)
    }
}
