//! The learned prior of a run at other temperatures.

use std::path::Path;

use anyhow::Result;
use hvae_model::HopfieldPrior;
use hvae_runtime::rng::{self, Stream};
use hvae_runtime::{files, terminal};

use crate::api::trained::Trained;
use crate::commands::output::{JsonArgs, Look, Sheet};
use crate::figures::plot;
use crate::transition::learned::{Landscape, Temperatures};

/// Samples at each temperature.
const SAMPLES: usize = 16;

/// How a learned prior is swept.
pub(super) struct Settings<'a> {
    pub(super) out: &'a Path,
    pub(super) json: &'a JsonArgs,
    /// Inverse temperatures.
    pub(super) betas: usize,
    /// Smallest and largest `beta_eff`.
    pub(super) range: [Option<f64>; 2],
    pub(super) seed: u64,
}

/// Sweeps `prior`, that of `trained`, over its inverse temperature; writes pictures and numbers.
pub(super) fn run(settings: &Settings<'_>, trained: &Trained, prior: &HopfieldPrior) -> Result<()> {
    files::require_writable_folder(settings.out)?;
    settings.json.require()?;
    let mixture = prior.on_host();
    let found = Temperatures::sweep(&mixture, settings.betas, settings.range);
    let betas = found.worth_a_look();
    let row = |&beta: &f64| {
        let mut rng = rng::generator(settings.seed, Stream::Prior, 0);
        let at = mixture.at(beta);
        at.sample(&at.weights, SAMPLES, &mut rng)
    };
    let latents: Vec<f32> = betas.iter().flat_map(row).collect();
    let images = trained.decode(&latents)?;
    let mut caption =
        trained.caption("samples of the prior, by inverse temperature", Some(settings.seed));
    caption.rows = betas.iter().map(|beta| format!("{beta:.2}")).collect();
    let sheet = Sheet::new(trained.size(), SAMPLES, &images).with(caption, Look::default());
    files::write(&settings.out.join("samples.png"), &sheet.png()?.bytes)?;
    let name = trained.run.path().file_name().unwrap_or_default().to_string_lossy();
    plot::save(&found.figure(&name), settings.out, "temperatures")?;
    files::write(&settings.out.join("temperatures.csv"), &found.csv())?;
    let json = serde_json::to_string_pretty(&found)?
        + "
";
    files::write(&settings.out.join("results.json"), &json)?;
    print(&found);
    settings.json.write(&found)?;
    terminal::result(&format!("written to {}", settings.out.display()));
    Ok(())
}

fn print(found: &Temperatures) {
    let Temperatures { patterns, in_use, merged, learned, b1, b2, b3, .. } = found;
    let Landscape { beta, beta_eff, minima, in_use: minima_in_use, largest } = learned;
    terminal::result(&format!(
        "{patterns} patterns, {in_use:.0} in use; learned inverse temperature {beta:.3}, beta_eff \
         {beta_eff:.1}\n  there: {minima} minima, {minima_in_use:.0} in use, the largest with \
         {:.1}% of the weight",
        100.0 * largest
    ));
    terminal::result(&match merged {
        Some(merged) => {
            format!("  a single minimum up to {merged:.3}, {:.1} times below", beta / merged)
        }
        None => "  more than one minimum at every inverse temperature of the sweep".to_owned(),
    });
    terminal::result(&format!(
        "  thresholds of {in_use:.0} equidistant patterns, as beta_eff: {b1:.1} {b2:.1} {b3:.1}"
    ));
}
