//! Distances between two sets of images.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use burn::tensor::Device;
use hvae_data::{ImageSet, ImageShape, Split};
use hvae_runtime::terminal;
use hvae_scores::{
    ExtractOptions, Extractor, FeatureMetrics, FeatureStats, Origin, Statistics, extract,
};

use crate::api::trained::Trained;
use crate::evaluation::scores::feature_metrics;
use crate::evaluation::source::Source;
use crate::latents::sampler::LatentSource;
use crate::run::choice::CheckpointChoice;
use crate::run::dir::RunDir;
use crate::run::environment;

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

/// A subject that is known to be usable.
enum Opened {
    Run(Box<Trained>),
    Images(ImageSet),
    Stored(Side),
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

    /// The shape that its images have in any case: that of a run.
    fn shape(&self) -> Result<Option<ImageShape>> {
        match self {
            Self::Named(Source::Run(path) | Source::OfRun(path, _)) => {
                Ok(Some(RunDir::open(path)?.config()?.data.shape()))
            }
            Self::Named(_) | Self::Images(_) => Ok(None),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Named(source) => source.to_string(),
            Self::Images(_) => "array".to_owned(),
        }
    }
}

impl Comparison {
    /// The features of both, of which none are computed before both are known to be usable.
    pub fn sides(&self, subjects: &[Subject; 2]) -> Result<[Side; 2]> {
        let [a, b] = subjects;
        let of_runs = [a.shape()?, b.shape()?];
        of_runs.iter().flatten().try_for_each(|shape| self.extractor.require_shape(*shape))?;
        let shape = self.extractor.shape().or(of_runs[0]).or(of_runs[1]);
        let opened = [self.open(a, shape)?, self.open(b, shape)?];
        let [of_a, of_b] = opened;
        Ok([self.side(&a.name(), of_a)?, self.side(&b.name(), of_b)?])
    }

    fn open(&self, subject: &Subject, shape: Option<ImageShape>) -> Result<Opened> {
        let data_dir = self.data_dir.as_deref();
        let set = match subject {
            Subject::Images(set) => set.clone(),
            Subject::Named(Source::Run(path)) => {
                let trained = Trained::load(path, self.checkpoint, &self.device)?;
                return Ok(Opened::Run(Box::new(trained)));
            }
            Subject::Named(source @ Source::Statistics(path)) => {
                return Ok(Opened::Stored(self.stored(source, path)?));
            }
            Subject::Named(Source::OfRun(path, split)) => {
                let run = RunDir::open(path)?;
                let data = run.config()?.data;
                let images = environment::images(&run, &data, *split, data_dir, &self.device)?;
                images.set().clone()
            }
            Subject::Named(source) => source.images(Split::Test, shape, data_dir)?,
        };
        let (name, found) = (subject.name(), set.len());
        let count = self.count.unwrap_or(found);
        ensure!(count <= found, "--count {count}: {name} has {found} images");
        ensure!(found >= 2, "{name} has {found} image: at least 2 are needed");
        Ok(Opened::Images(set))
    }

    fn side(&self, name: &str, opened: Opened) -> Result<Side> {
        let options = |count| ExtractOptions { count, batch: self.batch, keep: self.keep };
        let (found, shown) = match opened {
            Opened::Stored(side) => return Ok(side),
            Opened::Run(trained) => {
                let (count, data_dir) = (self.count.unwrap_or(SAMPLES), self.data_dir.as_deref());
                let latents = trained.latents_from(self.from, count, self.seed, data_dir)?;
                let samples = trained.samples(latents);
                let (from, seed) = (self.from.name(), self.seed);
                let shown = format!("{name} ({count} samples from the {from}, seed {seed})");
                (extract(&self.extractor, name, &samples, options(None))?, shown)
            }
            Opened::Images(set) => {
                let shown = format!("{name} ({} images)", self.count.unwrap_or(set.len()));
                (extract(&self.extractor, name, &set, options(self.count))?, shown)
            }
        };
        let images = found.statistics.count().unwrap_or_default();
        let origin = Origin::here(&self.extractor, &shown, images, crate::COMMIT);
        Ok(Side { origin: Some(origin), found, shown })
    }

    /// KID, precision, recall, density and coverage of `samples` among the `real` images.
    pub fn metrics(&self, samples: &Side, real: &Side) -> Result<FeatureMetrics> {
        feature_metrics(&real.found, &samples.found, self.seed)
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
