use anyhow::Result;
use clap::Args;

use crate::api::relax::Sweeps;
use crate::api::trained::Trained;
use crate::cli::values::{DAMPING, Grid, count, number};
use crate::commands::context::{Context, Ended, Run};
use crate::commands::output::{Format, Look, Output, Sheet};
use crate::commands::trained::RunArgs;
use crate::figures::caption::Caption;
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
    look: Look,
    #[command(flatten)]
    run: RunArgs,
}

impl Run for Relax {
    fn run(self, cx: &Context) -> Result<Ended> {
        self.out.require()?;
        let trained = self.run.load(cx)?;
        if self.out.format == Format::Gif { self.animate(&trained) } else { self.strip(&trained) }?;
        Ok(Ended::Done)
    }
}

impl Relax {
    fn animate(&self, trained: &Trained) -> Result<()> {
        let caption = self.caption(trained);
        self.out.animate(self.pace, |add| {
            let (mut number, mut last) = (0, None);
            self.relax(trained, |images| {
                let title = format!("sweep {number} of {} · {}", self.frames, caption.title);
                let caption = Caption { title, ..caption.clone() };
                let sheet = Sheet::new(trained.size(), self.grid.columns, &images);
                let frame = sheet.with(caption, self.look).frame()?;
                number += 1;
                last = Some(frame.clone());
                add(frame)
            })?;
            // The equilibrium stays visible for a while.
            last.into_iter()
                .flat_map(|last| std::iter::repeat_n(last, number / 3))
                .try_for_each(add)
        })
    }

    /// The frames side by side.
    fn strip(&self, trained: &Trained) -> Result<()> {
        let (columns, cells, size) = (self.frames + 1, self.grid.cells(), trained.size());
        self.look.require(size, columns, columns * cells)?;
        let mut frames = Vec::with_capacity(columns);
        self.relax(trained, |images| {
            frames.push(images);
            Ok(())
        })?;
        let pixels = trained.model.pixels();
        let image = |at: usize| frames.iter().flat_map(move |f| &f[at * pixels..][..pixels]);
        let strip: Vec<f32> = (0..cells).flat_map(image).copied().collect();
        let mut caption = self.caption(trained);
        caption.title = format!("sweeps 0 to {} · {}", self.frames, caption.title);
        let sheet = Sheet::new(size, columns, &strip).with(caption, self.look);
        self.out.write(&sheet, Vec::new())
    }

    fn caption(&self, trained: &Trained) -> Caption {
        let what = format!("relaxation with damping {}", self.damping);
        trained.caption(&what, Some(self.seed))
    }

    /// Gives the images at the start and after every sweep to `take`.
    fn relax(&self, trained: &Trained, mut take: impl FnMut(Vec<f32>) -> Result<()>) -> Result<()> {
        let latents = prior_latents(&trained.model, self.grid.cells(), self.seed);
        let Self { frames: count, damping, seed, .. } = *self;
        trained.relax_images(latents, Sweeps { count, damping, seed }, |mut images| {
            for value in &mut images {
                *value = value.clamp(0.0, 1.0);
            }
            take(images)
        })
    }
}
