//! What commands do, without a command line: the front that the commands and the Python module use.
//!
//! | file | what it holds |
//! |---|---|
//! | `trained` | a trained model: encode, decode, sample, reconstruct, bounds, weights |
//! | `relax` | the states of a decoder, sweep by sweep |
//! | `classes` | patterns of a learned prior, named by the labels of latents |
//! | `comparison` | FID, KID, precision and recall of two sets of images |
//! | `train` | a run, trained under a configuration |

pub(crate) mod classes;
pub(crate) mod comparison;
pub(crate) mod relax;
pub(crate) mod train;
pub(crate) mod trained;

pub use crate::config::Usage;
pub use crate::latents::sampler::LatentSource;
pub use crate::observers::Observer;
pub use crate::run::{CheckpointChoice, EpochMetrics};
pub use comparison::{Comparison, Side, Subject};
pub use relax::{LayerStates, Sweeps};
pub use train::{NewRun, Training};
pub use trained::{Encoded, Reconstructed, Trained, WeightArray};
