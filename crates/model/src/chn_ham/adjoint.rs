//! The adjoint of a HAM's equilibrium, as a second fixed point.

use burn::tensor::{Int, Tensor};
use hvae_solver::{FixedPointMap, State};

use crate::chn_ham::{couplings::Couplings, dynamics::Dynamics, network::slope};

/// The linear map `lambda -> e + J' lambda` at a state, where `J` is the Jacobian of the
/// synchronous `f` and `e` the gradient of the loss in the last layer.
///
/// With slopes `d = rho'(s)` and the symmetric couplings `W`, `J' lambda` is `d W lambda`. An
/// iteration is a sweep over the odd and then the even layers; the state is that of the even layers.
#[derive(Debug, Clone)]
pub(super) struct Adjoint {
    couplings: Couplings,
    /// `d`, per layer.
    slopes: Vec<Tensor<2>>,
    /// `e`.
    error: Tensor<2>,
}

impl Adjoint {
    /// `activities` are `rho(s)` of the layers.
    pub(super) fn new(dynamics: &Dynamics<'_>, activities: &[Tensor<2>], error: Tensor<2>) -> Self {
        let slopes = activities.iter().map(slope).collect();
        Self { couplings: dynamics.couplings.clone(), slopes, error }
    }

    /// Where to start: `e` and zeros.
    pub(super) fn start(&self) -> State {
        let last = self.depth() - 1;
        let at =
            |k: usize| if k == last { self.error.clone() } else { self.slopes[k].zeros_like() };
        State::new((1..=last).step_by(2).map(at).collect()).expect("all layers have one batch size")
    }

    /// `lambda` of all layers, from a state of this map.
    pub(super) fn layers(&self, state: &State) -> Vec<Tensor<2>> {
        let odd = self.half(&self.spread(state), 0);
        let mut even = state.components().iter().cloned();
        odd.into_iter().filter_map(|l| l.or_else(|| even.next())).collect()
    }

    fn depth(&self) -> usize {
        self.slopes.len()
    }

    /// The even layers at their places.
    fn spread(&self, state: &State) -> Vec<Option<Tensor<2>>> {
        let mut even = state.components().iter().cloned();
        (0..self.depth()).map(|k| if k % 2 == 1 { even.next() } else { None }).collect()
    }

    /// `e + d W lambda` on every second layer, from `first`.
    fn half(&self, lambda: &[Option<Tensor<2>>], first: usize) -> Vec<Option<Tensor<2>>> {
        let layer = |k: usize| {
            let field = self.couplings.field(k, lambda).expect("every layer has a neighbour");
            let own = field * self.slopes[k].clone();
            if k + 1 == self.depth() { own + self.error.clone() } else { own }
        };
        (0..self.depth()).map(|k| (k % 2 == first).then(|| layer(k))).collect()
    }
}

impl FixedPointMap for Adjoint {
    fn apply(&self, state: &State, _iteration: usize) -> State {
        let odd = self.half(&self.spread(state), 0);
        let even = self.half(&odd, 1).into_iter().flatten().collect();
        State::new(even).expect("updates keep the batch")
    }

    fn select(&self, rows: &Tensor<1, Int>) -> Self {
        let pick = |t: &Tensor<2>| t.clone().select(0, rows.clone());
        Self {
            couplings: self.couplings.clone(),
            slopes: self.slopes.iter().map(pick).collect(),
            error: pick(&self.error),
        }
    }
}
