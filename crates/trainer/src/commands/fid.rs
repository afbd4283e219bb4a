//! `hvae fid`.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use burn::tensor::Device;
use serde_json::json;

use crate::cli::Global;
use crate::evaluation::args::{FeatureArgs, FidArgs, LatentSource};
use crate::evaluation::source::Source;
use crate::latents::mixture::COMPONENTS;
use crate::latents::sampler::{Samples, fit_mixture, prior_latents};
use crate::run::environment;
use hvae_data::Split;
use hvae_data::images::Images;
use hvae_runtime::{files, terminal};
use hvae_scores::distance::frechet;
use hvae_scores::extractor::Extractor;
use hvae_scores::kid::{KernelDistance, kernel_distance};
use hvae_scores::origin::Origin;
use hvae_scores::prdc::{Overlap, overlap};
use hvae_scores::scoring::{Seen, look};
use hvae_scores::statistics::Statistics;
use hvae_scores::{FeatureSet, kid, prdc};

use crate::commands::{SIDE, Trained, load};

/// Samples of a run unless the user asks for another number.
const SAMPLES: usize = 10_000;

pub(super) fn run(args: &FidArgs, global: &Global, device: &Device) -> Result<()> {
    let [a, b] = [Source::find(&args.a)?, Source::find(&args.b)?];
    if args.more {
        for source in [&a, &b] {
            let stored = matches!(source, Source::Statistics(_));
            ensure!(!stored, "--more needs images on both sides, but {source} are stored");
        }
        let least = prdc::NEIGHBOURS + 1;
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
        frechet(&a_seen.seen.statistics, &b_seen.seen.statistics)?
    };
    let protocol = format!("{}; A = {}; B = {}", extractor.protocol(), a_seen.shown, b_seen.shown);
    let mut scores = json!({
        "fid": distance,
        "features": extractor.protocol(),
        "a": a_seen.shown,
        "b": b_seen.shown,
        "commit": crate::COMMIT,
    });
    terminal::result(&format!("FID {distance:.4}"));
    if let [Some(samples), Some(real)] = [&a_seen.seen.features, &b_seen.seen.features] {
        let more = more(real, samples, args.seed)?;
        terminal::result(&more.lines());
        scores["more"] = more.json();
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

/// Images per batch.
pub(super) fn batch(args: &FeatureArgs, extractor: &Extractor) -> usize {
    args.batch.map_or(extractor.batch(), |batch| batch as usize)
}

pub(super) fn write_json(path: &Path, value: &serde_json::Value) -> Result<()> {
    let text = serde_json::to_string_pretty(value).context("writing JSON")? + "\n";
    files::write(path, &text)
}

/// One side, seen, and what to call it.
struct Side {
    seen: Seen,
    shown: String,
    /// Where its statistics are from, if that is known.
    origin: Option<Origin>,
}

impl Side {
    fn new(extractor: &Extractor, seen: Seen, shown: String) -> Self {
        let images = seen.statistics.count.unwrap_or_default();
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
    let batch = batch(&args.features, extractor);
    let count = args.count.map(|count| count as usize);
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
                    "{name} do not say in which features they were taken: taken for those of {}",
                    extractor.protocol()
                ));
                name
            };
            Ok(Side { seen: Seen { statistics, features: None }, shown, origin })
        }
        Source::Run(path) => {
            let trained = load(path, args.checkpoint, device)?;
            let count = count.unwrap_or(SAMPLES);
            let latents = latents(&trained, args.from, count, args.seed, global, device)?;
            let samples = samples(&trained, latents, device);
            let seen = look(extractor, &name, &samples, None, batch, args.more)?;
            let from = latent_name(args.from);
            let drawn = format!("{count} samples from the {from}, seed {}", args.seed);
            Ok(Side::new(extractor, seen, format!("{name} ({drawn})")))
        }
        _ => {
            let set = source.images(global.data_dir.as_deref(), global.verbosity())?;
            let seen = look(extractor, &name, &set, count, batch, args.more)?;
            Ok(Side::new(extractor, seen, shown(count.unwrap_or(set.len()))))
        }
    }
}

/// The samples of these latents.
pub(super) fn samples<'a>(trained: &'a Trained, latents: Vec<f32>, device: &Device) -> Samples<'a> {
    let (model, phases) = (&trained.model, &trained.phases);
    Samples { model, phases, latents, size: [SIDE, SIDE], device: device.clone() }
}

/// What a source of latents is called in protocols.
pub(super) fn latent_name(from: LatentSource) -> String {
    match from {
        LatentSource::Prior => "prior".to_owned(),
        LatentSource::Mixture => format!("{COMPONENTS}-component mixture"),
    }
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
    match from {
        LatentSource::Prior => Ok(prior_latents(&trained.model, count, seed)),
        LatentSource::Mixture => {
            let data = &trained.config.data;
            let verbosity = global.verbosity();
            let data_dir = environment::data_dir(global.data_dir.as_deref(), &trained.run)?;
            let images = Images::load(data, Split::Train, &data_dir, verbosity, device)?;
            let mixture = fit_mixture(&trained.model, &trained.phases, &images, seed)?;
            Ok(mixture.sample(count, seed))
        }
    }
}

/// Scores that need the features themselves.
pub(super) struct More {
    pub(super) kernel: KernelDistance,
    pub(super) overlap: Overlap,
}

/// All of them, at the usual settings.
pub(super) fn more(real: &FeatureSet, samples: &FeatureSet, seed: u64) -> Result<More> {
    terminal::stage(&format!(
        "kernel distance, precision and recall of {} samples and {} images",
        samples.len(),
        real.len()
    ));
    let _working = terminal::Progress::start("kernel distance, precision, recall", 1, 0);
    Ok(More {
        kernel: kernel_distance(samples, real, kid::SUBSETS, kid::SUBSET_SIZE, seed)?,
        overlap: overlap(real, samples, prdc::NEIGHBOURS)?,
    })
}

impl More {
    pub(super) fn lines(&self) -> String {
        let Self { kernel, overlap } = self;
        format!(
            "KID {kernel} (subsets of {} images: {}; cubic polynomial kernel, unbiased)\n\
             precision {:.4}  recall {:.4}  density {:.4}  coverage {:.4} ({} nearest neighbours, {} real images, {} samples)",
            kernel.size,
            kernel.subsets,
            overlap.precision,
            overlap.recall,
            overlap.density,
            overlap.coverage,
            overlap.neighbours,
            overlap.images[0],
            overlap.images[1]
        )
    }

    pub(super) fn json(&self) -> serde_json::Value {
        let Self { kernel, overlap } = self;
        json!({
            "kid": { "mean": kernel.mean, "deviation": kernel.deviation, "subsets": kernel.subsets, "size": kernel.size },
            "precision": overlap.precision,
            "recall": overlap.recall,
            "density": overlap.density,
            "coverage": overlap.coverage,
            "neighbours": overlap.neighbours,
            "overlap_images": overlap.images,
        })
    }
}
