//! A phase: free layers relax to equilibrium while others are clamped.

use burn::tensor::{Int, Tensor};
use hvae_device::HostValues;
use hvae_solver::{
    BlockMap, Damped, FixedPointMap, Outcome, Solution, State, StoppingRule, Sweep, solve_in_parts,
};

use crate::dynamics::drive::Drive;
use crate::dynamics::in_place::{Input, RowLayer, RowSweeps, Start};
use crate::dynamics::substrate::{Exact, NudgedPhase, Phase, PhaseId, Site, Substrate};
use crate::dynamics::wiring::Wiring;
use crate::energy::{HopfieldNetwork, LayerId, LayerSpec, PerLayer};
use crate::error::{ModelError, require_shape};

/// Samples of a part of a batch in host memory.
const PART: usize = 32;

/// What a layer does during a phase.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "a phase has a handful of roles")]
pub enum Role {
    /// Held at these states, `[batch, n]`.
    Clamped(Tensor<2>),
    /// Relaxes to equilibrium.
    Free,
    /// Takes no part, as if the network did not have it.
    Absent,
}

/// The dynamics of the free layers of a network, given the clamped ones.
///
/// The clamped layers enter once, as the constant drive `b_k + sum_l W_kl s_l`; a sweep then costs
/// only the couplings among free layers. Free layers without a coupling among them form a block and
/// are updated together; in a chain these are its even and its odd layers.
///
/// As a map of the solver its state has one component for each free layer, in the order of the
/// layers.
#[derive(Debug, Clone)]
pub struct Relaxation<'n> {
    pub(crate) wiring: Wiring<'n>,
    pub(crate) substrate: &'n dyn Substrate,
    phase: PhaseId,
    clamped: PerLayer<Tensor<2>>,
    /// The layers that relax, in the order of the components.
    pub(crate) free: Vec<LayerId>,
    drive: PerLayer<Drive>,
    blocks: Vec<Vec<usize>>,
    /// The local slopes `c_k g_k'` about which the dynamics are linearised, see
    /// [`Self::loop_gain`].
    slopes: Option<PerLayer<Tensor<2>>>,
}

/// An equilibrium, or the best state that the solver found.
#[derive(Debug, Clone)]
pub struct Equilibrium {
    /// The state of every layer that takes part, `[batch, n_k]`.
    pub states: PerLayer<Tensor<2>>,
    /// How each sample ended.
    pub outcomes: Vec<Outcome>,
    /// The inputs `a_k` that the states of the free layers are the images of, if they are known.
    pub(crate) inputs: Option<PerLayer<Tensor<2>>>,
}

impl Equilibrium {
    /// The state of layer `k`, `[batch, n_k]`.
    ///
    /// # Panics
    ///
    /// When the layer was absent from the phase.
    pub fn state(&self, k: LayerId) -> Tensor<2> {
        self.states[k].clone()
    }
}

impl<'n> Relaxation<'n> {
    /// The dynamics of `network` when its layers play these roles, in exact arithmetic.
    ///
    /// # Errors
    ///
    /// When no layer is free or none is clamped, a clamped state does not fit its layer, or batches
    /// differ.
    pub fn new(network: &'n HopfieldNetwork, roles: Vec<Role>) -> Result<Self, ModelError> {
        Self::on(&Exact, PhaseId::default(), network, roles)
    }

