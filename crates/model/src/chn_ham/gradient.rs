//! The gradient of a batch.

use burn::tensor::Tensor;
use hvae_solver::Outcome;

/// The gradient of a batch's mean loss, and how its phases ended.
#[derive(Debug, Clone)]
pub struct Gradient {
    /// `dC/dW` per weight, of its shape.
    pub weights: Vec<Tensor<2>>,
    /// `dC/db` per bias, of its shape.
    pub biases: Vec<Tensor<1>>,
    /// The outputs `s_L`, `[batch, classes]`.
    pub outputs: Tensor<2>,
    /// How the free phase ended, for each sample.
    pub free: Vec<Outcome>,
    /// How the adjoint phase, or each nudged phase, ended; empty where the gradient goes back
    /// through iterations.
    pub second: Vec<Outcome>,
}
