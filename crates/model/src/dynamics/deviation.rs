//! A nudged phase as the deviation from the free equilibrium.

use burn::tensor::{Int, Tensor};
use hvae_device::HostValues;
use hvae_solver::{BlockMap, Damped, Solution, State, StoppingRule, Sweep, solve_in_parts};

use crate::dynamics::drive::Drive;
use crate::dynamics::in_place::{Input, RowSweeps, Start};
use crate::dynamics::relaxation::{Relaxation, repeat};
use crate::energy::{LayerId, LayerSpec, PerLayer};
use crate::error::ModelError;

/// The dynamics of the deviations `d_k = s_k - s_k*` of the free layers of a phase from their
/// equilibrium `s*`, where they have the input `a_k*`:
///
/// ```text
/// d_k = g_k( c_k ( a_k* + e_k ) ) - g_k( c_k a_k* ),      e_k = sum_l W_kl d_l + R_k d_k - push_k
/// ```
///
/// In exact arithmetic `s* + d` is the equilibrium under the nudge. In floating point it is better
/// than the difference of two equilibria: a nudge that reaches a layer through others is weakened
/// by all gains on its way, and may be smaller than the last bit of a state. Deviations keep their
/// relative accuracy however small they are, because [`increment`](crate::Activation::increment)
/// takes no difference of nearby numbers, and the residual of the free phase does not enter them.
///
/// Residuals measure `d_k / c_k`, which evens out the gains, but not the slopes, that weaken the
/// nudge on its way to layers far from it.
#[derive(Debug, Clone)]
struct Deviation<'p, 'n> {
    phase: &'p Relaxation<'n>,
    /// `a_k*` of each free layer.
    input: PerLayer<Drive>,
    push: PerLayer<Tensor<2>>,
    /// Those of the phase, the pushed ones last: their response is where a phase starts, and that
    /// of the others to it comes next.
    blocks: Vec<Vec<usize>>,
}

/// How far `push` takes the free layers of `phase` from an equilibrium where they have these inputs:
/// `[copies batch, n_k]` for each pushed layer, of `copies` nudges as one batch, as are the
/// deviations.
pub(crate) fn relax(
    phase: &Relaxation<'_>,
    input: &PerLayer<Tensor<2>>,
    push: PerLayer<Tensor<2>>,
    copies: usize,
    damping: f64,
    rule: &StoppingRule,
) -> Result<Solution, ModelError> {
    let input = input.map(|_, a| Drive::new(repeat(a.clone(), copies)));
    let mut blocks = phase.blocks().to_vec();
    let is_pushed = |&c: &usize| push.get(phase.free[c]).is_some();
    blocks.sort_by_key(|block| block.iter().any(is_pushed));
    phase.wiring.pack(&phase.free);
    let deviation = Deviation { phase, input, push, blocks };
    let fronts = deviation.fronts();
    // A sweep passes a response on through two layers.
    let rule = rule.with_min_iterations(fronts.len().div_ceil(2).max(1))?;
    if let Some(sweeps) = deviation.in_place(damping, &rule) {
        let start = Start::Images(deviation.responses(&fronts));
        return Ok(sweeps.solve(&start, copies * phase.batch(), &rule).0);
    }
    let (start, method) = (deviation.start(&fronts), Damped::new(damping)?);
    Ok(solve_in_parts(Sweep(deviation), start, &method, &rule, phase.part_size())?)
}

impl Deviation<'_, '_> {
    /// The sweeps in host memory, where the phase is there and asks for nothing else.
    fn in_place(&self, damping: f64, rule: &StoppingRule) -> Option<RowSweeps<'_>> {
        let input = |k: LayerId| {
            let push = self.push.get(k).map(|push| HostValues::take(push.clone().neg()));
            let drive = match push {
                Some(push) => Some(push?),
                None => None,
            };
            Some(Input { drive, base: Some(self.input[k].host()?) })
        };
        let plain = damping == 0.0 && !rule.traces();
        if plain { self.phase.row_sweeps(&Sweep(self.clone()), input) } else { None }
    }

    /// The layers that are not pushed, grouped by their distance from a pushed one in couplings.
    fn fronts(&self) -> Vec<Vec<LayerId>> {
        let (mut last, mut rest): (Vec<LayerId>, Vec<LayerId>) =
            self.phase.free.iter().copied().partition(|&k| self.push.get(k).is_some());
        let network = self.phase.network();
        let mut fronts = Vec::new();
        while !last.is_empty() && !rest.is_empty() {
            let near = |&k: &LayerId| last.iter().any(|&other| network.are_coupled(k, other));
            (last, rest) = rest.into_iter().partition(near);
            fronts.push(last.clone());
        }
        fronts
    }

    /// The components that respond to their push alone and, in turn, those that respond to others
    /// before a first sweep; see [`Self::start`].
    fn responses(&self, fronts: &[Vec<LayerId>]) -> [Vec<usize>; 2] {
        let component = |k: &LayerId| self.phase.component(*k).expect("the layer relaxes");
        let pushed = self.push.iter().map(|(k, _)| component(&k));
        let later = fronts.iter().flatten().filter(|_| fronts.len() > 1).map(component);
        [pushed.collect(), later.collect()]
    }

    /// The response of every pushed layer to its push, and of every other layer to those nearer to
    /// one. From zeros a sample could converge before the nudge has reached the layers far from it,
    /// whose part in the residual is small, and these would have no gradient.
    fn start(&self, fronts: &[Vec<LayerId>]) -> State {
        let mut state = self.phase.gather(|k| self.response(k, None));
        // A first sweep begins with the layers next to the pushed ones anyway.
        if fronts.len() > 1 {
            for &k in fronts.iter().flatten() {
                let response = self.response(k, self.phase.field(k, &state));
                let component = self.phase.component(k).expect("the layer relaxes");
                state.replace(component, response).expect("an update keeps the shape");
            }
        }
        state
    }

    /// `d_k` of a layer that receives `field` from the deviations of others.
    fn response(&self, k: LayerId, field: Option<Tensor<2>>) -> Tensor<2> {
        let change = match (field, self.push.get(k).cloned()) {
            (Some(field), Some(push)) => field - push,
            (Some(field), None) => field,
            (None, Some(push)) => push.neg(),
            (None, None) => return self.input[k].tensor().zeros_like(),
        };
        self.input[k].increment(change, self.spec(k))
    }

    fn spec(&self, k: LayerId) -> &LayerSpec {
        self.phase.network().spec(k)
    }
}

impl BlockMap for Deviation<'_, '_> {
    fn blocks(&self) -> &[Vec<usize>] {
        &self.blocks
    }

    fn update(&self, component: usize, state: &State, _iteration: usize) -> Tensor<2> {
        let k = self.phase.free[component];
        self.response(k, self.phase.field(k, state))
    }

    fn select(&self, rows: &Tensor<1, Int>) -> Self {
        Self {
            phase: self.phase,
            input: self.input.map(|_, d| d.select(rows)),
            push: self.push.map(|_, push| push.clone().select(0, rows.clone())),
            blocks: self.blocks.clone(),
        }
    }

    fn is_self_coupled(&self, component: usize) -> bool {
        self.phase.is_self_coupled(component)
    }

    fn weight(&self, component: usize) -> f64 {
        let gain = |k: &LayerId| self.spec(*k).gain;
        let free = &self.phase.free;
        free.iter().map(gain).fold(0.0, f64::max) / gain(&free[component])
    }
}