    /// The same dynamics as `substrate` carries them out in the phase `phase`.
    ///
    /// # Errors
    ///
    /// As [`Self::new`].
    pub fn on(
        substrate: &'n dyn Substrate,
        phase: PhaseId,
        network: &'n HopfieldNetwork,
        roles: Vec<Role>,
    ) -> Result<Self, ModelError> {
        let layers = network.layers.len();
        if roles.len() != layers {
            let text = format!("{} roles for {layers} layers", roles.len());
            return Err(ModelError::Network(text));
        }
        let (mut clamped, mut free) = (PerLayer::empty(layers), Vec::new());
        for (k, role) in network.ids().zip(roles) {
            match role {
                Role::Clamped(state) => _ = clamped.set(k, state),
                Role::Free => free.push(k),
                Role::Absent => {}
            }
        }
        let batch = check_clamped(network, &clamped)?;
        if free.is_empty() {
            return Err(ModelError::Network("a phase needs a free layer".to_owned()));
        }
        let wiring = Wiring::new(network, substrate, phase);
        let mut drive = PerLayer::empty(layers);
        for &k in &free {
            drive.set(k, Drive::new(wiring.input(k, |l| clamped.get(l), batch)));
        }
        let blocks = colour(network, &free, &clamped);
        Ok(Self { wiring, substrate, phase, clamped, free, drive, blocks, slopes: None })
    }

    /// `copies` of these dynamics side by side, as one batch, with `push` (`[copies batch, n_k]`)
    /// subtracted from the inputs of the pushed layers.
    pub(crate) fn pushed(mut self, push: &PerLayer<Tensor<2>>, copies: usize) -> Self {
        self.drive = self.drive.map(|k, drive| {
            let drive = repeat(drive.tensor(), copies);
            Drive::new(match push.get(k) {
                Some(push) => drive - push.clone(),
                None => drive,
            })
        });
        self.phase.phase = Phase::Nudged;
        self
    }

    /// The default start of a phase: every free layer as if no other free layer were active,
    /// `g(c * drive)`.
    pub fn guess(&self) -> State {
        self.gather(|k| self.drive[k].activate(None, self.spec(k)))
    }

    /// Relaxes from `start`, a component `[batch, n_k]` for each free layer, by block sweeps,
    /// damped by `damping` (0 is undamped; needed only for couplings within a layer).
    ///
    /// # Errors
    ///
    /// When `start` is not a state of the free layers, or `damping` is out of range.
    pub fn relax(
        &self,
        start: State,
        damping: f64,
        rule: &StoppingRule,
    ) -> Result<Solution, ModelError> {
        self.require_state(&start)?;
        Ok(self.settle(Some(start), damping, &self.substrate.stopping(*rule))?.0)
    }

    /// [`Self::relax`], by default from [`Self::guess`]; and the inputs that the states are the
    /// images of, if they are known.
    fn settle(
        &self,
        start: Option<State>,
        damping: f64,
        rule: &StoppingRule,
    ) -> Result<(Solution, Option<PerLayer<Tensor<2>>>), ModelError> {
        let (sweep, method) = (Sweep(self.clone()), Damped::new(damping)?);
        self.wiring.pack(&self.free);
        let (mut solution, inputs) = match self.in_place(start.as_ref(), damping, rule) {
            Some((sweeps, start)) => {
                let (solution, inputs) = sweeps.solve(&start, self.batch(), rule);
                (solution, inputs.map(|inputs| self.per_free_layer(inputs)))
            }
            None => {
                let start = start.unwrap_or_else(|| self.guess());
                (solve_in_parts(sweep, start, &method, rule, self.part_size())?, None)
            }
        };
        let mut last = solution.iterations;
        if let NudgedPhase::States { average_last } = self.substrate.nudged_phase() {
            let more = average_last.saturating_sub(1);
            solution.state = self.average(solution.state, damping, last, more);
            last += more;
        }
        let mut layers = self.free.iter();
        solution.state = solution.state.map(|state| {
            let layer = *layers.next().expect("a component for each free layer");
            self.substrate.read_out(state, Site { phase: self.phase, layer, sweep: last })
        });
        Ok((solution, inputs))
    }

    fn per_free_layer<T>(&self, components: Vec<T>) -> PerLayer<T> {
        let mut values = PerLayer::empty(self.network().layers.len());
        for (&k, value) in self.free.iter().zip(components) {
            values.set(k, value);
        }
        values
    }

