//! The maps whose fixed points are a layered network's equilibria.

use burn::tensor::{Int, Tensor};
use hvae_solver::{FixedPointMap, State};

use crate::chn_ham::couplings::Couplings;
use crate::chn_ham::network::{Form, LayeredNetwork};
use crate::chn_ham::pointwise::{Continuous, End, finish, fire};
use crate::dynamics::drive::Drive;
use crate::error::{ModelError, require, require_shape};

/// In which order layers are updated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// All at once, from the old states.
    Synchronous,
    /// The odd layers (1, 3, ...), then the even ones from their new states.
    EvenOdd {
        /// Updates of a CHN's layer in a half-sweep, at least 1; a HAM's is exact with one.
        inner: usize,
    },
}

/// The map `s -> f(s)` of a [`LayeredNetwork`] with its pixels held.
///
/// Its state has one component for each layer, `[batch, n_k]`; in the even-odd form of a HAM one
/// for each even layer, from which the odd ones follow ([`Self::layers`]).
///
/// **Damping** belongs to the map here, as in the paper:
/// `f(s) = damping s + (1 - damping) rho'(s) a(s)` for a CHN, in even-odd form of each inner
/// update. A HAM needs none. So of all residuals of this program only those of a damped CHN are
/// residuals of a damped map, `1 - damping` times as large as those of the undamped one in the
/// synchronous order; the published counts of iterations are by this measure.
#[derive(Debug, Clone)]
pub struct Dynamics<'n> {
    network: &'n LayeredNetwork,
    pub(super) couplings: Couplings,
    order: Order,
    damping: f64,
    drive: Vec<Drive>,
    /// `beta dC/ds_L`, `[batch, n_L]`.
    push: Option<Tensor<2>>,
    batch: usize,
}

/// An update of some layers of a CHN, as going back through it needs it.
#[derive(Debug)]
pub(super) struct Update {
    /// The layers that were updated, from 0 without the pixels, each with its state before and
    /// `a_k`.
    pub(super) layers: Vec<(usize, Tensor<2>, Tensor<2>)>,
    /// `rho` before it, of the layers that drove them.
    pub(super) activities: Vec<Option<Tensor<2>>>,
}

impl<'n> Dynamics<'n> {
    /// The dynamics of `network` below `images`, `[batch, n_0]`, undamped.
    pub fn new(
        network: &'n LayeredNetwork,
        images: Tensor<2>,
        order: Order,
    ) -> Result<Self, ModelError> {
        let [batch, _] = images.dims();
        require_shape("the images", &images, [batch, network.sizes()[0]])?;
        let inner = if let Order::EvenOdd { inner } = order { inner } else { 1 };
        require(inner > 0, "inner", inner, "needs at least one update")?;
        let pixels = fire(images).matmul(network.weights[0].val());
        let drive = network.biases.iter().enumerate().map(|(k, bias)| {
            let bias = bias.val().unsqueeze::<2>();
            Drive::new(if k == 0 { pixels.clone() + bias } else { bias })
        });
        Ok(Self {
            network,
            couplings: Couplings::new(network),
            order,
            damping: 0.0,
            drive: drive.collect(),
            push: None,
            batch,
        })
    }

    /// The same with a damping in `[0, 1)`; without effect on a HAM.
    pub fn damped(mut self, damping: f64) -> Result<Self, ModelError> {
        let ok = (0.0..1.0).contains(&damping);
        require(ok, "damping", damping, "must lie in [0, 1)")?;
        self.damping = damping;
        Ok(self)
    }

    /// Two of these synchronous dynamics of a CHN side by side, as one batch, in the energy
    /// `E(s) + <push, s_L>`: the fixed point of the last layer becomes
    /// `s_L = rho'(s_L) a_L(s) - push`. `push` is `[2 batch, n_L]`.
    pub(super) fn nudged(mut self, push: Tensor<2>) -> Self {
        // The other drives are the same for all samples.
        let drive = self.drive[0].tensor();
        self.drive[0] = Drive::new(Tensor::cat(vec![drive.clone(), drive], 0));
        self.batch *= 2;
        self.push = Some(push);
        self
    }

    /// Samples of a part at most, for [`solve_in_parts`](hvae_solver::solve_in_parts): on the CPU a
    /// quarter of the batch, but at least 32 and at most 64. Products of fewer rows are slower, and
    /// the states of more leave the cache. 0, the whole batch, on other devices.
    pub fn part_size(&self) -> usize {
        let on_host = self.drive.iter().all(|drive| drive.host().is_some());
        if on_host { self.batch.div_ceil(4).clamp(32, 64) } else { 0 }
    }

    /// All states 0, where the paper starts.
    pub fn start(&self) -> State {
        let device = self.network.weights[0].val().device();
        let zeros = self.component_layers().into_iter().map(|k| {
            let units = self.network.weights[k].dims()[1];
            Tensor::zeros([self.batch, units], &device)
        });
        State::new(zeros.collect()).expect("all layers have one batch size")
    }

