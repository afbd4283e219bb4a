//! Equilibria of a network with some of its layers clamped.

use burn::tensor::{Int, Tensor};
use hvae_solver::{BlockMap, Damped, Outcome, Solution, State, StoppingRule, Sweep, solve};

use crate::drive::Drive;
use crate::error::require_shape;
use crate::{HopfieldNetwork, LayerSpec, ModelError};

/// What a layer does during a phase.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "there are a handful of roles in a phase")]
pub enum Role {
    /// Held at these states, `[batch, n]`.
    Clamped(Tensor<2>),
    /// Relaxes to equilibrium.
    Free,
    /// Takes no part, as if it were not there.
    Absent,
}

/// The dynamics of the free layers of a network, given the clamped ones.
///
/// The clamped layers enter once, as the constant drive `b_k + sum_l W_kl s_l`; a sweep then
/// costs only the couplings among free layers. Free layers without a coupling among them form a
/// block and are updated together; for a chain these are its even and its odd layers.
#[derive(Debug, Clone)]
pub struct Relaxation<'n> {
    network: &'n HopfieldNetwork,
    clamped: Vec<Option<Tensor<2>>>,
    /// Layer of each component.
    free: Vec<usize>,
    /// Drive of each component, `[batch, n_k]`.
    drive: Vec<Drive>,
    blocks: Vec<Vec<usize>>,
    /// The local slopes `c_k g_k'` where the dynamics are linearised, see [`Self::loop_gain`].
    slopes: Option<Vec<Tensor<2>>>,
}

/// An equilibrium, or the best that the solver came to.
#[derive(Debug, Clone)]
pub struct Equilibrium {
    /// The state of every layer, `[batch, n_k]`; `None` for an absent one.
    pub states: Vec<Option<Tensor<2>>>,
    /// How each sample ended.
    pub outcomes: Vec<Outcome>,
    /// The free layers alone.
    pub(crate) free: State,
}

impl Equilibrium {
    /// The state of layer `k`, `[batch, n_k]`.
    ///
    /// # Panics
    ///
    /// When the layer was absent from the phase.
    pub fn state(&self, k: usize) -> Tensor<2> {
        self.states[k].clone().expect("the layer takes part in the phase")
    }
}

impl<'n> Relaxation<'n> {
    /// The dynamics of `network` when each layer plays the role of `roles`.
    ///
    /// # Errors
    ///
    /// [`ModelError::Network`] when no layer is free or none is clamped, [`ModelError::Shape`]
    /// when a clamped state does not fit its layer or batches differ.
    pub fn new(network: &'n HopfieldNetwork, roles: Vec<Role>) -> Result<Self, ModelError> {
        if roles.len() != network.layers.len() {
            let text = format!("{} roles for {} layers", roles.len(), network.layers.len());
            return Err(ModelError::Network(text));
        }
        let (mut clamped, mut free) = (vec![None; roles.len()], Vec::new());
        for (k, role) in roles.into_iter().enumerate() {
            match role {
                Role::Clamped(state) => clamped[k] = Some(state),
                Role::Free => free.push(k),
                Role::Absent => {}
            }
        }
        let batch = check_clamped(network, &clamped)?;
        if free.is_empty() {
            return Err(ModelError::Network("a phase needs a free layer".to_owned()));
        }
        let drive =
            free.iter().map(|&k| Drive::Tensor(drive(network, k, &clamped, batch))).collect();
        let blocks = colour(network, &free);
        Ok(Self { network, clamped, free, drive, blocks, slopes: None })
    }

    /// The same dynamics with a constant force `-scale * force` (`[batch, n_k]`) on layer `k`:
    /// those of `E(s) + scale <force, s_k>`.
    ///
    /// # Errors
    ///
    /// [`ModelError::Network`] when layer `k` does not relax, [`ModelError::Shape`] when `force`
    /// does not fit it.
    pub fn nudged(mut self, k: usize, force: &Tensor<2>, scale: f64) -> Result<Self, ModelError> {
        self.require_force(k, force)?;
        let component = self.component(k);
        let drive = self.drive[component].tensor() - force.clone().mul_scalar(scale);
        self.drive[component] = Drive::Tensor(drive);
        Ok(self)
    }

    /// Where a phase starts when nothing better is known: every free layer as if no other free
    /// layer were active, `g(c * drive)`.
    pub fn guess(&self) -> State {
        let states = (0..self.free.len()).map(|i| self.drive[i].activate(None, self.spec(i)));
        State::new(states.collect()).expect("all drives have one batch size")
    }

