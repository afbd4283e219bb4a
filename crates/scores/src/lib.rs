#![doc = include_str!("../README.md")]
//!
//! # Map of the crate
//!
//! | module | content |
//! |---|---|
//! | `stream` | [`ImageStream`]: a data set, or a model that draws images on demand |
//! | `extractor` | [`Extractor`]: the feature network; [`FeatureChoice`] names it |
//! | `extract` | [`extract()`]: features of a stream, and their statistics |
//! | `statistics`, `origin` | [`Statistics`]: mean and covariance in one pass, and their `.npz` file |
//! | `frechet`, `kid`, `prdc`, `metrics` | the scores |
//! | [`inception`] | FID Inception v3 and its weights |
//! | [`classifier`] | the small feature classifier of 28x28 images, and its training |
//! | [`linear`] | dense linear algebra in double precision |
#![recursion_limit = "256"]

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