    /// The states of all layers, `[batch, n_k]` each, from a state of this map.
    pub fn layers(&self, state: &State) -> Vec<Tensor<2>> {
        if !self.is_reduced() {
            return state.components().to_vec();
        }
        let r = self.activities(state);
        let mut even = state.components().iter();
        let layers = (0..self.network.depth()).map(|k| match k % 2 {
            0 => self.input(k, &r),
            _ => even.next().expect("the state has every even layer").clone(),
        });
        layers.collect()
    }

    /// Whether the state is that of the even layers only.
    fn is_reduced(&self) -> bool {
        self.network.form() == Form::Ham && matches!(self.order, Order::EvenOdd { .. })
    }

    /// The layer (from 0) of each component of a state.
    fn component_layers(&self) -> Vec<usize> {
        let (from, step) = if self.is_reduced() { (1, 2) } else { (0, 1) };
        (from..self.network.depth()).step_by(step).collect()
    }

    fn field(&self, k: usize, r: &[Option<Tensor<2>>]) -> Tensor<2> {
        self.couplings.field(k, r).expect("every layer has a neighbour in the other block")
    }

    /// The input `a_k` of layer `k`, `[batch, n_k]`, from `rho` of its neighbours.
    fn input(&self, k: usize, r: &[Option<Tensor<2>>]) -> Tensor<2> {
        finish(self.field(k, r), &self.drive[k], None, End::Sum)
    }

    /// `rho` of the components of a state, at their layers.
    fn activities(&self, state: &State) -> Vec<Option<Tensor<2>>> {
        let mut r = vec![None; self.network.depth()];
        for (k, s) in self.component_layers().into_iter().zip(state.components()) {
            r[k] = Some(fire(s.clone()));
        }
        r
    }

    /// One iteration of a HAM: all layers at once, or the odd and then the even ones.
    fn iterate_ham(&self, state: &State) -> State {
        let mut r = self.activities(state);
        if self.is_reduced() {
            for k in (0..r.len()).step_by(2) {
                r[k] = Some(finish(self.field(k, &r), &self.drive[k], None, End::Fire));
            }
        }
        let images = self.component_layers().into_iter().map(|k| self.input(k, &r));
        State::new(images.collect()).expect("updates keep the batch")
    }

    /// One iteration of a CHN: all layers at once, or the odd and then the even ones. `record` gets
    /// what going back through it needs.
    fn iterate_chn(&self, state: &State, mut record: Option<&mut Vec<Update>>) -> State {
        let mut layers = state.components().to_vec();
        let depth = layers.len();
        let synchronous = self.order == Order::Synchronous;
        let update = End::Update(self.continuous());
        let (blocks, step): (&[usize], _) = if synchronous { (&[0], 1) } else { (&[0, 1], 2) };
        for &first in blocks {
            let drives = |k: usize| synchronous || k % 2 != first;
            let each = layers.iter().enumerate();
            let r: Vec<_> = each.map(|(k, s)| drives(k).then(|| fire(s.clone()))).collect();
            let mut updated = Vec::new();
            for k in (first..depth).step_by(step) {
                let field = self.field(k, &r);
                if record.is_some() {
                    let input = finish(field.clone(), &self.drive[k], None, End::Sum);
                    updated.push((k, layers[k].clone(), input));
                }
                layers[k] = finish(field, &self.drive[k], Some(&layers[k]), update);
            }
            if let Some(record) = &mut record {
                record.push(Update { layers: updated, activities: r });
            }
        }
        if let Some(push) = &self.push {
            let last = &mut layers[depth - 1];
            *last = last.clone() - push.clone().mul_scalar(1.0 - self.damping);
        }
        State::new(layers).expect("updates keep the batch")
    }

    /// `count` more iterations of a CHN, with what going back through them needs.
    pub(super) fn record(&self, state: State, count: usize) -> (State, Vec<Update>) {
        let mut updates = Vec::new();
        let end = (0..count).fold(state, |s, _| self.iterate_chn(&s, Some(&mut updates)));
        (end, updates)
    }

    /// How a layer of a CHN is updated.
    pub(super) fn continuous(&self) -> Continuous {
        let inner = if let Order::EvenOdd { inner } = self.order { inner } else { 1 };
        Continuous { damping: self.damping as f32, inner }
    }
}

impl FixedPointMap for Dynamics<'_> {
    fn apply(&self, state: &State, _iteration: usize) -> State {
        match self.network.form() {
            Form::Ham => self.iterate_ham(state),
            Form::Chn => self.iterate_chn(state, None),
        }
    }

    fn select(&self, rows: &Tensor<1, Int>) -> Self {
        let drive = self.drive.iter().enumerate().map(|(k, drive)| match k {
            0 => drive.select(rows),
            _ => drive.clone(),
        });
        let push = self.push.as_ref().map(|push| push.clone().select(0, rows.clone()));
        Self { drive: drive.collect(), push, batch: rows.dims()[0], ..self.clone() }
    }
}
