use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use hvae_runtime::terminal;
use hvae_scores::{
    ExtractOptions, Extractor, FeatureMetrics, FeatureStats, Origin, Statistics, extract,
    frechet_distance,
};
use serde_json::json;

use crate::cli::scoring::FeatureArgs;
use crate::cli::values::{count, file};
use crate::commands::context::{Context, Ended, Run};
use crate::commands::output::{JsonArgs, require};
use crate::commands::trained::Trained;
use crate::evaluation::scores::feature_metrics;
use crate::evaluation::source::Source;
use crate::latents::sampler::LatentSource;
use crate::run::choice::CheckpointChoice;

/// Fréchet distance (FID) between two sets of images
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae fid checkpoints/h-vae-001 mnist-test
  hvae fid checkpoints/h-vae-001 mnist-train --features inception --save-stats run.npz
  hvae fid samples/ test.npz --more
  hvae fid mnist-train mnist-test --features inception --inception-weights FILE

A and B are each: a run's folder (samples are drawn from it), a folder of pictures, a .npz, .npy or
IDX file of images, a .npz of statistics as pytorch-fid writes it (mu, sigma), mnist-train or
mnist-test. Only FIDs with --features inception can be compared with published ones.")]
pub struct Fid {
    /// Images to score
    a: PathBuf,
    /// Images to compare them with
    b: PathBuf,
    /// Feature network
    #[command(flatten)]
    features: FeatureArgs,
    /// Images of each side, from the first [default: all of a set, 10000 samples of a run]
    #[arg(long, value_name = "N", value_parser = count(2..=10_000_000))]
    count: Option<usize>,
    /// Seed of the samples of a run
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where the latents of a run's samples come from
    #[arg(long, value_enum, default_value_t = LatentSource::Prior)]
    from: LatentSource,
    /// Checkpoint of a run: latest, best or a step
    #[arg(long, value_name = "NAME", default_value = "latest")]
    checkpoint: CheckpointChoice,
    /// Also KID, precision, recall, density and coverage (B are the real images; both sides must be
    /// images)
    #[arg(long)]
    more: bool,
    /// Save the statistics of A as .npz with `mu` and `sigma`, for later comparisons
    #[arg(long, value_name = "FILE", value_parser = file(&["npz"]))]
    save_stats: Option<PathBuf>,
    #[command(flatten)]
    json: JsonArgs,
}

/// Default number of samples of a run.
const SAMPLES: usize = 10_000;

impl Run for Fid {
    fn run(self, cx: &Context) -> Result<Ended> {
        let sources = [Source::find(&self.a)?, Source::find(&self.b)?];
        self.check(&sources)?;
        let extractor = self.features.extractor(cx.device()?)?;
        let [a, b] = &sources;
        let [a, b] = [self.side(a, &extractor, cx)?, self.side(b, &extractor, cx)?];
        if let Some(path) = &self.save_stats {
            a.found.statistics.save(path, a.origin.as_ref())?;
        }
        let distance = {
            let _working = terminal::Progress::start("distance", 1, 0);
            frechet_distance(&a.found.statistics, &b.found.statistics)?
        };
        let mut scores = json!({
            "fid": distance,
            "features": extractor.description(),
            "a": a.shown,
            "b": b.shown,
            "commit": crate::COMMIT,
        });
        terminal::result(&format!("FID {distance:.4}"));
        if self.more {
            let metrics = feature_metrics(&b.found, &a.found, self.seed)?;
            terminal::result(&metrics.to_string());
            scores["more"] = serde_json::to_value(metrics)?;
        }
        let protocol = extractor.description();
        terminal::result(&format!("  {protocol}; A = {}; B = {}", a.shown, b.shown));
        self.json.write(&scores)?;
        Ok(Ended::Done)
    }
}

/// One side of the comparison: its features, and its name in messages.
struct Side {
    found: FeatureStats,
    shown: String,
    /// Where its statistics are from, if that is known.
    origin: Option<Origin>,
}

impl Side {
    fn new(extractor: &Extractor, found: FeatureStats, shown: String) -> Self {
        let images = found.statistics.count().unwrap_or_default();
        Self { origin: Some(Origin::here(extractor, &shown, images, crate::COMMIT)), found, shown }
    }

    /// Statistics of a `.npz`.
    fn stored(source: &Source, path: &std::path::Path, extractor: &Extractor) -> Result<Self> {
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
        Ok(Self { found: FeatureStats { statistics, features: None }, shown, origin })
    }
}

impl Fid {
    /// Refuses, before any work, what cannot be compared or written.
    fn check(&self, sources: &[Source; 2]) -> Result<()> {
        if self.more {
            for source in sources {
                let stored = matches!(source, Source::Statistics(_));
                ensure!(!stored, "--more needs images on both sides, but {source} are stored");
            }
            let (count, least) = (self.count.unwrap_or(usize::MAX), FeatureMetrics::MIN_IMAGES);
            let needed = format!("--more needs at least {least} images of each side");
            ensure!(count >= least, "--count {count}: {needed}");
        }
        self.save_stats.iter().try_for_each(|path| require(path))?;
        self.json.require()
    }

    fn side(&self, source: &Source, extractor: &Extractor, cx: &Context) -> Result<Side> {
        let batch = self.features.batch;
        let options = ExtractOptions { count: None, batch, keep: self.more };
        let name = source.to_string();
        match source {
            Source::Statistics(path) => Side::stored(source, path, extractor),
            Source::Run(path) => {
                let trained = Trained::load(path, self.checkpoint, cx)?;
                let count = self.count.unwrap_or(SAMPLES);
                let latents = trained.latents(self.from, count, self.seed, cx)?;
                let samples = trained.samples(latents);
                let found = extract(extractor, &name, &samples, options)?;
                let (from, seed) = (self.from.name(), self.seed);
                let shown = format!("{name} ({count} samples from the {from}, seed {seed})");
                Ok(Side::new(extractor, found, shown))
            }
            _ => {
                let set = source.images(cx.global.data_dir.as_deref())?;
                let options = ExtractOptions { count: self.count, ..options };
                let found = extract(extractor, &name, &set, options)?;
                let shown = format!("{name} ({} images)", self.count.unwrap_or(set.len()));
                Ok(Side::new(extractor, found, shown))
            }
        }
    }
}
