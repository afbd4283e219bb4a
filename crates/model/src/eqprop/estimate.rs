//! From a cost to its gradient by equilibrium propagation.

use crate::dynamics::relaxation::{Equilibrium, Relaxation};
use crate::eqprop::cost::{Cost, Force, Readout};
use crate::eqprop::difference::{Difference, Moved};
use crate::eqprop::displacement::Displacement;
use crate::eqprop::gradient::EpGradient;
use crate::eqprop::nudge::Nudge;
use crate::eqprop::nudge_size::NudgeNorm;
use crate::eqprop::readout::ReadoutGradient;
use crate::eqprop::sample_mask::{SampleMask, valid_samples};
use crate::error::{ModelError, require_shape};
use crate::scalar::Scalar;

/// The gradient of a cost by equilibrium propagation.
///
/// `free` is the equilibrium `s*` of `relaxation`; `forces` hold `dC/ds` there. A nudged phase
/// relaxes the deviation `d = s - s*`, from the response of the nudged layers; the two phases of a
/// centred nudge run side by side as one batch. The dynamics are those of the network, in terms of
/// what changes,
///
/// ```text
/// d_k = g_k( c_k ( a_k* + e_k ) ) - g_k( c_k a_k* )
/// e_k = sum_l W_kl d_l + R_k d_k - beta delta_k
/// ```
///
/// where `a_k*` is the input of layer `k` at `s*`. So no digits are lost to a small nudge, or to
/// layers that weaken it on its way, and the residual of the free phase is not divided by `beta`.
/// The residual that [`Nudge::rule`] stops at is relative to `d`, each layer divided by its gain.
/// No automatic differentiation is involved and memory does not grow with the number of sweeps. On
/// a [`Substrate`](crate::Substrate) that asks for it the states themselves are relaxed instead.
///
/// # Errors
///
/// [`ModelError::Setting`] for a size of the nudge that is not positive and finite,
/// [`ModelError::Shape`] for a force or an equilibrium that does not fit, [`ModelError::Network`]
/// for a force on a layer that does not relax, [`ModelError::NotFinite`] for forces that are not
/// finite, [`ModelError::Solver`] for a damping out of range. With
/// [`ReadPolicy::Deferred`](crate::ReadPolicy::Deferred) nothing is read: a force that is not
/// finite makes `beta`, and with it the whole gradient, NaN.
pub fn gradient(
    relaxation: &Relaxation<'_>,
    free: &Equilibrium,
    forces: &[Force],
    nudge: &Nudge,
) -> Result<EpGradient, ModelError> {
    estimate(relaxation, free, Cost::Forces(forces), nudge, |norm| nudge.size.beta(norm))
}

/// The gradient of the cost of a [`Readout`] by equilibrium propagation; otherwise as [`gradient`].
///
/// # Errors
///
/// As [`gradient`], with the readout's error in place of a force; [`ModelError::Network`] for a
/// readout of a layer without a coupling.
pub fn readout_gradient(
    relaxation: &Relaxation<'_>,
    free: &Equilibrium,
    readout: &Readout,
    nudge: &Nudge,
) -> Result<EpGradient, ModelError> {
    estimate(relaxation, free, Cost::Readout(readout), nudge, |norm| nudge.size.beta(norm))
}

/// The gradient of a cost, where `beta` gives the strength of the nudge for the norm of its forces.
pub(crate) fn estimate(
    relaxation: &Relaxation<'_>,
    free: &Equilibrium,
    cost: Cost<'_>,
    nudge: &Nudge,
    beta: impl FnOnce(Option<NudgeNorm>) -> Result<Scalar, ModelError>,
) -> Result<EpGradient, ModelError> {
    let network = relaxation.network();
    check(relaxation, free, cost)?;
    nudge.size.check()?;
    let free_state = relaxation.free_state(free);
    let device = free_state.component(0).device();
    let mask = |phases: &[_]| SampleMask::new(&valid_samples(nudge.unconverged, phases), &device);
    let settled = mask(&[&free.outcomes]);
    let readout = match cost {
        Cost::Forces(_) => None,
        Cost::Readout(readout) => Some(ReadoutGradient::new(network, readout, &settled)),
    };
    let forces: Vec<Force> = match (cost, &readout) {
        (Cost::Forces(forces), _) => {
            forces.iter().map(|f| Force { force: settled.apply(f.force.clone()), ..*f }).collect()
        }
        (_, readout) => readout.iter().flat_map(|r| r.forces(relaxation)).collect(),
    };
    let beta = beta(NudgeNorm::of(network, &forces, settled.count()))?;
    let Displacement { sum, difference, outcomes } =
        Displacement::by(&forces, &beta, relaxation, &free_state, nudge)?;
    let converged = mask(&[&free.outcomes, &outcomes]);
    let moved = sum.into_components().into_iter().zip(difference.into_components());
    let moved = relaxation.free_layers().iter().zip(moved);
    let moved = moved.map(|(layer, (sum, difference))| Moved { layer, sum, difference });
    let spread = nudge.nudging.spread();
    let difference = Difference::new(&free.states, moved, &converged, beta, spread);
    let result = EpGradient::new(network, difference, outcomes);
    Ok(match readout {
        Some(readout) => readout.add_direct_terms(result, relaxation, free, &converged),
        None => result,
    })
}

/// Refuses a cost or an equilibrium that does not belong to `relaxation`.
fn check(
    relaxation: &Relaxation<'_>,
    free: &Equilibrium,
    cost: Cost<'_>,
) -> Result<(), ModelError> {
    let network = relaxation.network();
    let rows = relaxation.batch();
    for k in relaxation.free_layers().iter() {
        let name = network.name(k);
        let state = free.states.get(k).ok_or_else(|| {
            ModelError::Network(format!("the equilibrium has no state of layer {name}"))
        })?;
        let expected = [rows, network.spec(k).size()];
        require_shape(format!("the equilibrium of layer {name}"), state, expected)?;
    }
    if free.outcomes.len() != rows {
        let text =
            format!("an equilibrium with {} outcomes for {rows} samples", free.outcomes.len());
        return Err(ModelError::Network(text));
    }
    match cost {
        Cost::Forces(forces) => {
            for Force { layer, force } in forces {
                relaxation.require_force(*layer, force)?;
            }
        }
        Cost::Readout(Readout { layer, error }) => {
            let name = network.name(*layer);
            if !network.couplings.iter().any(|c| c.touches(*layer)) {
                let text = format!("a readout of layer {layer} ({name}), which has no coupling");
                return Err(ModelError::Network(text));
            }
            let expected = [rows, network.spec(*layer).size()];
            require_shape(format!("the error of layer {name}"), error, expected)?;
        }
    }
    Ok(())
}