    /// Relaxes from `start`, a component `[batch, n_k]` for each free layer, by block sweeps, damped
    /// by `damping` (0 is undamped; needed only for couplings within a layer).
    ///
    /// # Errors
    ///
    /// [`ModelError::Network`] when `start` has another number of components than there are free
    /// layers, [`ModelError::Shape`] when one does not fit its layer or the batch,
    /// [`ModelError::Solver`] when `damping` is out of range.
    pub fn relax(
        &self,
        start: State,
        damping: f64,
        rule: &StoppingRule,
    ) -> Result<Solution, ModelError> {
        self.require_state(&start)?;
        let drive = self.drive.iter().map(Drive::prepare).collect();
        let prepared = Self { drive, ..self.clone() };
        Ok(solve(Sweep(prepared), start, &Damped::new(damping)?, rule)?)
    }

    /// The free equilibrium from [`Self::guess`], damped by `damping`.
    ///
    /// # Errors
    ///
    /// [`ModelError::Solver`] when `damping` is out of range.
    pub fn free_equilibrium(
        &self,
        damping: f64,
        rule: &StoppingRule,
    ) -> Result<Equilibrium, ModelError> {
        let solution = self.relax(self.guess(), damping, rule)?;
        Ok(self.equilibrium(solution.state, solution.outcomes))
    }

    /// The states of all layers, from those of the free ones.
    pub(crate) fn equilibrium(&self, free: State, outcomes: Vec<Outcome>) -> Equilibrium {
        let mut states = self.clamped.clone();
        for (&k, state) in self.free.iter().zip(free.components()) {
            states[k] = Some(state.clone());
        }
        Equilibrium { states, outcomes, free }
    }

    /// The gain of one linearised sweep about `state`, for every sample, `[batch]`.
    ///
    /// The largest eigenvalue in modulus of the product of the block Jacobians, by `iterations`
    /// steps (at least one) of power iteration. Undamped sweeps converge locally where it is below
    /// 1, by that factor a sweep.
    ///
    /// # Errors
    ///
    /// [`ModelError::Network`] and [`ModelError::Shape`] of `state` as [`Self::relax`] of its start.
    pub fn loop_gain(&self, state: &State, iterations: usize) -> Result<Tensor<1>, ModelError> {
        use hvae_solver::FixedPointMap;
        self.require_state(state)?;
        let slopes = self.free.iter().zip(state.components()).map(|(&k, s)| {
            let spec = &self.network.layers[k].spec;
            spec.activation.slope(s.clone()).mul_scalar(spec.gain)
        });
        let linear = Sweep(Self { slopes: Some(slopes.collect()), ..self.clone() });
        let measured = linear.measured(self.free.len());
        let norm = |s: &State| {
            let squares = measured.iter().map(|&c| s.component(c).clone().square().sum_dim(1));
            squares.reduce(|a, b| a + b).expect("a sweep measures a component").sqrt()
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

    /// The network.
    pub fn network(&self) -> &'n HopfieldNetwork {
        self.network
    }

    /// Number of samples.
    pub(crate) fn batch(&self) -> usize {
        self.drive[0].rows()
    }

    /// The layer of each component of a state.
    pub(crate) fn free_layers(&self) -> &[usize] {
        &self.free
    }

    /// Refuses a state that is not one of the free layers, `[batch, n_k]` each.
    fn require_state(&self, state: &State) -> Result<(), ModelError> {
        let (found, expected) = (state.components().len(), self.free.len());
        if found != expected {
            let text = format!("a state of {found} components for {expected} free layers");
            return Err(ModelError::Network(text));
        }
        for (i, component) in state.components().iter().enumerate() {
            let LayerSpec { name, size, .. } = self.spec(i);
            require_shape(format!("the state of layer {name}"), component, [self.batch(), *size])?;
        }
        Ok(())
    }

    /// Refuses a force on layer `k` that it cannot feel.
    pub(crate) fn require_force(&self, k: usize, force: &Tensor<2>) -> Result<(), ModelError> {
        let layer = self.network.layers.get(k);
        let name = layer.map_or("?", |l| l.spec.name.as_str());
        if !self.free.contains(&k) {
            let text = format!("a force on layer {k} ({name}), which does not relax");
            return Err(ModelError::Network(text));
        }
        let size = self.network.layers[k].spec.size;
        require_shape(format!("the force on layer {name}"), force, [self.batch(), size])
    }

    /// `a_k = b_k + sum_l W_kl s_l + R_k s_k` of each component, all layers included, where the free ones
    /// have the states `free`.
    pub(crate) fn drives(&self, free: &State) -> Vec<Tensor<2>> {
        let drives = self.drive.iter().enumerate().map(|(component, drive)| {
            let field = self.field(component, free);
            field.map_or_else(|| drive.tensor(), |field| field + drive.tensor())
        });
        drives.collect()
    }

    /// What the free layers make `component` feel, `sum_l W_kl s_l + R_k s_k`; `None` if it is coupled
    /// with none of them.
    pub(crate) fn field(&self, component: usize, free: &State) -> Option<Tensor<2>> {
        let mut states = vec![None; self.network.layers.len()];
        for (&k, s) in self.free.iter().zip(free.components()) {
            states[k] = Some(s.clone());
        }
        self.network.field(self.free[component], &states)
    }

    /// Whether the layers of two components are coupled.
    pub(crate) fn are_coupled(&self, a: usize, b: usize) -> bool {
        let (a, b) = (self.free[a].min(self.free[b]), self.free[a].max(self.free[b]));
        self.network.couplings.iter().any(|c| (c.lower, c.upper) == (a, b))
    }

    /// Component of layer `k`.
    pub(crate) fn component(&self, k: usize) -> usize {
        self.free.iter().position(|&f| f == k).expect("the layer is free in this phase")
    }

    /// What is known of the layer of `component`.
    pub(crate) fn spec(&self, component: usize) -> &LayerSpec {
        &self.network.layers[self.free[component]].spec
    }
}

impl BlockMap for Relaxation<'_> {
    fn blocks(&self) -> &[Vec<usize>] {
        &self.blocks
    }

