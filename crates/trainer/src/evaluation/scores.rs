//! All scores of a model, as `hvae eval` and `hvae compare` report them.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result, ensure};
use hvae_data::images::Images;
use hvae_model::{PhaseSettings, Vae};
use hvae_runtime::terminal::{self, Progress};
use hvae_scores::{
    ExtractOptions, Extractor, FeatureMetrics, FeatureSet, FeatureStats, ImageStream,
};
use hvae_scores::{Kid, Prdc, extract, frechet_distance};
use serde::Serialize;

use crate::config::RunConfig;
use crate::evaluation::likelihood::{self, LikelihoodSettings, Likelihoods, likelihoods};
use crate::evaluation::losses::evaluate;
use crate::latents::decode::prior_latents;
use crate::latents::sampler::{LatentSource, Samples, mixture_latents};
use crate::run::{LatentUse, MeanLosses};

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
    pub(crate) losses: Option<MeanLosses>,
    pub(crate) loss_protocol: String,
    pub(crate) latents: Option<LatentUse>,
    /// ELBO and NLL of the first test images.
    pub(crate) likelihood: Option<Likelihoods>,
    pub(crate) likelihood_protocol: String,
    pub(crate) prior: Distances,
    /// Distances of samples of the mixture (ex-post density estimation).
    pub(crate) mixture: Distances,
    pub(crate) distance_protocol: String,
    /// Scores that could not be computed, and why.
    pub(crate) missing: Missing,
}

/// Why a score is missing, by its name.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub(crate) struct Missing(BTreeMap<String, String>);

impl Missing {
    /// The score `name`, if it was found; else its reason is kept.
    fn keep<T>(&mut self, name: impl Into<String>, found: Result<T>) -> Option<T> {
        let keep = |error| self.0.insert(name.into(), format!("{error:#}"));
        found.map_err(keep).ok()
    }

    /// A sentence for each.
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(name, reason)| format!("no {name}: {reason}"))
    }
}

