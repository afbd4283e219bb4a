//! The energy: layers, the interactions that couple them, and the network they make.
//!
//! | file | holds |
//! |---|---|
//! | [`activation`] | nonlinearities `g`, their slopes and conjugates `A` |
//! | [`layer`] | what a layer is: shape, nonlinearity, gain, bias |
//! | [`per_layer`] | one value for some of the layers, such as their states |
//! | [`interaction`] | the linear maps `W` and `R`, one file per kind |
//! | [`coupling`] | an interaction between two layers, or within one |
//! | [`network`] | layers and couplings: construction and energy |
//! | [`limits`] | weights kept small enough for an equilibrium to exist; learning-rate factors |

pub(crate) mod activation;
pub(crate) mod coupling;
pub(crate) mod interaction;
pub(crate) mod layer;
pub(crate) mod limits;
pub(crate) mod network;
pub(crate) mod per_layer;

pub use activation::{Activation, HiddenActivation};
pub use coupling::{Coupling, CouplingSpec};
pub use interaction::dense::Dense;
pub use interaction::symmetric::Symmetric;
pub use interaction::{Interaction, InteractionKind};
pub use layer::{Layer, LayerId, LayerSpec, Shape};
pub use network::HopfieldNetwork;
pub use per_layer::PerLayer;