    /// The sweeps of this phase in host memory, and where they start, where it is there and asks for
    /// nothing else.
    fn in_place(
        &self,
        start: Option<&State>,
        damping: f64,
        rule: &StoppingRule,
    ) -> Option<(RowSweeps<'_>, Start)> {
        if self.substrate.is_noisy() || damping > 0.0 || rule.traces() {
            return None;
        }
        let start = match start {
            Some(state) => {
                let values: Option<_> = state.components().iter().map(HostValues::of).collect();
                Start::From(values?)
            }
            None => Start::Images([(0..self.free.len()).collect(), Vec::new()]),
        };
        let drive = |k: LayerId| Some(Input { drive: Some(self.drive[k].host()?), base: None });
        Some((self.row_sweeps(&Sweep(self.clone()), drive)?, start))
    }

    /// The sweeps of `map`, of which the free layers with these inputs are the components, in place;
    /// `None` outside of host memory.
    pub(crate) fn row_sweeps<M: BlockMap>(
        &self,
        map: &Sweep<M>,
        input: impl Fn(LayerId) -> Option<Input>,
    ) -> Option<RowSweeps<'_>> {
        let measured = map.measured(self.free.len());
        let layer = |(component, &k): (usize, &LayerId)| {
            Some(RowLayer {
                spec: self.spec(k),
                input: input(k)?,
                signals: self.wiring.packed_signals(k, |l| self.component(l))?,
                weight: map.0.weight(component) as f32,
                is_measured: measured.contains(&component),
            })
        };
        let layers: Option<_> = self.free.iter().enumerate().map(layer).collect();
        let order = map.0.blocks().iter().flatten().copied().collect();
        Some(RowSweeps { layers: layers?, order })
    }

    /// How many samples are relaxed together on one thread: in host memory few enough for their
    /// states to stay in a core's cache; 0, the whole batch, elsewhere and under noise, which is
    /// drawn for all.
    pub(crate) fn part_size(&self) -> usize {
        let exact = self.substrate.nudged_phase() == NudgedPhase::Deviation;
        if exact && self.drive.iter().all(|(_, drive)| drive.host().is_some()) { PART } else { 0 }
    }

    /// The mean of `state`, which `done` sweeps have led to, and of `more` states that follow it.
    fn average(&self, state: State, damping: f64, done: usize, more: usize) -> State {
        if more == 0 {
            return state;
        }
        let sweep = Sweep(self.clone());
        let (mut current, mut sum) = (state.clone(), state);
        for iteration in done..done + more {
            let image = sweep.apply(&current, iteration);
            current = current
                .zip(image, |old, new| old.mul_scalar(damping) + new.mul_scalar(1.0 - damping));
            sum = sum.zip(current.clone(), |a, b| a + b);
        }
        sum.map(|s| s.div_scalar((more + 1) as f64))
    }

    /// The free equilibrium from [`Self::guess`], damped by `damping`.
    ///
    /// # Errors
    ///
    /// When `damping` is out of range.
    pub fn free_equilibrium(
        &self,
        damping: f64,
        rule: &StoppingRule,
    ) -> Result<Equilibrium, ModelError> {
        let rule = self.substrate.stopping(*rule);
        let (solution, inputs) = self.settle(None, damping, &rule)?;
        Ok(Equilibrium { inputs, ..self.equilibrium(solution.state, solution.outcomes) })
    }

    pub(crate) fn equilibrium(&self, free: State, outcomes: Vec<Outcome>) -> Equilibrium {
        let mut states = self.clamped.clone();
        for (&k, state) in self.free.iter().zip(free.into_components()) {
            states.set(k, state);
        }
        Equilibrium { states, outcomes, inputs: None }
    }

    /// The gain of one linearised sweep about `state`, for every sample, `[batch]`.
    ///
    /// The largest eigenvalue in modulus of the product of the block Jacobians, by `iterations`
    /// steps (at least one) of power iteration. Where it is below 1, undamped sweeps converge
    /// locally, by that factor a sweep.
    ///
    /// # Errors
    ///
    /// When `state` is not one of the free layers.
    pub fn loop_gain(&self, state: &State, iterations: usize) -> Result<Tensor<1>, ModelError> {
        let linear = Sweep(self.linearised(state)?);
        let measured = linear.measured(state.components().len());
        let norm = |s: &State| {
            let squares = measured.iter().map(|&c| s.component(c).clone().square().sum_dim(1));
            squares.reduce(|a, b| a + b).expect("a sweep carries a component").sqrt()
        };
        let mut vector = state.map(|s| s.ones_like());
        let mut gain = norm(&vector);
        for iteration in 0..iterations.max(1) {
            let length = norm(&vector).clamp_min(f32::MIN_POSITIVE);
            vector = linear.apply(&vector.map(|v| v / length.clone()), iteration);
            gain = norm(&vector);
        }
        Ok(gain.squeeze_dim(1))
    }

    /// The dynamics linearised about `state`, as a map of changes to changes.
    fn linearised(&self, state: &State) -> Result<Self, ModelError> {
        self.require_state(state)?;
        let mut slopes = PerLayer::empty(self.network().layers.len());
        for (&k, s) in self.free.iter().zip(state.components()) {
            let spec = self.spec(k);
            slopes.set(k, spec.activation.slope(s.clone()).mul_scalar(spec.gain));
        }
        Ok(Self { slopes: Some(slopes), ..self.clone() })
    }

    /// The network.
    pub fn network(&self) -> &'n HopfieldNetwork {
        self.wiring.network
    }

    /// The state of layer `k` within that of all free layers; `None` if the layer does not relax.
    pub fn layer_state<'s>(&self, state: &'s State, k: LayerId) -> Option<&'s Tensor<2>> {
        self.component(k).map(|component| state.component(component))
    }

    /// Which component of a state layer `k` is.
    pub(crate) fn component(&self, k: LayerId) -> Option<usize> {
        self.free.binary_search(&k).ok()
    }

    /// A state of the free layers.
    pub(crate) fn gather(&self, of: impl FnMut(LayerId) -> Tensor<2>) -> State {
        let components = self.free.iter().copied().map(of).collect();
        State::new(components).expect("all layers have one batch size")
    }

    /// The states of the free layers at an equilibrium of these dynamics.
    pub(crate) fn free_state(&self, equilibrium: &Equilibrium) -> State {
        self.gather(|k| equilibrium.state(k))
    }

    pub(crate) fn batch(&self) -> usize {
        self.drive[self.free[0]].tensor().dims()[0]
    }

    fn require_state(&self, state: &State) -> Result<(), ModelError> {
        let (found, expected) = (state.components().len(), self.free.len());
        if found != expected {
            let text = format!("a state of {found} components for {expected} free layers");
            return Err(ModelError::Network(text));
        }
        let mut states = self.free.iter().zip(state.components());
        states.try_for_each(|(&k, component)| self.require_fit("the state of", k, component))
    }

    /// Refuses what is not `[batch, n_k]`.
    pub(crate) fn require_fit(
        &self,
        what: &str,
        k: LayerId,
        tensor: &Tensor<2>,
    ) -> Result<(), ModelError> {
        let LayerSpec { name, shape, .. } = self.spec(k);
        require_shape(format!("{what} layer {name}"), tensor, [self.batch(), shape.size()])
    }

    pub(crate) fn require_force(&self, k: LayerId, force: &Tensor<2>) -> Result<(), ModelError> {
        if !self.free.contains(&k) {
            let name = self.network().name(k);
            let text = format!("a force on layer {k} ({name}), which does not relax");
            return Err(ModelError::Network(text));
        }
        self.require_fit("the force on", k, force)
    }

    /// `a_k = b_k + sum_l W_kl s_l + R_k s_k` of each free layer, all layers included, where the
    /// free ones have the states `free`.
    pub(crate) fn inputs(&self, free: &State) -> PerLayer<Tensor<2>> {
        self.drive.map(|k, drive| match self.field(k, free) {
            Some(field) => field + drive.tensor(),
            None => drive.tensor(),
        })
    }

    /// What layer `k` receives from the free layers, `sum_l W_kl s_l + R_k s_k`; `None` if it is
    /// coupled with none of them.
    pub(crate) fn field(&self, k: LayerId, free: &State) -> Option<Tensor<2>> {
        self.wiring.field(k, |l| self.layer_state(free, l))
    }

    fn spec(&self, k: LayerId) -> &'n LayerSpec {
        self.network().spec(k)
    }
}

