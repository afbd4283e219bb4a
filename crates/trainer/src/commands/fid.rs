//! `hvae fid`.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use burn::tensor::Device;
use serde_json::json;

use crate::cli::Global;
use crate::commands::{SIDE, Trained, load, training_images};
use crate::evaluation::args::{FeatureArgs, FidArgs};
use crate::evaluation::scores::feature_metrics;
use crate::evaluation::source::Source;
use crate::latents::sampler::{LatentSource, Samples};
use hvae_runtime::{files, terminal};
use hvae_scores::{ExtractOptions, Extractor, FeatureMetrics, FeatureStats, Origin, Statistics};
use hvae_scores::{extract, frechet_distance};

/// Samples of a run unless the user asks for another number.
const SAMPLES: usize = 10_000;

pub(super) fn run(args: &FidArgs, global: &Global, device: &Device) -> Result<()> {
    let [a, b] = [Source::find(&args.a)?, Source::find(&args.b)?];
    if args.more {
        for source in [&a, &b] {
            let stored = matches!(source, Source::Statistics(_));
            ensure!(!stored, "--more needs images on both sides, but {source} are stored");
        }
        let least = FeatureMetrics::MIN_IMAGES;
        let count = args.count.map_or(usize::MAX, |count| count as usize);
        ensure!(
            count >= least,
            "--count {count}: --more needs {least} images of each side at least"
        );
    }
    for path in [&args.save_stats, &args.json].into_iter().flatten() {
        files::require_writable(path)?;
    }
    let extractor = extractor(&args.features, device)?;
    let [a_seen, b_seen] =
        [side(&a, args, &extractor, global, device)?, side(&b, args, &extractor, global, device)?];
    if let Some(path) = &args.save_stats {
        a_seen.seen.statistics.save(path, a_seen.origin.as_ref())?;
    }
    let distance = {
        let _working = terminal::Progress::start("distance", 1, 0);
        frechet_distance(&a_seen.seen.statistics, &b_seen.seen.statistics)?
    };
    let protocol =
        format!("{}; A = {}; B = {}", extractor.description(), a_seen.shown, b_seen.shown);
    let mut scores = json!({
        "fid": distance,
        "features": extractor.description(),
        "a": a_seen.shown,
        "b": b_seen.shown,
        "commit": crate::COMMIT,
    });
    terminal::result(&format!("FID {distance:.4}"));
    if args.more {
        let metrics = feature_metrics(&b_seen.seen, &a_seen.seen, args.seed)?;
        terminal::result(&metrics.to_string());
        scores["more"] = serde_json::to_value(metrics)?;
    }
    terminal::result(&format!("  {protocol}"));
    if let Some(path) = &args.json {
        write_json(path, &scores)?;
    }
    Ok(())
}

/// The network of `args`.
pub(super) fn extractor(args: &FeatureArgs, device: &Device) -> Result<Extractor> {
    Extractor::load(&args.features, args.inception_weights.as_deref(), device)
}

pub(super) fn write_json(path: &Path, value: &serde_json::Value) -> Result<()> {
    let text = serde_json::to_string_pretty(value).context("writing JSON")? + "\n";
    files::write(path, &text)
}

/// One side, seen, and what to call it.
struct Side {
    seen: FeatureStats,
    shown: String,
    /// Where its statistics are from, if that is known.
    origin: Option<Origin>,
}

impl Side {
    fn new(extractor: &Extractor, seen: FeatureStats, shown: String) -> Self {
        let images = seen.statistics.count().unwrap_or_default();
        Self { origin: Some(Origin::here(extractor, &shown, images, crate::COMMIT)), seen, shown }
    }
}

fn side(
    source: &Source,
    args: &FidArgs,
    extractor: &Extractor,
    global: &Global,
    device: &Device,
) -> Result<Side> {
    let count = args.count.map(|count| count as usize);
    let batch = args.features.batch.map(|batch| batch as usize);
    let options = ExtractOptions { count: None, batch, keep: args.more };
    let name = source.to_string();
    let shown = |count: usize| format!("{name} ({count} images)");
    match source {
        Source::Statistics(path) => {
            let statistics = Statistics::load(path)?;
            if statistics.dims() != extractor.dims() {
                bail!(
                    "{name} are of {} features, but --features gives {}",
                    statistics.dims(),
                    extractor.dims()
                );
            }
            let origin = Origin::of(path)?;
            let shown = if let Some(origin) = &origin {
                origin.check(extractor).with_context(|| format!("cannot use the {name}"))?;
                format!("{name} of {}", origin.source)
            } else {
                terminal::warning(&format!(
                    "{name} do not say in which features they are: assuming those of {}",
                    extractor.description()
                ));
                name
            };
            Ok(Side { seen: FeatureStats { statistics, features: None }, shown, origin })
        }
        Source::Run(path) => {
            let trained = load(path, args.checkpoint, device)?;
            let count = count.unwrap_or(SAMPLES);
            let latents = latents(&trained, args.from, count, args.seed, global, device)?;
            let samples = samples(&trained, latents, device);
            let seen = extract(extractor, &name, &samples, options)?;
            let from = args.from.name();
            let drawn = format!("{count} samples from the {from}, seed {}", args.seed);
            Ok(Side::new(extractor, seen, format!("{name} ({drawn})")))
        }
        _ => {
            let set = source.images(global.data_dir.as_deref(), global.verbosity())?;
            let seen = extract(extractor, &name, &set, ExtractOptions { count, ..options })?;
            Ok(Side::new(extractor, seen, shown(count.unwrap_or(set.len()))))
        }
    }
}

/// The samples of these latents.
pub(super) fn samples<'a>(trained: &'a Trained, latents: Vec<f32>, device: &Device) -> Samples<'a> {
    let (model, phases) = (&trained.model, &trained.phases);
    Samples { model, phases, latents, size: [SIDE, SIDE], device: device.clone() }
}

/// Latents for `count` samples.
pub(super) fn latents(
    trained: &Trained,
    from: LatentSource,
    count: usize,
    seed: u64,
    global: &Global,
    device: &Device,
) -> Result<Vec<f32>> {
    let Trained { model, phases, .. } = trained;
    from.latents(model, phases, count, seed, || training_images(trained, global, device))
}
