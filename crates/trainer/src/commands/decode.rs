use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use hvae_runtime::npz::{self, Loaded, Values};

use crate::cli::values::file;
use crate::commands::context::{Context, Ended, Run};
use crate::commands::output::{Format, Look, Output, Sheet};
use crate::commands::trained::RunArgs;

/// Decode own latents to images
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae decode checkpoints/h-vae-001 z.npz --out images.npz
  hvae decode checkpoints/h-vae-001 z.npz --out images/
  hvae decode checkpoints/h-vae-001 latents.npy --out grid.png

The latents are an array [N, latent] of numbers: `latents` or `means` of a .npz, as `hvae encode`
writes it, its only array, or that of a .npy.")]
pub struct Decode {
    #[command(flatten)]
    look: Look,
    #[command(flatten)]
    run: RunArgs,
    /// Latents to decode
    #[arg(index = 2, value_parser = file(&["npz", "npy"]))]
    latents: PathBuf,
    /// Output: a .png with a grid, a .npz with float32 [N, height, width] named `images`, or else a
    /// folder with one picture each
    #[arg(long, value_name = "PATH", default_value = "decoded.png", value_parser = Output::parser(&[Format::Png, Format::Npz, Format::Folder]))]
    out: Output,
}

/// Images side by side in a picture.
const COLUMNS: usize = 10;

impl Run for Decode {
    fn run(self, cx: &Context) -> Result<Ended> {
        self.out.require()?;
        let trained = self.run.load(cx)?;
        let latent = trained.model.latent();
        let read = || latents(find(&self.latents)?, latent);
        let shown = self.latents.display();
        let caption = trained.caption(&format!("latents of {shown}"), None);
        let latents = read().with_context(|| format!("cannot use the latents of {shown}"))?;
        if self.out.format != Format::Png {
            let fill =
                |add: &mut dyn FnMut(&[f32]) -> Result<()>| trained.decode_parts(&latents, add);
            self.out.stream(trained.size(), latents.len() / latent, fill)?;
            return Ok(Ended::Done);
        }
        let images = trained.decode(&latents)?;
        let columns = COLUMNS.min(latents.len() / latent);
        let sheet = Sheet::new(trained.size(), columns, &images).with(caption, self.look);
        self.out.write(&sheet, Vec::new())?;
        Ok(Ended::Done)
    }
}

/// The array of latents in a file.
fn find(path: &Path) -> Result<Loaded> {
    if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("npy")) {
        return npz::load_npy(path);
    }
    let names = npz::names(path)?;
    let wanted = ["latents", "means"].into_iter().find(|wanted| names.iter().any(|n| n == wanted));
    match (wanted, &names[..]) {
        (Some(name), _) => npz::load(path, name),
        (None, [only]) => npz::load(path, only),
        _ => bail!("it holds the arrays {}, none named `latents` or `means`", names.join(", ")),
    }
}

fn latents(array: Loaded, latent: usize) -> Result<Vec<f32>> {
    let shape = &array.shape;
    ensure!(
        matches!(shape[..], [rows, columns] if rows > 0 && columns == latent),
        "they have the shape {shape:?}, but this run needs [N, {latent}]"
    );
    let values = match array.values {
        Values::F32(values) => values,
        Values::F64(values) => values.into_iter().map(|value| value as f32).collect(),
        _ => bail!("they must be float32 or float64"),
    };
    let wrong = values.iter().position(|value| !value.is_finite());
    ensure!(wrong.is_none(), "row {} is not finite", wrong.unwrap_or_default() / latent);
    Ok(values)
}