    fn update(&self, component: usize, state: &State, _iteration: usize) -> Tensor<2> {
        let field = self.field(component, state);
        if let Some(slopes) = &self.slopes {
            let slope = slopes[component].clone();
            return field.map_or_else(|| slope.zeros_like(), |f| f * slope.clone());
        }
        self.drive[component].activate(field, self.spec(component))
    }

    fn select(&self, rows: &Tensor<1, Int>) -> Self {
        let pick = |t: &Tensor<2>| t.clone().select(0, rows.clone());
        Self {
            drive: self.drive.iter().map(|d| d.select(rows)).collect(),
            slopes: self.slopes.as_ref().map(|s| s.iter().map(pick).collect()),
            ..self.clone()
        }
    }

    fn is_self_coupled(&self, component: usize) -> bool {
        let k = self.free[component];
        self.network.couplings.iter().any(|c| c.is_recurrent() && c.lower == k)
    }
}

/// The common batch size of the clamped states.
fn check_clamped(
    network: &HopfieldNetwork,
    clamped: &[Option<Tensor<2>>],
) -> Result<usize, ModelError> {
    let mut batch = None;
    for (layer, state) in network.layers.iter().zip(clamped) {
        let Some(state) = state else { continue };
        let rows = *batch.get_or_insert(state.dims()[0]);
        let what = format!("the clamped state of layer {}", layer.spec.name);
        require_shape(what, state, [rows, layer.spec.size])?;
    }
    batch.ok_or_else(|| ModelError::Network("a phase needs a clamped layer".to_owned()))
}

/// `b_k` plus the field of the clamped layers, `[batch, n_k]`.
fn drive(
    network: &HopfieldNetwork,
    k: usize,
    clamped: &[Option<Tensor<2>>],
    batch: usize,
) -> Tensor<2> {
    let layer = &network.layers[k];
    let field = network.field(k, clamped);
    let bias = layer.bias.as_ref().map(|b| b.val().unsqueeze::<2>());
    match (field, bias) {
        (Some(field), Some(bias)) => field + bias,
        (Some(field), None) => field,
        (None, Some(bias)) => bias.expand([batch, layer.spec.size]),
        (None, None) => {
            let held = clamped.iter().flatten().next().expect("a phase has a clamped layer");
            Tensor::zeros([batch, layer.spec.size], &held.device())
        }
    }
}

/// Groups the free layers so that no two of a group are coupled: each takes the first group
/// that has no neighbour of it. The group with the most units comes first: a sweep never reads,
/// and a check never measures, the old states of the first.
fn colour(network: &HopfieldNetwork, free: &[usize]) -> Vec<Vec<usize>> {
    let coupled = |a: usize, b: usize| {
        network.couplings.iter().any(|c| (c.lower, c.upper) == (a.min(b), a.max(b)))
    };
    let mut blocks: Vec<Vec<usize>> = Vec::new();
    for (component, &k) in free.iter().enumerate() {
        let open = blocks.iter_mut().find(|b| b.iter().all(|&other| !coupled(free[other], k)));
        match open {
            Some(block) => block.push(component),
            None => blocks.push(vec![component]),
        }
    }
    let units = |block: &Vec<usize>| {
        block.iter().map(|&c| network.layers[free[c]].spec.size).sum::<usize>()
    };
    blocks.sort_by_key(|block| std::cmp::Reverse(units(block)));
    blocks
}