/// Distances of samples from the test images.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Distances {
    pub(crate) latents: String,
    pub(crate) fid: Option<f64>,
    pub(crate) kid: Option<Kid>,
    /// Precision, recall, density and coverage.
    #[serde(flatten)]
    pub(crate) prdc: Option<Prdc>,
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
    /// Computes all scores that there can be; an error if there are none. `training_images` loads
    /// the images that the mixture is fitted to.
    pub(crate) fn run(&self, training_images: impl FnOnce() -> Result<Images>) -> Result<Scores> {
        let Self { model, phases, config, test, settings, .. } = *self;
        let (set, device) = (&config.data.dataset, test.device());
        let mut missing = Missing::default();
        let found = {
            terminal::stage(&format!("reconstructing {} test images", test.len()));
            let _working = Progress::start("reconstructing", 1, 0);
            missing.keep("reconstruction, KL and ELBO", evaluate(model, test, config, phases))
        };
        let (losses, latents) = found.unzip();
        let ScoreSettings { count, seed, nll_images, nll_samples: samples, .. } = settings;
        let (images, binarise) = (test.len().min(nll_images), config.data.binarise);
        let effort = LikelihoodSettings { images, samples, binarise, seed };
        terminal::stage(&format!("likelihood of {images} test images, {samples} latents each"));
        let likelihood = likelihoods(model, phases, test.set(), effort, &device);
        let likelihood = missing.keep("NLL", likelihood);
        let decoder = likelihood::protocol(&model.config, binarise);

        let real_count = test.len().min(count);
        let real = self.features("test images", test.set(), Some(real_count));
        let real = missing.keep("FID, KID, precision and recall", real);
        let mut score = |source, latents: &dyn Fn() -> Result<Vec<f32>>| {
            self.distances(source, real.as_ref(), latents, &mut missing)
        };
        let prior = score(LatentSource::Prior, &|| Ok(prior_latents(model, count, seed)));
        let training = std::cell::Cell::new(Some(training_images));
        let mixture = score(LatentSource::Mixture, &|| {
            let images = training.take().context("they are loaded once")?()?;
            mixture_latents(model, phases, &images, count, seed)
        });
        let all_missing = losses.is_none() && likelihood.is_none() && prior.fid.is_none();
        ensure!(!all_missing, "{}", missing.lines().collect::<Vec<_>>().join("; "));
        Ok(Scores {
            test_images: test.len(),
            losses,
            latents,
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
            missing,
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

    /// Distances of the samples of some latents from the real images, if there are any.
    fn distances(
        &self,
        source: LatentSource,
        real: Option<&FeatureStats>,
        latents: &dyn Fn() -> Result<Vec<f32>>,
        missing: &mut Missing,
    ) -> Distances {
        let name = source.name();
        let mut found = Distances { latents: name.clone(), fid: None, kid: None, prdc: None };
        let Some(real) = real else { return found };
        let features = || {
            let samples = Samples {
                model: self.model,
                phases: self.phases,
                latents: latents()?,
                shape: self.test.set().shape(),
                device: self.test.device(),
            };
            self.features(&format!("samples of the {name}"), &samples, None)
        };
        let all = format!("FID, KID, precision and recall, {name}");
        let Some(samples) = missing.keep(all, features()) else { return found };
        let distance = frechet_distance(&samples.statistics, &real.statistics);
        found.fid = missing.keep(format!("FID, {name}"), distance);
        let Ok(kept) = kept(real, &samples) else { return found };
        let _working = Progress::start("KID, precision, recall", 1, 0);
        let kid = FeatureMetrics::kid(kept.0, kept.1, self.settings.seed);
        found.kid = missing.keep(format!("KID, {name}"), kid);
        let prdc = FeatureMetrics::prdc(kept.0, kept.1);
        found.prdc = missing.keep(format!("precision and recall, {name}"), prdc);
        found
    }
}

/// KID, precision, recall, density and coverage of sets whose features were kept.
pub(crate) fn feature_metrics(
    real: &FeatureStats,
    samples: &FeatureStats,
    seed: u64,
) -> Result<FeatureMetrics> {
    let (real, samples) = kept(real, samples)?;
    let _working = Progress::start("KID, precision, recall", 1, 0);
    FeatureMetrics::of(real, samples, seed)
}

/// The features themselves, which were kept.
fn kept<'a>(
    real: &'a FeatureStats,
    samples: &'a FeatureStats,
) -> Result<(&'a FeatureSet, &'a FeatureSet)> {
    let real = real.features.as_ref().context("features of the real images")?;
    let samples = samples.features.as_ref().context("features of the samples")?;
    let (count, images) = (samples.len(), real.len());
    terminal::stage(&format!("KID, precision and recall of {count} samples and {images} images"));
    Ok((real, samples))
}

impl fmt::Display for Scores {
    /// A table with the protocols below it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let loss = |of: fn(MeanLosses) -> f64| self.losses.map(|l| format!("{:.3}", of(l)));
        row(f, "reconstruction error per image", loss(|l| l.reconstruction_error))?;
        row(f, "KL divergence, nats", loss(|l| l.divergence))?;
        row(f, "ELBO, nats", loss(|l| l.elbo))?;
        row(f, "active units", self.latents.as_ref())?;
        let images = self.likelihood.map_or(String::new(), |l| format!(", {} images", l.images));
        row(f, &format!("ELBO{images}"), self.likelihood.map(|l| l.elbo))?;
        row(f, &format!("NLL{images}"), self.likelihood.map(|l| l.nll))?;
        write!(f, "{}{}", self.prior, self.mixture)?;
        writeln!(f, "reconstruction, KL, ELBO: {}", self.loss_protocol)?;
        writeln!(f, "NLL: {}", self.likelihood_protocol)?;
        write!(f, "FID, KID, precision, recall: {}", self.distance_protocol)?;
        self.missing.lines().try_for_each(|line| write!(f, "\n{line}"))
    }
}

impl fmt::Display for Distances {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { latents, fid, kid, prdc } = self;
        let pair = |of: fn(&Prdc) -> [f64; 2]| {
            prdc.as_ref().map(of).map(|[a, b]| format!("{a:.4}, {b:.4}"))
        };
        row(f, &format!("FID, {latents}"), fid.map(|fid| format!("{fid:.4}")))?;
        row(f, &format!("KID, {latents}"), kid.as_ref())?;
        row(f, &format!("precision, recall, {latents}"), pair(|p| [p.precision, p.recall]))?;
        row(f, &format!("density, coverage, {latents}"), pair(|p| [p.density, p.coverage]))
    }
}

/// A row of the table.
fn row(f: &mut fmt::Formatter<'_>, name: &str, value: Option<impl fmt::Display>) -> fmt::Result {
    let value = value.map_or("-".to_owned(), |value| value.to_string());
    writeln!(f, "  {name:<45} {value:>22}")
}
