//! FID Inception v3: the network of pytorch-fid 0.3.0, whose features FID compares.
//!
//! It is torchvision's Inception v3 with 1008 classes, except that average pools do not count
//! padding and the last block pools by the maximum. Batch normalisations are folded into the
//! convolutions when the weights are loaded; the layers after the 2048 features are left out.
//!
//! The layers are generic in the [`FeatureMap`] that they compute on: Burn's tensors on any device,
//! or, on the CPU, the faster products of `host`.

mod conv;
pub(crate) mod host;
mod map;
pub(crate) mod network;
mod preprocess;
pub mod weights;

pub use conv::{BatchNormConv, Conv, ConvShape};
pub use map::{FeatureMap, Pool};
pub use network::{Depth, Inception};
pub use preprocess::{SIDE, preprocess};
