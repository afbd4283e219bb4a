//! `hvae gradcheck`.

use anyhow::{Context, Result, ensure};
use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use hvae_model::{EpConfig, Kind, Vae};
use hvae_solver::Termination;

use crate::checkpoint::{RunDir, Which};
use crate::cli::{Global, GradcheckArgs};
use crate::config::RunConfig;
use crate::data::Split;
use crate::images::{Images, upload};
use crate::rng::{self, Stream};
use crate::{report, training};

pub(super) fn run(args: &GradcheckArgs, global: &Global, device: &Device) -> Result<()> {
    let run = args.run.as_deref().map(RunDir::open).transpose()?;
    let file = run.as_ref().map(RunDir::config_path);
    let config = RunConfig::resolve(file.as_deref(), &args.set)?;
    let test =
        Images::load(&config.data, Split::Test, &global.data_dir, global.verbosity(), device)?;
    let fresh = training::new_model(&config, test.set().pixels(), device)?;
    let model = match &run {
        Some(run) => run.load_model(Which::Latest, fresh)?.0,
        None => fresh,
    };
    ensure!(model.kind == Kind::HVae, "an f-vae is trained by backpropagation: nothing to compare");
    let count = args.images as usize;
    ensure!(count <= test.len(), "--images {count}: the test set has {}", test.len());
    let images = test.batches(count).next().context("the test set is empty")?;
    let noise = rng::normal(config.training.seed, Stream::Evaluation, 0, count * model.latent());
    let noise = upload(noise, model.latent(), device);
    let kl_weight = config.training.kl_weight;

    report::line(&format!("differentiating through {} sweeps of {count} images", args.sweeps));
    let sweeps = args.sweeps as usize;
    let exact = model.unrolled_gradient(images.clone(), noise.clone(), kl_weight, sweeps)?;
    let names = names(&model);
    report::result(&format!(
        "{:>10}  {:>12}  {:<32}  {:>9}  {:>10}",
        "nudge", "sweeps", "parameter", "cosine", "norm ratio"
    ));
    let nudges = if args.nudge.is_empty() { vec![config.ep.nudge] } else { args.nudge.clone() };
    for nudge in nudges {
        let ep = EpConfig { nudge, ..config.ep.clone() };
        let phases = crate::device::phases(&ep, device).context("ep")?;
        let step = model.training_step(images.clone(), noise.clone(), kl_weight, &phases)?;
        let outcomes = &step.outcomes;
        let phases = [&outcomes.encoder_free, &outcomes.decoder_free];
        if phases.into_iter().flatten().any(|o| o.termination != Termination::Converged) {
            report::warning(
                "not every free phase reached equilibrium: neither side is a gradient there",
            );
        }
        let mean = |o: &[hvae_solver::Outcome]| {
            o.iter().map(|o| o.steps as f64).sum::<f64>() / o.len().max(1) as f64
        };
        let sweeps = format!(
            "{:.1}+{:.1}",
            mean(&step.outcomes.decoder_free),
            mean(&step.outcomes.decoder_nudged)
        );
        for (name, id, rank) in &names {
            let (cosine, ratio) = compare(&step.gradients, &exact, *id, *rank)?;
            report::result(&format!(
                "{:>10}  {sweeps:>12}  {name:<32}  {cosine:>9.6}  {ratio:>10.4}",
                ep.nudge
            ));
        }
    }
    Ok(())
}

/// The parameters: what they are called, their id and rank.
fn names(model: &Vae) -> Vec<(String, ParamId, usize)> {
    struct Names<'a> {
        model: &'a Vae,
        found: Vec<(String, ParamId, usize)>,
    }
    impl ModuleVisitor for Names<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.found.push((self.model.parameter_name(param.id), param.id, D));
        }
    }
    let mut names = Names { model, found: Vec::new() };
    model.visit(&mut names);
    names.found
}

/// Cosine of the angle between two gradients of a parameter, and the ratio of their norms.
fn compare(
    estimate: &GradientsParams,
    exact: &GradientsParams,
    id: ParamId,
    rank: usize,
) -> Result<(f64, f64)> {
    let flat = |gradients: &GradientsParams| {
        let gradient = match rank {
            1 => gradients.get::<1>(id),
            _ => gradients.get::<2>(id).map(|g| g.flatten(0, 1)),
        };
        crate::images::download(gradient.context("a parameter has no gradient")?)
    };
    let (estimate, exact) = (flat(estimate)?, flat(exact)?);
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
    };
    let (e, x) = (dot(&estimate, &estimate).sqrt(), dot(&exact, &exact).sqrt());
    Ok((dot(&estimate, &exact) / (e * x), e / x))
}
