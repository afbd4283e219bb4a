//! The adjoint of an equilibrium, as a fixed point of its own.

use burn::tensor::{Int, Tensor};
use hvae_solver::{FixedPointMap, State};

use super::couplings::Couplings;
use super::dynamics::Dynamics;
use super::network::{Classifier, Form, STEEPNESS, slope};

/// The linear map `lambda -> e + J' lambda` at a state, where `J` is the Jacobian of the undamped
/// synchronous `f` and `e` the gradient of the loss in the last layer.
///
/// With slopes `d = rho'(s)` and the symmetric couplings `W`, `J' lambda` is `d W lambda` for a HAM, and
/// `d W (d lambda) + rho''(s) a(s) lambda` for a CHN. For a HAM a step is a sweep over the odd and then
/// the even layers, and the state is that of the even layers.
#[derive(Debug, Clone)]
pub(super) struct Adjoint<'n> {
    network: &'n Classifier,
    couplings: Couplings,
    /// `d`, per layer.
    slopes: Vec<Tensor<2>>,
    /// `rho''(s) a(s)` per layer of a CHN; empty for a HAM.
    curvature: Vec<Tensor<2>>,
    /// `e`.
    error: Tensor<2>,
}

impl<'n> Adjoint<'n> {
    /// At `states`, with `activities = rho(states)`.
    pub(super) fn new(dynamics: &Dynamics<'n>, activities: &[Tensor<2>], error: Tensor<2>) -> Self {
        let network = dynamics.network();
        let slopes: Vec<Tensor<2>> = activities.iter().map(slope).collect();
        let curvature = match network.form() {
            Form::Ham => Vec::new(),
            Form::Chn => {
                let r: Vec<_> = activities.iter().cloned().map(Some).collect();
                let each = activities.iter().zip(&slopes).enumerate().map(|(k, (a, d))| {
                    let bend = (-a.clone()).mul_scalar(2.0).add_scalar(1.0) * d.clone();
                    bend.mul_scalar(STEEPNESS) * dynamics.input(k, &r)
                });
                each.collect()
            }
        };
        Self { network, couplings: dynamics.couplings().clone(), slopes, curvature, error }
    }

    /// Where to start: `e` and zeros.
    pub(super) fn start(&self) -> State {
        let last = self.network.depth() - 1;
        let at =
            |k: usize| if k == last { self.error.clone() } else { self.slopes[k].zeros_like() };
        let layers = (0..=last).filter(|k| !self.is_reduced() || k % 2 == 1);
        State::new(layers.map(at).collect()).expect("all layers have one batch size")
    }

    /// `lambda` of all layers, from a state of this map.
    pub(super) fn layers(&self, state: &State) -> Vec<Tensor<2>> {
        if !self.is_reduced() {
            return state.components().to_vec();
        }
        let odd = self.half(&self.spread(state), 0);
        let mut even = state.components().iter().cloned();
        odd.into_iter().filter_map(|l| l.or_else(|| even.next())).collect()
    }

    fn is_reduced(&self) -> bool {
        self.network.form() == Form::Ham
    }

    /// The even layers at their places.
    fn spread(&self, state: &State) -> Vec<Option<Tensor<2>>> {
        let mut layers = vec![None; self.network.depth()];
        for (l, even) in layers.iter_mut().skip(1).step_by(2).zip(state.components()) {
            *l = Some(even.clone());
        }
        layers
    }

    /// `e + d W lambda` on every second layer, from `first`.
    fn half(&self, lambda: &[Option<Tensor<2>>], first: usize) -> Vec<Option<Tensor<2>>> {
        let depth = self.network.depth();
        let mut layers = vec![None; depth];
        for k in (first..depth).step_by(2) {
            let field = self.couplings.field(k, lambda).expect("every layer has a neighbour");
            layers[k] = Some(self.driven(k, field * self.slopes[k].clone()));
        }
        layers
    }

    fn driven(&self, k: usize, lambda: Tensor<2>) -> Tensor<2> {
        if k + 1 == self.network.depth() { lambda + self.error.clone() } else { lambda }
    }
}

impl FixedPointMap for Adjoint<'_> {
    fn apply(&self, state: &State) -> State {
        let layers: Vec<Tensor<2>> = if self.is_reduced() {
            let odd = self.half(&self.spread(state), 0);
            self.half(&odd, 1).into_iter().flatten().collect()
        } else {
            let sloped: Vec<_> = state
                .components()
                .iter()
                .zip(&self.slopes)
                .map(|(l, d)| Some(l.clone() * d.clone()))
                .collect();
            let each = state.components().iter().enumerate().map(|(k, l)| {
                let field = self.couplings.field(k, &sloped).expect("every layer has a neighbour");
                let own = l.clone() * self.curvature[k].clone();
                self.driven(k, field * self.slopes[k].clone() + own)
            });
            each.collect()
        };
        State::new(layers).expect("updates keep the batch")
    }

    fn select(&self, rows: &Tensor<1, Int>) -> Self {
        let pick = |t: &Tensor<2>| t.clone().select(0, rows.clone());
        Self {
            network: self.network,
            couplings: self.couplings.clone(),
            slopes: self.slopes.iter().map(pick).collect(),
            curvature: self.curvature.iter().map(pick).collect(),
            error: pick(&self.error),
        }
    }
}
