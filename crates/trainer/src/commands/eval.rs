//! `hvae eval`.

use anyhow::{Context, Result};
use burn::tensor::Device;
use serde_json::{Value, json};

use crate::cli::Global;
use crate::evaluation::args::{COUNT, EvalArgs, LatentSource, NLL_IMAGES, NLL_SAMPLES, ScoreArgs};
use crate::evaluation::likelihood::{Effort, Estimate, likelihoods, protocol};
use crate::run::{RunDir, Which};
use crate::training;
use hvae_data::images::Images;
use hvae_runtime::{files, terminal};
use hvae_scores::distance::frechet;
use hvae_scores::extractor::{Extractor, FeatureChoice};
use hvae_scores::scoring::look;

use crate::commands::fid::{
    More, batch, extractor, latent_name, latents, more, samples, write_json,
};
use crate::commands::{Trained, load};

pub(super) fn run(args: &EvalArgs, global: &Global, device: &Device) -> Result<()> {
    let path = args.json.clone().unwrap_or_else(|| args.run.join(file_name(args)));
    RunDir::open(&args.run)?;
    files::require_writable(&path)?;
    let trained = load(&args.run, args.checkpoint, device)?;
    let scores = score(&trained, &args.scores, args.seed, global, device)?;
    terminal::result(&scores.lines.join("\n"));
    write_json(&path, &scores.value)?;
    terminal::line(&format!("written to {}", path.display()));
    Ok(())
}

/// The name of the file that scores go to: it tells how they differ from the usual ones, so that a
/// quick look does not take the place of a thorough one.
fn file_name(args: &EvalArgs) -> String {
    let scores = &args.scores;
    let mut name = "evaluation".to_owned();
    let mut add = |usual: bool, part: String| {
        if !usual {
            name += "-";
            name += &part;
        }
    };
    add(args.checkpoint == Which::Latest, "best".to_owned());
    let features = &scores.features.features;
    add(*features == FeatureChoice::MnistClassifier, format!("features-{}", features.name()));
    add(scores.count == COUNT, format!("count{}", scores.count));
    let usual = (scores.nll_images, scores.nll_samples) == (NLL_IMAGES, NLL_SAMPLES);
    add(usual, format!("nll{}x{}", scores.nll_images, scores.nll_samples));
    add(args.seed == 0, format!("seed{}", args.seed));
    name + ".json"
}

/// All scores of a run.
pub(super) struct Scores {
    /// For a person.
    lines: Vec<String>,
    /// For a program.
    pub(super) value: Value,
}

