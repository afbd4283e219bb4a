//! The variational autoencoder: two networks, or one that is weight-tied, as encoder and decoder.
//!
//! ```text
//! -ELBO = -ln p(x|z) + KL(q(z|x) || p(z)),      z = mu + sigma eps
//! ```
//!
//! | file | holds |
//! |---|---|
//! | [`config`] | the members of the family, and their settings |
//! | [`architecture`] | the layers and couplings that settings describe, and a new model |
//! | [`model`] | the model: networks, sizes, limits, names of parameters |
//! | [`coding`] | a network as encoder or decoder: what is clamped, what is read |
//! | [`posterior`] | `q(z given x)` |
//! | [`prior`] | `p(z)` |
//! | [`hopfield_prior`] | a prior that is a modern Hopfield network |
//! | [`prior_config`] | settings of the prior |
//! | [`likelihood`] | `p(x given z)` |
//! | [`inference`] | encoding, decoding, reconstruction |
//! | [`step`] | the gradient of one training step |
//! | [`baseline`] | the same layers without feedback, and their step |
//! | [`losses`] | its losses, which may stay on the device |
//! | [`outcomes`] | what it returns |
//! | [`completion`] | gradients in the latents, to complete images |

pub(crate) mod architecture;
pub(crate) mod baseline;
pub(crate) mod coding;
pub(crate) mod completion;
pub(crate) mod config;
pub(crate) mod hopfield_prior;
pub(crate) mod inference;
pub(crate) mod likelihood;
pub(crate) mod losses;
pub(crate) mod model;
pub(crate) mod outcomes;
pub(crate) mod posterior;
pub(crate) mod prior;
pub(crate) mod prior_config;
pub(crate) mod step;

pub use completion::LatentGradient;
pub use config::{Kind, VaeConfig};
pub use hopfield_prior::HopfieldPrior;
pub use inference::Reconstruction;
pub use likelihood::{Decoding, Likelihood};
pub use losses::Losses;
pub use model::Vae;
pub use outcomes::{PerPhase, PerSide, PhaseOutcomes, TrainingStep};
pub use posterior::{Posterior, PosteriorGradient};
pub use prior::{Prior, StandardNormal};
pub use prior_config::{PriorConfig, PriorKind};
