use anyhow::Result;
use clap::Args;
use hvae_runtime::terminal;
use serde_json::json;

use crate::cli::values::count;
use crate::commands::context::{Context, Ended, Run};
use crate::commands::output::{Format, JsonArgs, Look, Output, Sheet};
use crate::commands::trained::RunArgs;

/// Decode the patterns of a learned prior
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae prototypes checkpoints/h-vae-hopfield-001
  hvae prototypes checkpoints/h-vae-hopfield-001 --count 40 --columns 10 --out prototypes.png

The patterns of the prior (prior.kind = hopfield) from the most to the least used, row by row. The
weight of each, the probability that a sample is of it, is printed with its number.")]
pub struct Prototypes {
    /// Number of patterns, from the most used
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = count(1..=65_536))]
    count: usize,
    /// Patterns in a row of the picture
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = count(1..=1000))]
    columns: usize,
    /// Output: a .png with a grid, or a .npz with float32 [N, height, width] named `images`
    #[arg(long, value_name = "PATH", default_value = "prototypes.png", value_parser = Output::parser(&[Format::Png, Format::Npz]))]
    out: Output,
    #[command(flatten)]
    json: JsonArgs,
    #[command(flatten)]
    look: Look,
    #[command(flatten)]
    run: RunArgs,
}

impl Run for Prototypes {
    fn run(self, cx: &Context) -> Result<Ended> {
        self.out.require()?;
        self.json.require()?;
        let trained = self.run.load(cx)?;
        let mixture = trained.learned_prior()?.on_host();
        let mut order: Vec<usize> = (0..mixture.weights.len()).collect();
        order.sort_by(|&a, &b| mixture.weights[b].total_cmp(&mixture.weights[a]));
        order.truncate(self.count);
        let latent = trained.model.latent();
        let pattern = |&i: &usize| mixture.patterns[i * latent..][..latent].iter();
        let latents: Vec<f32> = order.iter().flat_map(pattern).map(|&x| x as f32).collect();
        let images = trained.decode(&latents)?;
        let columns = self.columns.min(order.len());
        let caption = trained.caption("patterns of the prior, from the most used", None);
        let sheet = Sheet::new(trained.size(), columns, &images).with(caption, self.look);
        self.out.write(&sheet, Vec::new())?;
        for &index in &order {
            terminal::result(&format!("{index:5}  {:.5}", mixture.weights[index]));
        }
        let row = |&index: &usize| json!({ "pattern": index, "weight": mixture.weights[index] });
        self.json.write(&order.iter().map(row).collect::<Vec<_>>())?;
        Ok(Ended::Done)
    }
}
