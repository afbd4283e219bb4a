//! Distances between two sets of images.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use burn::tensor::Device;
use hvae_data::ImageSet;
use hvae_runtime::terminal;
use hvae_scores::{
    ExtractOptions, Extractor, FeatureMetrics, FeatureStats, Origin, Statistics, extract,
};

use crate::api::trained::Trained;
use crate::evaluation::scores::feature_metrics;
use crate::evaluation::source::Source;
use crate::latents::sampler::LatentSource;
use crate::run::choice::CheckpointChoice;

/// Default number of samples of a run.
const SAMPLES: usize = 10_000;

/// What can be compared.
#[derive(Debug)]
pub enum Subject {
    /// Something with a name: a run, a file, a folder, a part of MNIST.
    Named(Source),
    /// Images in memory.
    Images(ImageSet),
}

/// How sets are compared.
#[derive(Debug)]
pub struct Comparison {
    /// The feature network.
    pub extractor: Extractor,
    /// Images per batch of it; by default what suits it.
    pub batch: Option<usize>,
    /// Images of each side, from the first; by default all of a set, 10000 samples of a run.
    pub count: Option<usize>,
    /// Seed of the samples of a run.
    pub seed: u64,
    /// Where the latents of those samples come from.
    pub from: LatentSource,
    /// Which checkpoint of the run.
    pub checkpoint: CheckpointChoice,
    /// Keep the features of each image.
    pub keep: bool,
    /// Where data sets are read from.
    pub data_dir: Option<PathBuf>,
    /// The device that computes.
    pub device: Device,
}

/// One side of a comparison: its features, and its name in messages.
#[derive(Debug)]
pub struct Side {
    /// The features.
    pub found: FeatureStats,
    /// The name.
    pub shown: String,
    /// Where its statistics are from, if that is known.
    pub origin: Option<Origin>,
}

impl Subject {
    /// What `path` names: a run, a file or a folder of images, statistics, `mnist-train` or
    /// `mnist-test`.
    pub fn find(path: &Path) -> Result<Self> {
        Source::find(path).map(Self::Named)
    }
}

impl Comparison {
    /// The features of `subject`.
    pub fn side(&self, subject: &Subject) -> Result<Side> {
        let data_dir = self.data_dir.as_deref();
        match subject {
            Subject::Images(set) => self.images("array", set),
            Subject::Named(source @ Source::Statistics(path)) => self.stored(source, path),
            Subject::Named(source @ Source::Run(path)) => {
                let trained = Trained::load(path, self.checkpoint, &self.device)?;
                let (count, name) = (self.count.unwrap_or(SAMPLES), source.to_string());
                let latents = trained.latents_from(self.from, count, self.seed, data_dir)?;
                let options = self.options(None);
                let found = extract(&self.extractor, &name, &trained.samples(latents), options)?;
                let (from, seed) = (self.from.name(), self.seed);
                let shown = format!("{name} ({count} samples from the {from}, seed {seed})");
                Ok(self.new_side(found, shown))
            }
            Subject::Named(source) => self.images(&source.to_string(), &source.images(data_dir)?),
        }
    }

    /// KID, precision, recall, density and coverage of `samples` among the `real` images.
    pub fn metrics(&self, samples: &Side, real: &Side) -> Result<FeatureMetrics> {
        feature_metrics(&real.found, &samples.found, self.seed)
    }

    fn images(&self, name: &str, set: &ImageSet) -> Result<Side> {
        let found = extract(&self.extractor, name, set, self.options(self.count))?;
        let shown = format!("{name} ({} images)", self.count.unwrap_or(set.len()));
        Ok(self.new_side(found, shown))
    }

    fn options(&self, count: Option<usize>) -> ExtractOptions {
        ExtractOptions { count, batch: self.batch, keep: self.keep }
    }

    fn new_side(&self, found: FeatureStats, shown: String) -> Side {
        let images = found.statistics.count().unwrap_or_default();
        let origin = Origin::here(&self.extractor, &shown, images, crate::COMMIT);
        Side { origin: Some(origin), found, shown }
    }

    /// Statistics of a `.npz`.
    fn stored(&self, source: &Source, path: &Path) -> Result<Side> {
        let extractor = &self.extractor;
        ensure!(!self.keep, "these scores need images on both sides, but {source} are stored");
        let statistics = Statistics::load(path)?;
        let (found, given) = (statistics.dims(), extractor.dims());
        ensure!(found == given, "{source} are of {found} features, but --features gives {given}");
        let origin = Origin::of(path)?;
        let shown = if let Some(origin) = &origin {
            origin.check(extractor).with_context(|| format!("cannot use the {source}"))?;
            format!("{source} of {}", origin.source)
        } else {
            terminal::warning(&format!(
                "{source} do not say in which features they are: assuming those of {}",
                extractor.description()
            ));
            source.to_string()
        };
        Ok(Side { found: FeatureStats { statistics, features: None }, shown, origin })
    }
}
