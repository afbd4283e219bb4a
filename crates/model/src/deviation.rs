//! Nudged phases as deviations from the free equilibrium.

use burn::tensor::{Int, Tensor};
use hvae_solver::{BlockMap, Damped, Solution, State, StoppingRule, Sweep, solve};

use crate::drive::Drive;
use crate::relax::Relaxation;
use crate::{LayerSpec, ModelError};

/// What a nudge does to a phase: the dynamics of `d_k = s_k - s_k*` of its free layers about their
/// equilibrium `s*`, where they have the drive `a_k*`:
///
/// ```text
/// d_k = g_k( c_k ( a_k* + e_k ) ) - g_k( c_k a_k* ),      e_k = sum_l W_kl d_l + R_k d_k - push_k
/// ```
///
/// In exact arithmetic `s* + d` is the equilibrium under the nudge. In floating point it is better than
/// that equilibrium less `s*`: a nudge reaches a layer behind others weakened by all gains between them,
/// and would be less there than the last bit of a state. Deviations keep their relative accuracy
/// however small they are, because [`increment`](crate::Activation::increment) takes no difference of
/// nearby numbers, and what the free phase still had to go is in none of them.
///
/// Residuals measure `d_k / c_k`, in which gains are evened out; what slopes take from layers far from the
/// nudge is not.
#[derive(Debug, Clone)]
struct Deviation<'p, 'n> {
    phase: &'p Relaxation<'n>,
    /// `a_k*` of each component.
    drive: Vec<Drive>,
    /// `push_k`, for layers that are pushed.
    push: Vec<Option<Tensor<2>>>,
    /// Those of the phase, the pushed ones last: their answer is where a phase starts, and the others'
    /// answer to it comes next.
    blocks: Vec<Vec<usize>>,
}

/// How far pushes take the free layers of `phase` from their equilibrium `free`. Each of `pushes` is a
/// layer with what pushes it in each of `nudges`, `[batch, n_k]` each; the deviations are those of all
/// nudges as one batch, `[nudges batch, n_k]`.
pub(crate) fn deviations(
    phase: &Relaxation<'_>,
    free: &State,
    pushes: &[(usize, Vec<Tensor<2>>)],
    nudges: usize,
    damping: f64,
    rule: &StoppingRule,
) -> Result<Solution, ModelError> {
    let copies = |a| if nudges == 1 { a } else { Tensor::cat(vec![a; nudges], 0) };
    let drive = phase.drives(free).into_iter().map(|a| Drive::Tensor(copies(a)).prepare());
    let mut push = vec![None; phase.free_layers().len()];
    for (layer, each) in pushes {
        let component = phase.component(*layer);
        let more = Tensor::cat(each.clone(), 0);
        push[component] = Some(match push[component].take() {
            Some(before) => before + more,
            None => more,
        });
    }
    let mut blocks = phase.blocks().to_vec();
    blocks.sort_by_key(|block| block.iter().any(|&k| push[k].is_some()));
    let deviation = Deviation { phase, drive: drive.collect(), push, blocks };
    let waves = deviation.waves();
    // What is a layer's answer to the one before it is passed on through two layers a sweep, and back.
    let rule = rule.with_min_iterations(waves.len().div_ceil(2).max(1))?;
    let start = deviation.start(&waves);
    Ok(solve(Sweep(deviation), start, &Damped::new(damping)?, &rule)?)
}

impl Deviation<'_, '_> {
    /// The layers that are not pushed, by how many couplings they are away from a pushed one.
    fn waves(&self) -> Vec<Vec<usize>> {
        let mut last: Vec<usize> =
            (0..self.push.len()).filter(|&k| self.push[k].is_some()).collect();
        let mut rest: Vec<usize> =
            (0..self.push.len()).filter(|&k| self.push[k].is_none()).collect();
        let mut waves = Vec::new();
        while !last.is_empty() && !rest.is_empty() {
            let near = |&k: &usize| last.iter().any(|&other| self.phase.are_coupled(k, other));
            (last, rest) = rest.into_iter().partition(near);
            waves.push(last.clone());
        }
        waves
    }

    /// The answer of every pushed layer to its own push, and of every other layer to those nearer to one:
    /// otherwise a sample could end before the nudge has come to the layers far from it, whose part in the
    /// residual is small, and these would have no gradient.
    fn start(&self, waves: &[Vec<usize>]) -> State {
        let answers = (0..self.drive.len()).map(|k| self.answer(k, None));
        let mut state = State::new(answers.collect()).expect("all drives have one batch size");
        // A first sweep begins with the layers next to the pushed ones anyway.
        if waves.len() > 1 {
            for &component in waves.iter().flatten() {
                let answer = self.update(component, &state, 0);
                state.replace(component, answer).expect("an update keeps the shape");
            }
        }
        state
    }

    /// `d_k` of a component whose layer feels `field`.
    fn answer(&self, component: usize, field: Option<Tensor<2>>) -> Tensor<2> {
        let change = match (field, self.push[component].clone()) {
            (Some(field), Some(push)) => field - push,
            (Some(field), None) => field,
            (None, Some(push)) => push.neg(),
            (None, None) => return self.drive[component].tensor().zeros_like(),
        };
        self.drive[component].increment(change, self.spec(component))
    }

    fn spec(&self, component: usize) -> &LayerSpec {
        self.phase.spec(component)
    }
}

impl BlockMap for Deviation<'_, '_> {
    fn blocks(&self) -> &[Vec<usize>] {
        &self.blocks
    }

    fn update(&self, component: usize, state: &State, _iteration: usize) -> Tensor<2> {
        self.answer(component, self.phase.field(component, state))
    }

    fn select(&self, rows: &Tensor<1, Int>) -> Self {
        let pick = |t: &Tensor<2>| t.clone().select(0, rows.clone());
        Self {
            phase: self.phase,
            drive: self.drive.iter().map(|d| d.select(rows)).collect(),
            push: self.push.iter().map(|p| p.as_ref().map(pick)).collect(),
            blocks: self.blocks.clone(),
        }
    }

    fn is_self_coupled(&self, component: usize) -> bool {
        self.phase.is_self_coupled(component)
    }

    fn weight(&self, component: usize) -> f64 {
        let gains = (0..self.drive.len()).map(|k| self.spec(k).gain);
        gains.fold(0.0, f64::max) / self.spec(component).gain
    }
}

/// The two halves of a batch.
pub(crate) fn halves(state: &State) -> [State; 2] {
    let half = state.batch() / 2;
    [0, half].map(|from| state.map(|s| s.narrow(0, from, half)))
}
