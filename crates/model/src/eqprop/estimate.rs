//! From a cost to its gradient by equilibrium propagation.

use crate::dynamics::{Equilibrium, Relaxation};
use crate::eqprop::cost::{Cost, Force, Readout};
use crate::eqprop::difference::Difference;
use crate::eqprop::displacement::displacement;
use crate::eqprop::gradient::EpGradient;
use crate::eqprop::nudge::{AllReduce, Nudge, Squares};
use crate::eqprop::readout::ReadoutGradient;
use crate::eqprop::sample_mask::{SampleMask, valid_samples};
use crate::error::ModelError;

/// The gradient of a cost by equilibrium propagation.
///
/// `free` is the equilibrium `s*` of `relaxation`; the cost holds `dC/ds` there. A nudged phase
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
/// When a setting is out of range, cost or equilibrium do not fit, a forced layer does not relax, a
/// layer that is read out has no coupling, or a force is not finite. With
/// [`ReadPolicy::Deferred`](crate::ReadPolicy::Deferred) nothing is read: such a force makes
/// `beta`, and with it the whole gradient, NaN.
pub fn gradient(
    relaxation: &Relaxation<'_>,
    free: &Equilibrium,
    cost: Cost<'_>,
    nudge: &Nudge,
) -> Result<EpGradient, ModelError> {
    estimate(relaxation, free, cost, nudge, None)
}

/// The gradient of a cost by one of `workers`, which share a nudging strength.
pub(crate) fn estimate(
    relaxation: &Relaxation<'_>,
    free: &Equilibrium,
    cost: Cost<'_>,
    nudge: &Nudge,
    workers: Option<&dyn AllReduce>,
) -> Result<EpGradient, ModelError> {
    let network = relaxation.network();
    check(relaxation, free, cost)?;
    nudge.size.check()?;
    let free_state = relaxation.free_state(free);
    let device = free_state.component(0).device();
    let mask = |phases: &[_]| SampleMask::new(&valid_samples(nudge.unconverged, phases), &device);
    let settled = mask(&[&free.outcomes]);
    let (readout, forces): (_, Vec<Force>) = match cost {
        Cost::Forces(forces) => {
            let settle = |f: &Force| Force { force: settled.apply(f.force.clone()), ..*f };
            (None, forces.iter().map(settle).collect())
        }
        Cost::Readout(readout) => {
            let readout = ReadoutGradient::new(relaxation, readout, &settled);
            let forces = readout.forces();
            (Some(readout), forces)
        }
    };
    let pushed = forces.iter().map(|f| (network.spec(f.layer).gain, &f.force));
    let norm = Squares::of(pushed, settled.count());
    let beta = nudge.size.beta(norm, workers)?;
    let (moved, outcomes) =
        displacement(&forces, &beta, relaxation, (&free_state, free.inputs.as_ref()), nudge)?;
    let converged = mask(&[&free.outcomes, &outcomes]);
    let (layers, spread) = (relaxation.free.iter().copied(), nudge.nudging.spread());
    let difference = Difference::new(&free.states, layers, moved, &converged, beta, spread);
    let result = EpGradient::new(network, difference, outcomes);
    Ok(match readout {
        Some(readout) => readout.add_direct_terms(result, free, &converged),
        None => result,
    })
}

fn check(
    relaxation: &Relaxation<'_>,
    free: &Equilibrium,
    cost: Cost<'_>,
) -> Result<(), ModelError> {
    let network = relaxation.network();
    let rows = relaxation.batch();
    for &k in &relaxation.free {
        let state = free.states.get(k).ok_or_else(|| {
            let name = network.name(k);
            ModelError::Network(format!("the equilibrium has no state of layer {name}"))
        })?;
        relaxation.require_fit("the equilibrium of", k, state)?;
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
            if !network.couplings.iter().any(|c| c.touches(*layer)) {
                let name = network.name(*layer);
                let text = format!("a readout of layer {layer} ({name}), which has no coupling");
                return Err(ModelError::Network(text));
            }
            relaxation.require_fit("the error of", *layer, error)?;
        }
    }
    Ok(())
}
