#![doc = include_str!("../README.md")]
#![recursion_limit = "256"]
#![allow(clippy::missing_errors_doc, reason = "the errors themselves say when and why")]

pub mod classifier;
mod extract;
mod extractor;
mod features;
mod frechet;
pub mod inception;
mod kid;
pub mod linear;
mod metrics;
mod origin;
mod prdc;
mod statistics;
mod stream;

pub use extract::{ExtractOptions, FeatureStats, extract};
pub use extractor::{Extractor, FeatureChoice, FeatureSpec};
pub use features::FeatureSet;
pub use frechet::frechet_distance;
pub use kid::{Kid, kid};
pub use metrics::FeatureMetrics;
pub use origin::Origin;
pub use prdc::{Prdc, prdc};
pub use statistics::{Accumulator, Statistics};
pub use stream::{ImageBatch, ImageStream};
