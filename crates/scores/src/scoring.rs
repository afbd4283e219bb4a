//! From images to what is compared: features stream into statistics, and are kept only on request.

use anyhow::{Context, Result, ensure};

use crate::FeatureSet;
use crate::extractor::Extractor;
use crate::inception::host::release_memory;
use crate::statistics::{Accumulator, Statistics};
use crate::stream::ImageStream;
use hvae_runtime::terminal;
use hvae_runtime::terminal::Progress;

/// A set as seen through a network.
#[derive(Debug)]
pub struct Seen {
    /// Mean and covariance of its features.
    pub statistics: Statistics,
    /// The features themselves, if they were asked for.
    pub features: Option<FeatureSet>,
}

/// Looks at the first `count` images of `images`, or at all, `batch` at a time. What is in memory
/// at once is a batch, the statistics, and with `keep` the features of 4 bytes each.
///
/// # Errors
///
/// When there are fewer images, a feature is not finite, or images cannot be made or read.
pub fn look(
    extractor: &Extractor,
    name: &str,
    images: &dyn ImageStream,
    count: Option<usize>,
    batch: usize,
    keep: bool,
) -> Result<Seen> {
    let count = count.unwrap_or_else(|| images.count());
    ensure!(
        count <= images.count(),
        "{count} images were asked for, but {name} has {}",
        images.count()
    );
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
    images.stream(count, batch, &mut |pictures| {
        let features = extractor.features(pictures)?;
        statistics.add(&features).with_context(|| format!("the features of {name}"))?;
        if keep {
            kept.extend_from_slice(&features);
        }
        done += pictures.len();
        progress.update(done, String::new);
        Ok(())
    })?;
    drop(progress);
    release_memory();
    if count <= dims {
        terminal::warning(&format!(
            "{name}: {count} images for {dims} features. Its covariance is singular and distances \
             come out too large; compare only with scores of equally many images"
        ));
    }
    let statistics = statistics.finish().with_context(|| format!("cannot score {name}"))?;
    Ok(Seen { statistics, features: keep.then_some(FeatureSet { dims, values: kept }) })
}
