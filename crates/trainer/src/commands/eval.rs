//! `hvae eval`.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;
use serde_json::{Value, json};

use crate::cli::scoring::{COUNT, NLL_IMAGES, NLL_SAMPLES, ScoreArgs};
use crate::commands::context::{Context, Ended, Run};
use crate::commands::sampling::{FeatureScores, LatentSource, write_json};
use crate::commands::trained::Trained;
use crate::evaluation::likelihood::{Effort, Estimate, Likelihoods, likelihoods, protocol};
use crate::run::metrics::Losses;
use crate::run::{RunDir, Which};
use crate::training;
use hvae_data::Split;
use hvae_data::images::Images;
use hvae_runtime::{files, terminal};
use hvae_scores::FeatureSet;
use hvae_scores::distance::frechet;
use hvae_scores::extractor::{Extractor, FeatureChoice};
use hvae_scores::scoring::{Seen, look};

/// All scores of a run: reconstruction, likelihood, FID, KID, precision and recall
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae eval checkpoints/h-vae-001
  hvae eval checkpoints/h-vae-001 --features inception
  hvae eval checkpoints/h-vae-001 --nll-images 10000 --nll-samples 1000 --json scores.json
  hvae eval checkpoints/h-vae-001 --count 500 --nll-images 20      (a quick estimate)

Prints a table and writes all scores to RUN/evaluation.json, or, with flags other than the defaults,
to a file named after them, such as RUN/evaluation-count500-nll20x200.json. The real images are the
run's test images; the Gaussian mixture is fitted to latents of its training images.")]
pub struct Eval {
    /// A run's folder
    run: PathBuf,
    /// Sizes of the estimates
    #[command(flatten)]
    scores: ScoreArgs,
    /// Seed of all samples
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Checkpoint of the run
    #[arg(long, value_enum, default_value_t = Which::Latest)]
    checkpoint: Which,
    /// Output file [default: in the run's folder, named after the flags that are not the defaults]
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Run for Eval {
    fn run(self, cx: &Context) -> Result<Ended> {
        let path = self.json.clone().unwrap_or_else(|| self.run.join(self.file_name()));
        RunDir::open(&self.run)?;
        files::require_writable(&path)?;
        let trained = Trained::load(&self.run, self.checkpoint, cx)?;
        let test = trained.images(Split::Test, cx)?;
        let scores = score(&trained, &test, &self.scores, self.seed, cx)?;
        terminal::result(&scores.table());
        write_json(&path, &scores.json())?;
        terminal::line(&format!("written to {}", path.display()));
        Ok(Ended::Done)
    }
}

impl Eval {
    /// A name that says how the scores differ from those by default, so that a quick estimate does
    /// not replace a thorough one.
    fn file_name(&self) -> String {
        let scores = &self.scores;
        let mut name = "evaluation".to_owned();
        let mut add = |is_default: bool, part: String| {
            if !is_default {
                name += "-";
                name += &part;
            }
        };
        add(self.checkpoint == Which::Latest, "best".to_owned());
        let features = &scores.features.features;
        add(*features == FeatureChoice::MnistClassifier, format!("features-{}", features.name()));
        add(scores.count == COUNT, format!("count{}", scores.count));
        let is_default = (scores.nll_images, scores.nll_samples) == (NLL_IMAGES, NLL_SAMPLES);
        add(is_default, format!("nll{}x{}", scores.nll_images, scores.nll_samples));
        add(self.seed == 0, format!("seed{}", self.seed));
        name + ".json"
    }
}

/// All scores of a run.
#[derive(Debug)]
pub(super) struct Scores {
    run: String,
    checkpoint: &'static str,
    test_images: usize,
    pub(super) losses: Losses,
    /// The images that [`Self::losses`] are means over.
    pub(super) loss_protocol: String,
    pub(super) likelihood: Likelihoods,
    pub(super) likelihood_protocol: String,
    /// The decoder's distribution and how pixels were binarized.
    decoder: String,
    /// Of samples of the prior.
    pub(super) prior: Distances,
    /// Of samples of a Gaussian mixture.
    pub(super) mixture: Distances,
    pub(super) distance_protocol: String,
}

/// Distances between samples and test images.
#[derive(Debug)]
pub(super) struct Distances {
    /// The source of the samples' latents.
    latents: String,
    pub(super) fid: f64,
    features: FeatureScores,
}

/// Scores `trained` on its `test` images.
pub(super) fn score(
    trained: &Trained,
    test: &Images,
    args: &ScoreArgs,
    seed: u64,
    cx: &Context,
) -> Result<Scores> {
    let (model, config) = (&trained.model, &trained.config);
    let extractor = args.features.extractor(&trained.device)?;
    let losses = losses(trained, test)?;
    let likelihood = estimate_likelihoods(trained, test, args, seed)?;
    let real = Real::of(test, args, &extractor)?;
    let count = args.count as usize;
    let prior = real.distances(trained, LatentSource::Prior, count, seed, cx)?;
    let mixture = real.distances(trained, LatentSource::Mixture, count, seed, cx)?;
    let decoder = protocol(&model.config, config.data.binarise);
    Ok(Scores {
        run: trained.run.path().display().to_string(),
        checkpoint: match trained.checkpoint {
            Which::Latest => "latest",
            Which::Best => "best",
        },
        test_images: test.len(),
        losses,
        loss_protocol: format!("all {} test images of {}", test.len(), config.data.dataset),
        likelihood,
        likelihood_protocol: format!(
            "first {} test images, K = {}, seed {seed}; {decoder}",
            likelihood.images, likelihood.samples
        ),
        decoder,
        prior,
        mixture,
        distance_protocol: format!(
            "{}; {} samples, seed {seed}; {} test images of {}",
            extractor.protocol(),
            args.count,
            real.count,
            config.data.dataset
        ),
    })
}

fn losses(trained: &Trained, test: &Images) -> Result<Losses> {
    terminal::stage(&format!("reconstructing {} test images", test.len()));
    let _working = terminal::Progress::start("reconstructing", 1, 0);
    training::evaluate(&trained.model, test, &trained.config, &trained.phases)
}

fn estimate_likelihoods(
    trained: &Trained,
    test: &Images,
    args: &ScoreArgs,
    seed: u64,
) -> Result<Likelihoods> {
    let images = test.len().min(args.nll_images as usize);
    let samples = args.nll_samples as usize;
    terminal::stage(&format!("likelihood of {images} test images, {samples} latents each"));
    let binarise = trained.config.data.binarise;
    let effort = Effort { images, samples, binarise, seed };
    likelihoods(&trained.model, &trained.phases, test.set(), effort, &trained.device)
}

/// The features of real images.
struct Real<'a> {
    extractor: &'a Extractor,
    batch: usize,
    count: usize,
    seen: Seen,
}