impl BlockMap for Relaxation<'_> {
    fn blocks(&self) -> &[Vec<usize>] {
        &self.blocks
    }

    fn update(&self, component: usize, state: &State, iteration: usize) -> Tensor<2> {
        let k = self.free[component];
        let field = self.field(k, state);
        if let Some(slopes) = &self.slopes {
            let slope = slopes[k].clone();
            return field.map_or_else(|| slope.zeros_like(), |f| f * slope.clone());
        }
        let site = Site { phase: self.phase, layer: k, sweep: iteration + 1 };
        let noise = self.substrate.noise(state.component(component), site);
        let noise = noise.map(|noise| noise.div_scalar(self.spec(k).gain));
        self.drive[k].activate(field.into_iter().chain(noise).reduce(|a, b| a + b), self.spec(k))
    }

    fn select(&self, rows: &Tensor<1, Int>) -> Self {
        let pick = |t: &Tensor<2>| t.clone().select(0, rows.clone());
        Self {
            drive: self.drive.map(|_, d| d.select(rows)),
            slopes: self.slopes.as_ref().map(|s| s.map(|_, s| pick(s))),
            ..self.clone()
        }
    }

    fn is_self_coupled(&self, component: usize) -> bool {
        let k = self.free[component];
        self.network().are_coupled(k, k)
    }
}

