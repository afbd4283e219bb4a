use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use hvae_data::Split;
use hvae_model::EpConfig;
use hvae_runtime::terminal;
use hvae_solver::{Outcome, Termination};
use serde_json::json;

use crate::cli::values::{POSITIVE, count, number};
use crate::commands::context::{Context, Ended, Run};
use crate::commands::output::JsonArgs;
use crate::config::RunConfig;
use crate::evaluation::gradients::{self, GradientComparison, Reference};
use crate::run::choice::CheckpointChoice;
use crate::run::dir::RunDir;
use crate::training;

/// Compare the gradients of equilibrium propagation with unrolled (BPTT) gradients
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae gradcheck                                    an untrained model of the default configuration
  hvae gradcheck checkpoints/h-vae-001              a trained model with its own settings
  hvae gradcheck checkpoints/h-vae-001 --nudge 0.5,0.02,1e-4 --set ep.nudging=centred

The reference is the gradient by automatic differentiation through --sweeps sweeps of every free
phase. An exact estimate has a cosine of 1 and a norm ratio of 1. The column `sweeps` holds the
sweeps of the decoder, free + nudged, mean over the samples.")]
pub struct Gradcheck {
    /// A run's folder; without it, an untrained model
    run: Option<PathBuf>,
    /// Nudge sizes to try [default: that of the configuration]
    #[arg(long, value_delimiter = ',', value_name = "SIZE,...", allow_negative_numbers = true, value_parser = number(POSITIVE))]
    nudge: Vec<f64>,
    /// Change one key of the configuration; may be given many times
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// Number of test images [default: 64, or all if there are fewer]
    #[arg(long, value_name = "N", value_parser = count(1..))]
    images: Option<usize>,
    /// Sweeps that the reference differentiates through
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = count(1..))]
    sweeps: usize,
    #[command(flatten)]
    json: JsonArgs,
}

/// Default of `--images`.
const IMAGES: usize = 64;

impl Run for Gradcheck {
    fn run(self, cx: &Context) -> Result<Ended> {
        self.json.require()?;
        let run = self.run.as_deref().map(RunDir::open).transpose()?;
        let file = run.as_ref().map(RunDir::config_path);
        let config = RunConfig::resolve(file.as_deref(), &self.set)?;
        let test = match &run {
            Some(run) => cx.images_of(run, &config.data, Split::Test)?,
            None => cx.images(&config.data, Split::Test)?,
        };
        let untrained = training::new_model(&config, cx.device()?)?;
        let model = match &run {
            // With the run's own configuration; --set changes how its gradients are computed.
            Some(run) => run.load_model(CheckpointChoice::Latest, &run.config()?, untrained)?.0,
            None => untrained,
        };
        let (count, sweeps) = (self.images.unwrap_or(test.len().min(IMAGES)), self.sweeps);
        ensure!(count <= test.len(), "--images {count}: the test set has {}", test.len());
        let images = test.batches(count).next().context("the test set is empty")?;
        terminal::line(&format!("differentiating through {sweeps} sweeps of {count} images"));
        let reference = Reference::new(&model, images, &config.training, sweeps)?;
        let heading = format!("{:>10}  {:>12}  {:<32}", "nudge", "sweeps", "parameter");
        terminal::result(&format!("{heading}  {:>9}  {:>10}", "cosine", "norm ratio"));
        let (default, mut found) = (vec![config.ep.nudge], Vec::new());
        for &nudge in if self.nudge.is_empty() { &default } else { &self.nudge } {
            let ep = EpConfig { nudge, ..config.ep.clone() };
            let phases = training::phases(&ep, cx.device()?).context("ep")?;
            let (outcomes, comparisons) = reference.check(&phases)?;
            warn(&[&outcomes.encoder_free, &outcomes.decoder_free], sweeps);
            let taken = [&outcomes.decoder_free, &outcomes.decoder_nudged];
            found.push(print(nudge, taken, &comparisons));
        }
        self.json.write(&found)?;
        Ok(Ended::Done)
    }
}

/// Warns if the reference of `sweeps` sweeps is not the gradient at the equilibria of these phases.
fn warn(phases: &[&Vec<Outcome>; 2], sweeps: usize) {
    let outcomes = || phases.iter().flat_map(|outcomes| outcomes.iter());
    if outcomes().any(|outcome| outcome.termination != Termination::Converged) {
        terminal::warning(
            "some free phases did not converge: neither gradient is that at an equilibrium",
        );
    }
    let most = outcomes().map(|outcome| outcome.iterations).max().unwrap_or(0);
    if sweeps < most {
        terminal::warning(&format!(
            "the reference unrolls {sweeps} sweeps, but equilibria took up to {most}, so it is not \
             their gradient: raise --sweeps"
        ));
    }
}

/// Prints a row for each parameter and one for all of them; also returns them as JSON.
fn print(
    nudge: f64,
    [free, nudged]: [&Vec<Outcome>; 2],
    comparisons: &[GradientComparison],
) -> serde_json::Value {
    let mean = |outcomes: &[Outcome]| {
        let sweeps = outcomes.iter().map(|outcome| outcome.iterations as f64).sum::<f64>();
        sweeps / outcomes.len().max(1) as f64
    };
    let sweeps = format!("{:.1}+{:.1}", mean(free), mean(nudged));
    let row = |name: &str, cosine: f64, norm_ratio: f64| {
        terminal::result(&format!(
            "{nudge:>10}  {sweeps:>12}  {name:<32}  {cosine:>9.6}  {norm_ratio:>10.4}"
        ));
    };
    for GradientComparison { name, cosine, norm_ratio, .. } in comparisons {
        row(name, *cosine, *norm_ratio);
    }
    let all = gradients::summary(comparisons);
    row("all parameters", all.cosine, all.norm_ratio);
    let each = comparisons
        .iter()
        .map(|one| json!({ "name": one.name, "cosine": one.cosine, "norm_ratio": one.norm_ratio }));
    json!({
        "nudge": nudge,
        "free_sweeps": mean(free),
        "nudged_sweeps": mean(nudged),
        "all": all,
        "parameters": each.collect::<Vec<_>>(),
    })
}
