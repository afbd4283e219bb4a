//! How far a nudge takes the states of a network.

use burn::tensor::Tensor;
use hvae_solver::{Outcome, State};

use crate::dynamics::relaxation::Relaxation;
use crate::dynamics::substrate::NudgedPhase;
use crate::dynamics::two_states::halves;
use crate::dynamics::{deviation, two_states};
use crate::energy::per_layer::PerLayer;
use crate::eqprop::cost::Force;
use crate::eqprop::nudge::{Nudge, Nudging};
use crate::error::ModelError;
use crate::scalar::Scalar;

/// The states `s_a` and `s_b` of the two strengths of a nudge.
#[derive(Debug)]
pub(crate) struct Displacement {
    /// `s_a + s_b` of the free layers.
    pub(crate) sum: State,
    /// `s_a - s_b` of the free layers.
    pub(crate) difference: State,
    /// How each sample ended, once for each nudge.
    pub(crate) outcomes: Vec<Outcome>,
}

impl Displacement {
    /// Of a network whose free equilibrium is `free`, by forces that are nudged by `beta`.
    pub(crate) fn by(
        forces: &[Force],
        beta: &Scalar,
        relaxation: &Relaxation<'_>,
        free: &State,
        nudge: &Nudge,
    ) -> Result<Self, ModelError> {
        let Nudge { nudging, damping, rule, .. } = nudge;
        match relaxation.substrate().nudged_phase() {
            NudgedPhase::Deviation => {
                let signs: Vec<f64> = nudging.signs().into_iter().filter(|s| *s != 0.0).collect();
                let push = pushes(forces, beta, &signs, relaxation);
                let copies = signs.len();
                let found = deviation::relax(relaxation, free, push, copies, *damping, rule)?;
                Ok(Self::of_deviations(free, found.state, *nudging, found.outcomes))
            }
            NudgedPhase::States { .. } => {
                let push = pushes(forces, beta, &nudging.signs(), relaxation);
                let found = two_states::relax(relaxation, free, &push, *damping, rule)?;
                Ok(Self::of_states(&found.state, found.outcomes))
            }
        }
    }

    /// The displacement by deviations from `free`.
    fn of_deviations(
        free: &State,
        deviations: State,
        nudging: Nudging,
        outcomes: Vec<Outcome>,
    ) -> Self {
        let twice_free = free.map(|s| s.mul_scalar(2.0));
        let [sum, difference] = match nudging {
            Nudging::Centred => {
                let [a, b] = halves(&deviations);
                [a.clone().zip(b.clone(), |a, b| a + b), a.zip(b, |a, b| a - b)]
            }
            Nudging::Positive => [deviations.clone(), deviations],
            Nudging::Negative => [deviations.clone(), deviations.map(Tensor::neg)],
        };
        Self { sum: twice_free.zip(sum, |s, d| s + d), difference, outcomes }
    }

    /// Of two states side by side.
    fn of_states(states: &State, outcomes: Vec<Outcome>) -> Self {
        let [a, b] = halves(states);
        let sum = a.clone().zip(b.clone(), |a, b| a + b);
        Self { sum, difference: a.zip(b, |a, b| a - b), outcomes }
    }
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
        let push = Tensor::cat(each.collect(), 0);
        let push = match pushes.take(*layer) {
            Some(before) => before + push,
            None => push,
        };
        pushes.set(*layer, push);
    }
    pushes
}