pub(crate) fn repeat(tensor: Tensor<2>, copies: usize) -> Tensor<2> {
    if copies == 1 { tensor } else { Tensor::cat(vec![tensor; copies], 0) }
}

/// The common batch size of the clamped states.
fn check_clamped(
    network: &HopfieldNetwork,
    clamped: &PerLayer<Tensor<2>>,
) -> Result<usize, ModelError> {
    let mut batch = None;
    for (k, state) in clamped.iter() {
        let rows = *batch.get_or_insert(state.dims()[0]);
        let spec = network.spec(k);
        let what = format!("the clamped state of layer {}", spec.name);
        require_shape(what, state, [rows, spec.size()])?;
    }
    batch.ok_or_else(|| ModelError::Network("a phase needs a clamped layer".to_owned()))
}

/// Groups the free layers, given by their components, so that no two of a group are coupled: each
/// joins the first group without a neighbour of it. A sweep never reads, and a check never measures,
/// the old states of the group that comes first: one with neighbours of clamped layers, because
/// the guess of the others is the same for all samples, and of these the one with the most units.
fn colour(
    network: &HopfieldNetwork,
    free: &[LayerId],
    clamped: &PerLayer<Tensor<2>>,
) -> Vec<Vec<usize>> {
    let mut blocks: Vec<Vec<usize>> = Vec::new();
    for (component, &k) in free.iter().enumerate() {
        let apart = |block: &&mut Vec<usize>| {
            block.iter().all(|&other| !network.are_coupled(free[other], k))
        };
        match blocks.iter_mut().find(apart) {
            Some(block) => block.push(component),
            None => blocks.push(vec![component]),
        }
    }
    let units =
        |block: &Vec<usize>| block.iter().map(|&c| network.spec(free[c]).size()).sum::<usize>();
    let is_driven = |&c: &usize| clamped.iter().any(|(k, _)| network.are_coupled(free[c], k));
    let driven = |block: &Vec<usize>| block.iter().any(is_driven);
    blocks.sort_by_key(|block| std::cmp::Reverse((driven(block), units(block))));
    blocks
}
