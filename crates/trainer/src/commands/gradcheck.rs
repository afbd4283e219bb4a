//! `hvae gradcheck`.

use anyhow::{Context, Result, ensure};
use burn::tensor::Device;
use hvae_model::{EpConfig, Kind};
use hvae_solver::Termination;

use crate::cli::{Global, GradcheckArgs};
use crate::config::RunConfig;
use crate::evaluation::gradients;
use crate::evaluation::gradients::GradientComparison;
use crate::run::environment;
use crate::run::{RunDir, Which};
use crate::training;
use hvae_data::Split;
use hvae_data::images::Images;
use hvae_device::host::upload;
use hvae_runtime::rng;
use hvae_runtime::rng::Stream;
use hvae_runtime::terminal;

pub(super) fn run(args: &GradcheckArgs, global: &Global, device: &Device) -> Result<()> {
    let run = args.run.as_deref().map(RunDir::open).transpose()?;
    let file = run.as_ref().map(RunDir::config_path);
    let config = RunConfig::resolve(file.as_deref(), &args.set)?;
    let data_dir = match &run {
        Some(run) => environment::data_dir(global.data_dir.as_deref(), run)?,
        None => global.data_dir.clone(),
    };
    let test = Images::load(&config.data, Split::Test, &data_dir, global.verbosity(), device)?;
    let fresh = training::new_model(&config, test.set().pixels(), device)?;
    let model = match &run {
        // The run's own configuration; --set may try the weights under another.
        Some(run) => run.load_model(Which::Latest, &run.config()?, fresh)?.0,
        None => fresh,
    };
    ensure!(
        model.kind() != Kind::FVae,
        "an f-vae is trained by backpropagation: nothing to compare"
    );
    let count = args.images as usize;
    ensure!(count <= test.len(), "--images {count}: the test set has {}", test.len());
    let images = test.batches(count).next().context("the test set is empty")?;
    let noise = rng::normal(config.training.seed, Stream::Evaluation, 0, count * model.latent());
    let noise = upload(noise, model.latent(), device);
    let kl_weight = config.training.kl_weight;

    terminal::line(&format!("differentiating through {} sweeps of {count} images", args.sweeps));
    let sweeps = args.sweeps as usize;
    let exact = model.unrolled_gradient(images.clone(), noise.clone(), kl_weight, sweeps)?;
    terminal::result(&format!(
        "{:>10}  {:>12}  {:<32}  {:>9}  {:>10}",
        "nudge", "sweeps", "parameter", "cosine", "norm ratio"
    ));
    let nudges = if args.nudge.is_empty() { vec![config.ep.nudge] } else { args.nudge.clone() };
    for nudge in nudges {
        let ep = EpConfig { nudge, ..config.ep.clone() };
        let phases = training::phases(&ep, device).context("ep")?;
        let step = model.training_step(images.clone(), noise.clone(), kl_weight, &phases)?;
        let outcomes = &step.outcomes;
        let phases = [&outcomes.encoder_free, &outcomes.decoder_free];
        if phases.into_iter().flatten().any(|o| o.termination != Termination::Converged) {
            terminal::warning(
                "not every free phase reached equilibrium: neither side is a gradient there",
            );
        }
        let most = phases.into_iter().flatten().map(|o| o.steps).max().unwrap_or(0);
        if sweeps < most {
            terminal::warning(&format!(
                "the reference goes through {sweeps} sweeps, but equilibria took up to {most}: it is not \
                 their gradient; raise --sweeps"
            ));
        }
        let mean = |o: &[hvae_solver::Outcome]| {
            o.iter().map(|o| o.steps as f64).sum::<f64>() / o.len().max(1) as f64
        };
        let shown = format!(
            "{:.1}+{:.1}",
            mean(&step.outcomes.decoder_free),
            mean(&step.outcomes.decoder_nudged)
        );
        let comparisons = gradients::compare(&model, &step.gradients, &exact)?;
        for GradientComparison { name, cosine, norm_ratio, .. } in &comparisons {
            terminal::result(&format!(
                "{:>10}  {shown:>12}  {name:<32}  {cosine:>9.6}  {norm_ratio:>10.4}",
                ep.nudge
            ));
        }
        let all = gradients::summary(&comparisons);
        terminal::result(&format!(
            "{:>10}  {shown:>12}  {:<32}  {:>9.6}  {:>10.4}",
            ep.nudge, "all parameters", all.cosine, all.norm_ratio
        ));
    }
    Ok(())
}
