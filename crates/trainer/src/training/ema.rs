//! Exponential moving average of the weights.

use burn::tensor::Tensor;
use hvae_model::Vae;

use crate::optimizer::parameters::{flat_parameters, with_parameters};

/// `decay * average + (1 - decay) * model`, parameter by parameter (an exponential moving average;
/// Polyak & Juditsky 1992), computed as `average + (1 - decay) (model - average)`, which leaves an
/// average unchanged that equals the model.
pub(super) fn advance(average: Vae, model: &Vae, decay: f64) -> Vae {
    let values = flat_parameters(model);
    with_parameters(average, |id, old: Tensor<1>| {
        let value = values[&id].clone();
        old.clone() + (value - old).mul_scalar(1.0 - decay)
    })
}
