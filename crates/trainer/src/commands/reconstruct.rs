use anyhow::{Result, ensure};
use clap::Args;
use hvae_data::Split;
use hvae_model::EpConfig;
use hvae_runtime::npz::Array;
use hvae_runtime::terminal;
use serde_json::json;

use crate::cli::values::{NOT_NEGATIVE, count, number};
use crate::commands::context::{Context, Ended, Run};
use crate::commands::output::{Format, JsonArgs, Look, Output, Sheet};
use crate::commands::trained::RunArgs;
use crate::training;

/// Reconstruct test images
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae reconstruct checkpoints/h-vae-001 --out reconstructions.png
  hvae reconstruct checkpoints/h-vae-001 --count 10000 --out reconstructions.npz

In a picture each row of test images is above the row of their reconstructions.
A .npz holds `inputs` and `images`, float32 [N, height, width], `labels`, uint8 [N], and `means` and
`log_variances` of the posterior, float32 [N, latent].")]
pub struct Reconstruct {
    /// Number of test images, from the first [default: 50, or all if there are fewer]
    #[arg(long, value_name = "N", value_parser = count(1..))]
    count: Option<usize>,
    /// Output: a .png or a .npz
    #[arg(long, value_name = "PATH", default_value = "reconstructions.png", value_parser = Output::parser(&[Format::Png, Format::Npz]))]
    out: Output,
    /// Relative residual at which an equilibrium is reached [default: the run's ep.tolerance]
    #[arg(long, allow_negative_numbers = true, value_name = "X", value_parser = number(NOT_NEGATIVE))]
    tolerance: Option<f64>,
    #[command(flatten)]
    json: JsonArgs,
    #[command(flatten)]
    look: Look,
    #[command(flatten)]
    run: RunArgs,
}

/// Fewest `ep.free_sweeps` with `--tolerance`.
const FREE_SWEEPS: usize = 1000;
const COUNT: usize = 50;
const COLUMNS: usize = 10;

impl Run for Reconstruct {
    fn run(self, cx: &Context) -> Result<Ended> {
        self.out.require()?;
        self.json.require()?;
        let mut trained = self.run.load(cx)?;
        if let Some(tolerance) = self.tolerance {
            let free_sweeps = trained.config.ep.free_sweeps.max(FREE_SWEEPS);
            let ep = EpConfig { tolerance, free_sweeps, ..trained.config.ep.clone() };
            trained.phases = training::phases(&ep, &trained.device)?;
        }
        let test = trained.images(Split::Test, cx)?;
        let count = self.count.unwrap_or(test.len().min(COUNT));
        ensure!(count <= test.len(), "--count {count}: the run has {} test images", test.len());
        let bytes = &test.set().bytes()[..count * trained.model.pixels()];
        let inputs: Vec<f32> = bytes.iter().map(|&byte| f32::from(byte) / 255.0).collect();
        let found = trained.reconstruct(&inputs)?;
        let mut caption = trained.caption(&format!("{count} test images"), None);
        caption.rows = ["images", "reconstructed"].map(str::to_owned).into();
        let sheet = Sheet {
            caption,
            look: self.look,
            size: trained.size(),
            columns: COLUMNS,
            layers: vec![("inputs", &inputs), ("images", &found.images)],
        };
        let latents = vec![count, trained.model.latent()];
        let labels = &test.set().labels()[..count];
        let arrays = vec![
            ("labels", Array::U8(vec![count], labels)),
            ("means", Array::F32(latents.clone(), &found.posteriors.means)),
            ("log_variances", Array::F32(latents, &found.posteriors.log_variances)),
        ];
        let error = found.errors.iter().map(|&e| f64::from(e)).sum::<f64>() / count as f64;
        terminal::line(&format!("reconstruction error {error:.3} per image"));
        self.out.write(&sheet, arrays)?;
        let out = self.out.path.display().to_string();
        self.json.write(&json!({ "reconstruction_error": error, "images": count, "file": out }))?;
        Ok(Ended::Done)
    }
}
