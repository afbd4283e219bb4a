//! All scores of a model, as `hvae eval` and `hvae compare` report them.

use std::fmt;

use anyhow::{Context, Result};
use hvae_data::images::Images;
use hvae_model::{PhaseSettings, Vae};
use hvae_runtime::terminal::{self, Progress};
use hvae_scores::{ExtractOptions, Extractor, FeatureMetrics, FeatureStats, ImageStream};
use hvae_scores::{extract, frechet_distance};
use serde::Serialize;

use crate::config::RunConfig;
use crate::evaluation::likelihood::{self, LikelihoodSettings, Likelihoods, likelihoods};
use crate::evaluation::losses::evaluate;
use crate::latents::decode::prior_latents;
use crate::latents::sampler::{LatentSource, Samples, mixture_latents};
use crate::run::MeanLosses;

/// How a model is scored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ScoreSettings {
    /// Samples for each distance, and real images at most.
    pub(crate) count: usize,
    /// Test images whose likelihood is estimated, at most.
    pub(crate) nll_images: usize,
    /// Latents per image of that estimate, `K`.
    pub(crate) nll_samples: usize,
    /// Images per batch of the feature network; by default what suits it.
    pub(crate) batch: Option<usize>,
    pub(crate) seed: u64,
}

/// The scores of a model on its test images.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Scores {
    pub(crate) test_images: usize,
    /// Mean losses over all test images.
    #[serde(flatten)]
    pub(crate) losses: MeanLosses,
    pub(crate) loss_protocol: String,
    /// ELBO and NLL of the first test images.
    pub(crate) likelihood: Likelihoods,
    pub(crate) likelihood_protocol: String,
    pub(crate) prior: Distances,
    /// Distances of samples of the mixture (ex-post density estimation).
    pub(crate) mixture: Distances,
    pub(crate) distance_protocol: String,
}

/// Distances of samples from the test images.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Distances {
    pub(crate) latents: String,
    pub(crate) fid: f64,
    /// KID, precision, recall, density and coverage.
    #[serde(flatten)]
    pub(crate) metrics: FeatureMetrics,
}

/// What is scored, and with what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scoring<'a> {
    pub(crate) model: &'a Vae,
    pub(crate) phases: &'a PhaseSettings,
    pub(crate) config: &'a RunConfig,
    pub(crate) test: &'a Images,
    pub(crate) extractor: &'a Extractor,
    pub(crate) settings: ScoreSettings,
}

impl Scoring<'_> {
    /// Computes all scores. `training_images` loads the images that the mixture is fitted to.
    pub(crate) fn run(&self, training_images: impl FnOnce() -> Result<Images>) -> Result<Scores> {
        let Self { model, phases, config, test, settings, .. } = *self;
        let (set, device) = (&config.data.dataset, test.device());
        let losses = {
            terminal::stage(&format!("reconstructing {} test images", test.len()));
            let _working = Progress::start("reconstructing", 1, 0);
            evaluate(model, test, config, phases)?
        };
        let ScoreSettings { count, seed, nll_images, nll_samples: samples, .. } = settings;
        let (images, binarise) = (test.len().min(nll_images), config.data.binarise);
        let effort = LikelihoodSettings { images, samples, binarise, seed };
        terminal::stage(&format!("likelihood of {images} test images, {samples} latents each"));
        let likelihood = likelihoods(model, phases, test.set(), effort, &device)?;
        let decoder = likelihood::protocol(&model.config, binarise);

        let real_count = test.len().min(count);
        let real = self.features("test images", test.set(), Some(real_count))?;
        let latents = prior_latents(model, count, seed);
        let prior = self.distances(LatentSource::Prior, latents, &real)?;
        let latents = mixture_latents(model, phases, &training_images()?, count, seed)?;
        let mixture = self.distances(LatentSource::Mixture, latents, &real)?;
        Ok(Scores {
            test_images: test.len(),
            losses,
            loss_protocol: format!("all {} test images of {set}; {decoder}", test.len()),
            likelihood,
            likelihood_protocol: format!(
                "first {images} test images, K = {samples}, seed {seed}; {decoder}"
            ),
            prior,
            mixture,
            distance_protocol: format!(
                "{}; {count} samples, seed {seed}; {real_count} test images of {set}",
                self.extractor.description()
            ),
        })
    }

    fn features(
        &self,
        name: &str,
        images: &dyn ImageStream,
        count: Option<usize>,
    ) -> Result<FeatureStats> {
        let options = ExtractOptions { count, batch: self.settings.batch, keep: true };
        extract(self.extractor, name, images, options)
    }

    /// Distances of the samples of `latents` from the `real` images.
    fn distances(
        &self,
        source: LatentSource,
        latents: Vec<f32>,
        real: &FeatureStats,
    ) -> Result<Distances> {
        let samples = Samples {
            model: self.model,
            phases: self.phases,
            latents,
            shape: self.test.set().shape(),
            device: self.test.device(),
        };
        let name = format!("samples of the {}", source.name());
        let samples = self.features(&name, &samples, None)?;
        Ok(Distances {
            latents: source.name(),
            fid: frechet_distance(&samples.statistics, &real.statistics)?,
            metrics: feature_metrics(real, &samples, self.settings.seed)?,
        })
    }
}

/// KID, precision, recall, density and coverage of sets whose features were kept.
pub(crate) fn feature_metrics(
    real: &FeatureStats,
    samples: &FeatureStats,
    seed: u64,
) -> Result<FeatureMetrics> {
    let real = real.features.as_ref().context("features of the real images")?;
    let samples = samples.features.as_ref().context("features of the samples")?;
    let (count, images) = (samples.len(), real.len());
    terminal::stage(&format!("KID, precision and recall of {count} samples and {images} images"));
    let _working = Progress::start("KID, precision, recall", 1, 0);
    FeatureMetrics::of(real, samples, seed)
}

impl fmt::Display for Scores {
    /// A table with the protocols below it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { losses, likelihood, .. } = self;
        let error = losses.reconstruction_error;
        row(f, "reconstruction error per image", format_args!("{error:.3}"))?;
        row(f, "KL divergence, nats", format_args!("{:.3}", losses.divergence))?;
        row(f, "ELBO, nats", format_args!("{:.3}", losses.elbo))?;
        row(f, &format!("ELBO, {} images", likelihood.images), likelihood.elbo)?;
        row(f, &format!("NLL, {} images", likelihood.images), likelihood.nll)?;
        write!(f, "{}{}", self.prior, self.mixture)?;
        writeln!(f, "reconstruction, KL, ELBO: {}", self.loss_protocol)?;
        writeln!(f, "NLL: {}", self.likelihood_protocol)?;
        write!(f, "FID, KID, precision, recall: {}", self.distance_protocol)
    }
}

impl fmt::Display for Distances {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { latents, fid, metrics: FeatureMetrics { kid, prdc } } = self;
        let pair = |a: f64, b: f64| format!("{a:.4}, {b:.4}");
        row(f, &format!("FID, {latents}"), format_args!("{fid:.4}"))?;
        row(f, &format!("KID, {latents}"), kid)?;
        row(f, &format!("precision, recall, {latents}"), pair(prdc.precision, prdc.recall))?;
        row(f, &format!("density, coverage, {latents}"), pair(prdc.density, prdc.coverage))
    }
}

/// A row of the table.
fn row(f: &mut fmt::Formatter<'_>, name: &str, value: impl fmt::Display) -> fmt::Result {
    writeln!(f, "  {name:<45} {:>22}", value.to_string())
}
