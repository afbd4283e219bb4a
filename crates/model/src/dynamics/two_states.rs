//! A nudged phase as two states side by side, as a device can measure them.

use burn::tensor::Tensor;
use hvae_solver::{Solution, State, StoppingRule};

use crate::dynamics::relaxation::{Relaxation, repeat};
use crate::energy::per_layer::PerLayer;
use crate::error::ModelError;

/// The states of the free layers of `phase` from their equilibrium `free` under two nudges, as one
/// batch, the first nudge first; `push` is `[2 batch, n_k]` for each pushed layer.
///
/// The difference of two nearby states has few digits, and the residual of the free phase enters
/// it: both states come from phases of one tolerance, the one of a one-sided nudge that is not
/// pushed, too.
pub(crate) fn relax(
    phase: &Relaxation<'_>,
    free: &State,
    push: &PerLayer<Tensor<2>>,
    damping: f64,
    rule: &StoppingRule,
) -> Result<Solution, ModelError> {
    phase.clone().pushed(push, 2).relax(free.map(|s| repeat(s, 2)), damping, rule)
}

/// The two halves of a batch.
pub(crate) fn halves(state: &State) -> [State; 2] {
    let half = state.batch() / 2;
    [0, half].map(|from| state.map(|s| s.narrow(0, from, half)))
}