impl<'a> Real<'a> {
    fn of(test: &Images, args: &ScoreArgs, extractor: &'a Extractor) -> Result<Self> {
        let batch = args.features.batch(extractor);
        let count = test.len().min(args.count as usize);
        let seen = look(extractor, "test images", test.set(), Some(count), batch, true)?;
        Ok(Self { extractor, batch, count, seen })
    }

    /// The distances of `count` samples with latents `from` a source.
    fn distances(
        &self,
        trained: &Trained,
        from: LatentSource,
        count: usize,
        seed: u64,
        cx: &Context,
    ) -> Result<Distances> {
        let samples = trained.samples(trained.latents(from, count, seed, cx)?);
        let name = format!("samples of the {}", from.name());
        let seen = look(self.extractor, &name, &samples, None, self.batch, true)?;
        let fid = frechet(&seen.statistics, &self.seen.statistics)?;
        let scores = FeatureScores::of(features(&self.seen)?, features(&seen)?, seed)?;
        Ok(Distances { latents: from.name(), fid, features: scores })
    }
}

fn features(seen: &Seen) -> Result<&FeatureSet> {
    seen.features.as_ref().context("the features of every image are needed")
}

impl Scores {
    /// For a person.
    fn table(&self) -> String {
        let images = self.likelihood.images;
        let mut lines = vec![
            format!("{}, {} checkpoint", self.run, self.checkpoint),
            row(
                "reconstruction error per image",
                &format!("{:.3}", self.losses.reconstruction_error),
            ),
            row("KL divergence, nats", &format!("{:.3}", self.losses.divergence)),
            row("ELBO, nats", &format!("{:.3}", self.losses.elbo)),
            row(&format!("ELBO, {images} images"), &estimate(self.likelihood.elbo)),
            row(&format!("NLL, {images} images"), &estimate(self.likelihood.nll)),
        ];
        lines.extend([&self.prior, &self.mixture].into_iter().flat_map(Distances::rows));
        lines.push(format!("reconstruction, KL, ELBO: {}", self.loss_protocol));
        lines.push(format!("NLL: {}", self.likelihood_protocol));
        lines.push(format!("FID, KID, precision, recall: {}", self.distance_protocol));
        lines.join("\n")
    }

    /// [`Self::loss_protocol`] with the decoder's distribution.
    pub(super) fn full_loss_protocol(&self) -> String {
        format!("{}; {}", self.loss_protocol, self.decoder)
    }

    /// For a program.
    pub(super) fn json(&self) -> Value {
        json!({
            "run": self.run,
            "checkpoint": self.checkpoint,
            "commit": crate::COMMIT,
            "test_images": self.test_images,
            "reconstruction_error": self.losses.reconstruction_error,
            "kl": self.losses.divergence,
            "elbo": self.losses.elbo,
            "loss_protocol": self.full_loss_protocol(),
            "likelihood": self.likelihood,
            "likelihood_protocol": self.likelihood_protocol,
            "distances": [self.prior.json(), self.mixture.json()],
            "distance_protocol": self.distance_protocol,
        })
    }
}

impl Distances {
    fn rows(&self) -> Vec<String> {
        let FeatureScores { kernel, overlap } = &self.features;
        let row = |name: &str, value: String| row(&format!("{name}, {}", self.latents), &value);
        vec![
            row("FID", format!("{:.4}", self.fid)),
            row("KID", kernel.to_string()),
            row("precision, recall", format!("{:.4}, {:.4}", overlap.precision, overlap.recall)),
            row("density, coverage", format!("{:.4}, {:.4}", overlap.density, overlap.coverage)),
        ]
    }

    fn json(&self) -> Value {
        let mut value = self.features.json();
        value["latents"] = json!(self.latents);
        value["fid"] = json!(self.fid);
        value
    }
}

fn row(name: &str, value: &str) -> String {
    format!("  {name:<42} {value:>22}")
}

fn estimate(estimate: Estimate) -> String {
    format!("{:.3} +- {:.3}", estimate.mean, estimate.standard_error)
}
