//! What to do when a step fails.

use anyhow::{Error, anyhow};
use hvae_model::ModelError;

use crate::optimizer::NOT_FINITE;

/// `error` of `step` with advice, if a number is not finite.
pub(super) fn advised(error: Error, step: usize) -> Error {
    let advice = if step == 0 {
        "no step was taken, so that the dynamics of the first weights diverge: raise the gains \
         (model.*_gain), or use fewer layers; check the images for values outside [0, 1]"
    } else {
        "lower training.learning_rate, or raise the gains (model.*_gain)"
    };
    match error.downcast_ref::<ModelError>() {
        Some(ModelError::NotFinite { what, .. }) => {
            anyhow!("{what}: not a finite number; {advice}")
        }
        None if error.to_string() == NOT_FINITE => anyhow!("{NOT_FINITE}; {advice}"),
        _ => error,
    }
}
