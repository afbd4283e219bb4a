//! How far a nudge takes the states of a network.

use burn::tensor::Tensor;
use hvae_solver::{Outcome, State};

use crate::dynamics::relaxation::repeat;
use crate::dynamics::{NudgedPhase, Relaxation, deviation};
use crate::energy::PerLayer;
use crate::eqprop::cost::Force;
use crate::eqprop::difference::Moved;
use crate::eqprop::nudge::{Nudge, Nudging};
use crate::error::ModelError;
use crate::scalar::Scalar;

/// The states of the free layers under the two strengths of a nudge, by `forces` times `beta`, and
/// how each sample ended, once for each nudge. `free` is the free equilibrium, with the inputs there if
/// they are known.
pub(crate) fn displacement(
    forces: &[Force],
    beta: &Scalar,
    relaxation: &Relaxation<'_>,
    free: (&State, Option<&PerLayer<Tensor<2>>>),
    nudge: &Nudge,
) -> Result<(Moved, Vec<Outcome>), ModelError> {
    let ((free, inputs), Nudge { nudging, damping, rule, .. }) = (free, nudge);
    match relaxation.substrate.nudged_phase() {
        NudgedPhase::Deviation => {
            let signs: Vec<f64> = nudging.signs().into_iter().filter(|s| *s != 0.0).collect();
            let push = pushes(forces, beta, &signs, relaxation);
            let copies = signs.len();
            let inputs = inputs.cloned().unwrap_or_else(|| relaxation.inputs(free));
            let found = deviation::relax(relaxation, &inputs, push, copies, *damping, rule)?;
            Ok((from_deviations(free, found.state, *nudging), found.outcomes))
        }
        // The difference of two nearby states has few digits, and the residual of the free phase
        // enters it: both states come from phases of one tolerance, the one of a one-sided nudge
        // that is not pushed, too.
        NudgedPhase::States { .. } => {
            let push = pushes(forces, beta, &nudging.signs(), relaxation);
            let start = free.map(|s| repeat(s, 2));
            let found = relaxation.clone().pushed(&push, 2).relax(start, *damping, rule)?;
            let [a, b] = halves(&found.state);
            Ok((Moved::between(a, b), found.outcomes))
        }
    }
}

/// The two states, from deviations from `free`.
fn from_deviations(free: &State, deviations: State, nudging: Nudging) -> Moved {
    let twice_free = free.map(|s| s.mul_scalar(2.0));
    let Moved { sum, difference } = match nudging {
        Nudging::Centred => {
            let [a, b] = halves(&deviations);
            Moved::between(a, b)
        }
        Nudging::Positive => Moved { sum: deviations.clone(), difference: deviations },
        Nudging::Negative => {
            Moved { sum: deviations.clone(), difference: deviations.map(Tensor::neg) }
        }
    };
    Moved { sum: twice_free.zip(sum, |s, d| s + d), difference }
}

pub(crate) fn halves(state: &State) -> [State; 2] {
    let half = state.batch() / 2;
    [0, half].map(|from| state.map(|s| s.narrow(0, from, half)))
}

/// What pushes each layer under nudges of `signs` times `beta`, as one batch.
fn pushes(
    forces: &[Force],
    beta: &Scalar,
    signs: &[f64],
    relaxation: &Relaxation<'_>,
) -> PerLayer<Tensor<2>> {
    let mut pushes = PerLayer::empty(relaxation.network().layers.len());
    for Force { layer, force } in forces {
        let each = signs.iter().map(|&sign| beta.times(force.clone(), sign));
        pushes.add(*layer, Tensor::cat(each.collect(), 0));
    }
    pushes
}
