//! From images to their features, and to the statistics of those.

use anyhow::{Context, Result, ensure};
use hvae_runtime::interrupt;
use hvae_runtime::terminal::{self, Progress};

use crate::extractor::Extractor;
use crate::features::FeatureSet;
use crate::statistics::{Accumulator, Statistics};
use crate::stream::ImageStream;

/// Which images to extract features of, and what to keep.
#[derive(Debug, Clone, Copy, Default)]
pub struct ExtractOptions {
    /// Number of images, from the first; all by default.
    pub count: Option<usize>,
    /// Images per batch; by default what suits the network.
    pub batch: Option<usize>,
    /// Keep the features of each image, 4 bytes each, which KID and PRDC need.
    pub keep: bool,
}

/// The features of a set of images.
#[derive(Debug)]
pub struct FeatureStats {
    /// Their mean and covariance.
    pub statistics: Statistics,
    /// The features themselves, if [`ExtractOptions::keep`] asked for them.
    pub features: Option<FeatureSet>,
}

/// Extracts the features of `images`, batch by batch; images are never in memory all at once.
/// Progress and warnings go to stderr under the name `name`.
pub fn extract(
    extractor: &Extractor,
    name: &str,
    images: &dyn ImageStream,
    options: ExtractOptions,
) -> Result<FeatureStats> {
    let ExtractOptions { count, batch, keep } = options;
    let available = images.count();
    let count = count.unwrap_or(available);
    ensure!(count <= available, "--count {count}: {name} has {available}");
    let dims = extractor.dims();
    let mut statistics = Accumulator::new(dims);
    let mut kept = Vec::new();
    if keep {
        let room = kept.try_reserve_exact(count * dims);
        room.with_context(|| format!("the features of {count} images do not fit into memory"))?;
    }
    terminal::stage(&format!("{name}: features of {count} images"));
    let mut progress = Progress::start(name, count, 0);
    let mut done = 0;
    images.stream(count, batch.unwrap_or(extractor.batch()), &mut |batch| {
        interrupt::check()?;
        let features = extractor.features(batch)?;
        statistics.add(&features).with_context(|| format!("the features of {name}"))?;
        if keep {
            kept.extend_from_slice(&features);
        }
        done += batch.len();
        progress.update(done, String::new);
        Ok(())
    })?;
    drop(progress);
    extractor.release_memory();
    if count <= dims {
        terminal::warning(&format!(
            "{name}: {count} images for {dims} features: the covariance is singular and the \
             Fréchet distance biased upwards; compare only with scores of equally many images"
        ));
    }
    let statistics = statistics.finish().with_context(|| format!("cannot score {name}"))?;
    Ok(FeatureStats { statistics, features: keep.then_some(FeatureSet { dims, values: kept }) })
}