pub(super) fn score(
    trained: &Trained,
    args: &ScoreArgs,
    seed: u64,
    global: &Global,
    device: &Device,
) -> Result<Scores> {
    let extractor = extractor(&args.features, device)?;
    let (model, phases, config) = (&trained.model, &trained.phases, &trained.config);
    let test = super::test_images(trained, global, device)?;
    let real_count = test.len().min(args.count as usize);

    let losses = {
        terminal::stage(&format!("reconstructing {} test images", test.len()));
        let _working = terminal::Progress::start("reconstructing", 1, 0);
        training::evaluate(model, &test, config, phases)?
    };
    let nll_images = test.len().min(args.nll_images as usize);
    let samples_per_image = args.nll_samples as usize;
    terminal::stage(&format!(
        "likelihood of {nll_images} test images, {samples_per_image} latents each"
    ));
    let bounds = likelihoods(
        model,
        phases,
        test.set(),
        Effort {
            images: nll_images,
            samples: samples_per_image,
            binarise: config.data.binarise,
            seed,
        },
        device,
    )?;

    let distances = distances(args, seed, trained, &extractor, &test, global)?;

    let shown = trained.run.path().display().to_string();
    let distance_protocol = format!(
        "{}; {} samples, seed {seed}; {real_count} test images of {}",
        extractor.protocol(),
        args.count,
        config.data.dataset
    );
    let likelihood = protocol(&model.config, config.data.binarise);
    let loss_protocol = format!("all {} test images of {}", test.len(), config.data.dataset);
    let nll_protocol = format!(
        "first {nll_images} test images, K = {samples_per_image}, seed {seed}; {likelihood}"
    );
    let checkpoint = match trained.checkpoint {
        Which::Latest => "latest",
        Which::Best => "best",
    };
    let mut lines = vec![format!("{shown}, {checkpoint} checkpoint")];
    lines.push(row(
        "reconstruction error per image",
        &format!("{:.3}", losses.reconstruction_error),
    ));
    lines.push(row("KL divergence, nats", &format!("{:.3}", losses.divergence)));
    lines.push(row("ELBO, nats", &format!("{:.3}", losses.elbo)));
    lines.push(row(&format!("ELBO, {nll_images} images"), &estimate(bounds.elbo)));
    lines.push(row(&format!("NLL, {nll_images} images"), &estimate(bounds.nll)));
    lines.extend(distances.iter().flat_map(distance_rows));
    lines.push(format!("reconstruction, KL, ELBO: {loss_protocol}"));
    lines.push(format!("NLL: {nll_protocol}"));
    lines.push(format!("FID, KID, precision, recall: {distance_protocol}"));
    let value = json!({
        "run": shown,
        "checkpoint": checkpoint,
        "commit": crate::COMMIT,
        "test_images": test.len(),
        "reconstruction_error": losses.reconstruction_error,
        "kl": losses.divergence,
        "elbo": losses.elbo,
        "loss_protocol": format!("{loss_protocol}; {likelihood}"),
        "likelihood": bounds,
        "likelihood_protocol": nll_protocol,
        "distances": distances.iter().map(Distances::json).collect::<Vec<_>>(),
        "distance_protocol": distance_protocol,
    });
    Ok(Scores { lines, value })
}

/// Samples of the prior and of the mixture beside the test images.
fn distances(
    args: &ScoreArgs,
    seed: u64,
    trained: &Trained,
    extractor: &Extractor,
    test: &Images,
    global: &Global,
) -> Result<Vec<Distances>> {
    let (device, count) = (test.device(), args.count as usize);
    let batch = batch(&args.features, extractor);
    let real_count = test.len().min(count);
    let real = look(extractor, "test images", test.set(), Some(real_count), batch, true)?;
    let real_features = real.features.as_ref().context("features of the test images")?;
    let mut distances = Vec::new();
    for from in [LatentSource::Prior, LatentSource::Mixture] {
        let latents = latents(trained, from, count, seed, global, &device)?;
        let samples = samples(trained, latents, &device);
        let name = format!("samples of the {}", latent_name(from));
        let seen = look(extractor, &name, &samples, None, batch, true)?;
        let features = seen.features.as_ref().context("features of the samples")?;
        distances.push(Distances {
            latents: latent_name(from),
            fid: frechet(&seen.statistics, &real.statistics)?,
            more: more(real_features, features, seed)?,
        });
    }
    Ok(distances)
}

fn row(name: &str, value: &str) -> String {
    format!("  {name:<42} {value:>22}")
}

fn estimate(estimate: Estimate) -> String {
    format!("{:.3} +- {:.3}", estimate.mean, estimate.standard_error)
}

/// Distances of the samples of one source of latents.
struct Distances {
    latents: String,
    fid: f64,
    more: More,
}

impl Distances {
    fn json(&self) -> Value {
        let mut value = self.more.json();
        value["latents"] = json!(self.latents);
        value["fid"] = json!(self.fid);
        value
    }
}

fn distance_rows(distances: &Distances) -> Vec<String> {
    let Distances { latents, fid, more: More { kernel, overlap } } = distances;
    let named = |name: &str, value: String| row(&format!("{name}, {latents}"), &value);
    vec![
        named("FID", format!("{fid:.4}")),
        named("KID", kernel.to_string()),
        named("precision, recall", format!("{:.4}, {:.4}", overlap.precision, overlap.recall)),
        named("density, coverage", format!("{:.4}, {:.4}", overlap.density, overlap.coverage)),
    ]
}
