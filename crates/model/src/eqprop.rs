//! Equilibrium propagation: gradients from the difference of two equilibria.

use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use hvae_solver::{Outcome, State, StoppingRule, Termination};
use serde::{Deserialize, Serialize};

use crate::network::symmetrise;
use crate::relax::{Equilibrium, Relaxation};
use crate::{HopfieldNetwork, ModelError};

/// Which nudged phases are run. `s_beta` is the equilibrium of `E(s) + beta C(s)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Nudging {
    /// `[dE/dtheta(s_+beta) - dE/dtheta(s_-beta)] / (2 beta)`: bias `O(beta^2)`
    /// (Laborieux et al. 2021, arXiv 2006.03824).
    Centred,
    /// `[dE/dtheta(s_+beta) - dE/dtheta(s_0)] / beta`: bias `O(beta)`
    /// (Scellier & Bengio 2017, arXiv 1602.05179).
    Positive,
    /// `[dE/dtheta(s_0) - dE/dtheta(s_-beta)] / beta`: bias `O(beta)`.
    Negative,
}

/// A cost seen by one layer: the force `dC/ds_k` at the free equilibrium, `[batch, n_k]`.
///
/// The nudged phases relax in the energy `E(s) + beta <force, s_k>`. Its free equilibrium and the
/// cost's first derivative there are those of `E + beta C`, so the estimate has the same limit and
/// the same order in `beta`; unlike `C` itself it can never take an energy that is bounded below
/// on the range of the layer to one that is not.
#[derive(Debug, Clone)]
pub struct Force {
    /// The layer.
    pub layer: usize,
    /// `dC/ds_k`, `[batch, n_k]`.
    pub force: Tensor<2>,
}

/// The strength that a nudge came to have.
///
/// On a device that computes while the host goes on, `beta` stays a tensor there: to read it would
/// make the host wait in the middle of a step.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant, reason = "there are a handful in a step")]
pub enum Beta {
    /// Known to the host.
    Host(f64),
    /// On the device, `[1]`.
    Device(Tensor<1>),
}

impl Beta {
    /// `beta`; reads the device if it must.
    pub fn value(&self) -> f64 {
        match self {
            Self::Host(beta) => *beta,
            Self::Device(beta) => f64::from(hvae_solver::read(beta.clone())[0]),
        }
    }

    /// `factor beta tensor`.
    fn times(&self, tensor: Tensor<2>, factor: f64) -> Tensor<2> {
        match self {
            Self::Host(beta) => tensor.mul_scalar(factor * beta),
            Self::Device(beta) => tensor * beta.clone().mul_scalar(factor).unsqueeze(),
        }
    }

    /// `tensor / (factor beta)`.
    fn divide<const D: usize>(&self, tensor: Tensor<D>, factor: f64) -> Tensor<D> {
        match self {
            Self::Host(beta) => tensor.mul_scalar(1.0 / (factor * beta)),
            Self::Device(beta) => {
                tensor * beta.clone().recip().mul_scalar(1.0 / factor).unsqueeze()
            }
        }
    }
}

/// A cost `l(a_k)` of what drives layer `k`, `a_k = c_k (b_k + sum_l W_kl s_l + R_k s_k)`, read out
/// beside the energy (as Laborieux et al. 2021, arXiv 2006.03824, do for a softmax).
///
/// The layers coupled with `k` feel the force `c_k W_kl dl/da`; the parameters beside `k` have,
/// besides what equilibrium propagation finds, the direct gradient of the readout.
#[derive(Debug, Clone)]
pub struct Readout {
    /// The layer.
    pub layer: usize,
    /// `dl/da_k` at the free equilibrium, `[batch, n_k]`.
    pub error: Tensor<2>,
}

/// What becomes of samples that do not reach equilibrium.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unconverged {
    /// Their states are used as they are; the gradient is inexact by their residual.
    Use,
    /// They contribute nothing to the gradient of the network whose phase did not converge, and
    /// hand nothing down.
    Drop,
}

/// How strong a nudge is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Strength {
    /// `beta` itself.
    Beta(f64),
    /// `beta` such that `c beta delta`, the push on the gained pre-activations of the nudged
    /// layers, has this root mean square over batch and units. Costs one read of the device.
    Size(f64),
    /// The same, but `beta` stays on the device, which is not read.
    SizeOnDevice(f64),
}

/// How the nudged phases are run.
#[derive(Debug, Clone, Copy)]
pub struct Nudge {
    /// How strong, > 0.
    pub strength: Strength,
    /// Which phases.
    pub nudging: Nudging,
    /// What becomes of samples that do not reach equilibrium.
    pub unconverged: Unconverged,
    /// Damping of the sweeps, in `[0, 1)`.
    pub damping: f64,
    /// When a nudged phase ends.
    pub rule: StoppingRule,
}

/// The gradient of the mean cost of a batch, and of each sample's cost in the clamped inputs.
#[derive(Debug, Clone)]
pub struct EpGradient {
    /// `dC/dW` per coupling, of the weight's shape.
    pub weights: Vec<Tensor<2>>,
    /// `dC/db` per layer, `[n_k]`; `None` for a layer without a bias or absent.
    pub biases: Vec<Option<Tensor<1>>>,
    /// The two states whose difference made the gradient: `s_a - s_b` per layer.
    difference: Vec<Option<Tensor<2>>>,
    /// What a readout adds to `dC/ds_k` per clamped layer, of the whole batch's every sample.
    direct: Vec<Option<Tensor<2>>>,
    /// `(beta_a - beta_b) / beta`.
    spread: f64,
    /// The nudging strength that was used.
    pub beta: Beta,
    /// How each sample of each nudged phase ended.
    pub outcomes: Vec<Outcome>,
}

impl EpGradient {
    /// `dC/ds_k` for a *clamped* layer `k`, for every sample, `[batch, n_k]`: with `dE/ds_k =
    /// A'(s_k)/c_k - b_k - sum_l W_kl s_l` the terms of the layer itself cancel and
    ///
    /// ```text
    /// dC/ds_k = - sum_l W_kl (s_l,a - s_l,b) / (beta_a - beta_b)
    /// ```
    ///
    /// # Panics
    ///
    /// When no free layer is coupled with layer `k`.
    pub fn input(&self, network: &HopfieldNetwork, k: usize) -> Tensor<2> {
        let mut difference = self.difference.clone();
        difference[k] = None;
        let field = network.field(k, &difference).expect("a clamped layer has a free neighbour");
        let gradient = self.beta.divide(field, -self.spread);
        match &self.direct[k] {
            Some(direct) => gradient + direct.clone(),
            None => gradient,
        }
    }

    /// The gradient of the sum of both costs, of one network used in two ways. What is known of
    /// single phases and samples stays that of `self`.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let weights = self.weights.into_iter().zip(other.weights).map(|(a, b)| a + b);
        let biases = self.biases.into_iter().zip(other.biases).map(|pair| match pair {
            (Some(a), Some(b)) => Some(a + b),
            (a, b) => a.or(b),
        });
        Self { weights: weights.collect(), biases: biases.collect(), ..self }
    }

    /// The parameter gradients under their parameters' ids, as Burn's optimizers take them.
    pub fn register(&self, network: &HopfieldNetwork, gradients: &mut GradientsParams) {
        for (coupling, gradient) in network.couplings.iter().zip(&self.weights) {
            gradients.register(coupling.weight.id, gradient.clone());
        }
        for (layer, gradient) in network.layers.iter().zip(&self.biases) {
            if let (Some(bias), Some(gradient)) = (&layer.bias, gradient) {
                gradients.register::<1>(bias.id, gradient.clone());
            }
        }
    }
}

/// The gradient of a cost by equilibrium propagation.
///
/// `free` is the equilibrium of `relaxation`, from which every nudged phase starts; `forces` hold
/// `dC/ds` there. The phases at `+beta` and `-beta` run side by side as one batch. No automatic
/// differentiation is involved and memory does not grow with the number of sweeps.
///
/// # Errors
///
/// [`ModelError::Setting`] for a strength that is not positive and finite, [`ModelError::Solver`]
/// for a damping out of range.
pub fn gradient(
    network: &HopfieldNetwork,
    relaxation: &Relaxation<'_>,
    free: &Equilibrium,
    forces: &[Force],
    nudge: &Nudge,
) -> Result<EpGradient, ModelError> {
    let beta = beta(network, forces, nudge.strength)?;
    let at = |sign: f64| {
        let push = |f: &Force| beta.times(f.force.clone(), sign);
        forces.iter().fold(relaxation.clone(), |r, f| r.pushed(f.layer, push(f)))
    };
    let (a, b, outcomes) = match nudge.nudging {
        Nudging::Centred => {
            let both = at(1.0).stacked(&at(-1.0));
            let start = free.free.map(|s| Tensor::cat(vec![s.clone(), s], 0));
            let solution = both.relax(start, nudge.damping, &nudge.rule)?;
            let half = solution.state.batch() / 2;
            let part = |from: usize| solution.state.map(|s| s.narrow(0, from, half));
            (part(0), part(half), solution.outcomes)
        }
        Nudging::Positive => {
            let solution = at(1.0).relax(free.free.clone(), nudge.damping, &nudge.rule)?;
            (solution.state, free.free.clone(), solution.outcomes)
        }
        Nudging::Negative => {
            let solution = at(-1.0).relax(free.free.clone(), nudge.damping, &nudge.rule)?;
            (free.free.clone(), solution.state, solution.outcomes)
        }
    };
    let spread = if nudge.nudging == Nudging::Centred { 2.0 } else { 1.0 };
    let kept = match nudge.unconverged {
        Unconverged::Use => None,
        Unconverged::Drop => converged(&free.outcomes, &outcomes, a.component(0)),
    };
    let contrast = contrast(network, relaxation, free, (&a, &b), (beta, spread), kept.as_ref());
    Ok(EpGradient { outcomes, ..contrast })
}

/// The gradient of the cost of a [`Readout`] by equilibrium propagation; otherwise as [`gradient`].
///
/// # Errors
///
/// As [`gradient`].
pub fn readout_gradient(
    network: &HopfieldNetwork,
    relaxation: &Relaxation<'_>,
    free: &Equilibrium,
    readout: &Readout,
    nudge: &Nudge,
) -> Result<EpGradient, ModelError> {
    let pull = Pull::new(network, readout);
    let result = gradient(network, relaxation, free, &pull.forces(relaxation), nudge)?;
    Ok(pull.complete(result, relaxation, free))
}

/// What a [`Readout`] asks of the network around its layer.
pub(crate) struct Pull<'n> {
    network: &'n HopfieldNetwork,
    layer: usize,
    /// `c_k dl/da_k`, `[batch, n_k]`.
    value: Tensor<2>,
}

impl<'n> Pull<'n> {
    pub(crate) fn new(network: &'n HopfieldNetwork, readout: &Readout) -> Self {
        let layer = readout.layer;
        let value = readout.error.clone().mul_scalar(network.layers[layer].spec.gain);
        Self { network, layer, value }
    }

    /// The force on layer `l`, if the two are coupled.
    fn felt(&self, l: usize) -> Option<Tensor<2>> {
        let mut only = vec![None; self.network.layers.len()];
        only[self.layer] = Some(self.value.clone());
        self.network.field(l, &only)
    }

    /// The forces on the layers that relax.
    pub(crate) fn forces(&self, relaxation: &Relaxation<'_>) -> Vec<Force> {
        let free = relaxation.free_layers().iter();
        free.filter_map(|&layer| Some(Force { layer, force: self.felt(layer)? })).collect()
    }

    /// Adds the direct gradient of the readout to `result`, which those forces gave.
    pub(crate) fn complete(
        self,
        mut result: EpGradient,
        relaxation: &Relaxation<'_>,
        free: &Equilibrium,
    ) -> EpGradient {
        let (network, k) = (self.network, self.layer);
        let [rows, _] = self.value.dims();
        let mean = self.value.clone().div_scalar(rows as f64);
        for (c, gradient) in network.couplings.iter().zip(&mut result.weights) {
            let outer = |s: &Option<Tensor<2>>| Some(s.clone()?.transpose().matmul(mean.clone()));
            let direct = if c.is_recurrent() && c.lower == k {
                outer(&free.states[k]).map(symmetrise)
            } else if c.upper == k {
                outer(&free.states[c.lower])
            } else if c.lower == k {
                outer(&free.states[c.upper]).map(Tensor::transpose)
            } else {
                None
            };
            if let Some(direct) = direct {
                *gradient = gradient.clone() + direct;
            }
        }
        if let Some(gradient) = &mut result.biases[k] {
            *gradient = gradient.clone() + mean.sum_dim(0).squeeze_dim::<1>(0);
        }
        for l in 0..network.layers.len() {
            if free.states[l].is_some() && !relaxation.free_layers().contains(&l) {
                result.direct[l] = self.felt(l);
            }
        }
        result
    }
}

/// 1 for every sample that converged in the free and in all its nudged phases, 0 for the others,
/// `[batch, 1]`; `None` when all did, and nothing is sent to the device.
fn converged(free: &[Outcome], nudged: &[Outcome], like: &Tensor<2>) -> Option<Tensor<2>> {
    let done = |o: &Outcome| o.termination == Termination::Converged;
    if free.iter().chain(nudged).all(done) {
        return None;
    }
    let rows = free.len();
    let kept = free.iter().enumerate().map(|(i, o)| {
        let all = done(o) && nudged[i..].iter().step_by(rows).all(done);
        f32::from(u8::from(all))
    });
    Some(hvae_solver::upload(kept.collect(), [rows, 1], &like.device()))
}

/// Smallest root mean square of a force that `beta` is fitted to: below it there is nothing to
/// learn, and `beta` must not overflow.
const SMALLEST_FORCE: f64 = 1e-12;

/// `beta`, checked and resolved.
fn beta(
    network: &HopfieldNetwork,
    forces: &[Force],
    strength: Strength,
) -> Result<Beta, ModelError> {
    let (Strength::Beta(value) | Strength::Size(value) | Strength::SizeOnDevice(value)) = strength;
    crate::error::require(value.is_finite() && value > 0.0, "nudge", value, "must be positive")?;
    if let Strength::Beta(beta) = strength {
        return Ok(Beta::Host(beta));
    }
    // Without a force there is nothing to push, and any strength will do.
    let Some((square, units)) = push(network, forces) else {
        return beta_of_size(value, 0.0).map(Beta::Host);
    };
    if matches!(strength, Strength::SizeOnDevice(_)) {
        let size = square.div_scalar(units as f64).sqrt();
        return Ok(Beta::Device(size.clamp_min(SMALLEST_FORCE).recip().mul_scalar(value)));
    }
    let mean_square = f64::from(hvae_solver::read(square)[0]) / units as f64;
    beta_of_size(value, mean_square).map(Beta::Host)
}

/// The sum over batch and units of the squares of `c delta`, `[1]`, and how many there are; `None`
/// without a force.
pub(crate) fn push(network: &HopfieldNetwork, forces: &[Force]) -> Option<(Tensor<1>, usize)> {
    let pushes = forces.iter().map(|f| {
        let gain = network.layers[f.layer].spec.gain;
        f.force.clone().square().sum().mul_scalar(gain * gain)
    });
    let units: usize = forces.iter().map(|f| f.force.dims().iter().product::<usize>()).sum();
    Some((pushes.reduce(|a, b| a + b)?, units.max(1)))
}

/// `beta` such that `c beta delta` has the root mean square `size` where `c delta` has this mean
/// square.
pub(crate) fn beta_of_size(size: f64, mean_square: f64) -> Result<f64, ModelError> {
    if !mean_square.is_finite() {
        return Err(ModelError::NotFinite {
            what: "the force of the cost on the network".to_owned(),
            remedy: "check the images for values outside [0, 1], or lower the learning rate"
                .to_owned(),
        });
    }
    Ok(size / mean_square.sqrt().max(SMALLEST_FORCE))
}

/// `[dE/dtheta(a) - dE/dtheta(b)] / spread`, averaged over the batch.
///
/// Products of states are contrasted through sums and differences,
/// `s_a t_a - s_b t_b = [(s_a - s_b)(t_a + t_b) + (s_a + s_b)(t_a - t_b)] / 2`:
/// a difference of nearby states is exact in floating point, one of their products is not.
fn contrast(
    network: &HopfieldNetwork,
    relaxation: &Relaxation<'_>,
    free: &Equilibrium,
    (a, b): (&State, &State),
    (beta, spread): (Beta, f64),
    kept: Option<&Tensor<2>>,
) -> EpGradient {
    let count = network.layers.len();
    let (mut sum, mut difference) = (vec![None; count], vec![None; count]);
    for (component, &k) in relaxation.free_layers().iter().enumerate() {
        let (s, t) = (a.component(component).clone(), b.component(component).clone());
        let dims = t.dims();
        let total = s.clone() + t.clone();
        sum[k] = Some(match kept {
            Some(kept) => total.mask_fill(kept.clone().equal_elem(0.0).expand(dims), 0.0),
            None => total,
        });
        let change = s - t;
        difference[k] = Some(match kept {
            // A sample that is not finite must go, and 0 times NaN is NaN.
            Some(kept) => change.mask_fill(kept.clone().equal_elem(0.0).expand(dims), 0.0),
            None => change,
        });
    }
    let per_sample = -spread * a.batch() as f64;
    let product = |s: &Option<Tensor<2>>, t: &Option<Tensor<2>>| {
        Some(s.clone()?.transpose().matmul(t.clone()?))
    };
    let weights = network.couplings.iter().map(|c| {
        let (k, l) = (c.lower, c.upper);
        let half = |t: Tensor<2>| t.mul_scalar(0.5);
        let contrast = if c.is_recurrent() {
            product(&difference[k], &sum[k]).map(|p| half(symmetrise(p)))
        } else {
            match (&difference[k], &difference[l]) {
                (Some(_), Some(_)) => {
                    let one = product(&difference[k], &sum[l]);
                    let other = product(&sum[k], &difference[l]);
                    one.zip(other).map(|(x, y)| half(x + y))
                }
                (None, Some(_)) => product(&free.states[k], &difference[l]),
                (Some(_), None) => product(&difference[k], &free.states[l]),
                (None, None) => None,
            }
        };
        contrast.map_or_else(|| c.weight.val().zeros_like(), |t| beta.divide(t, per_sample))
    });
    let biases = network.layers.iter().zip(&difference).map(|(layer, d)| {
        layer.bias.as_ref()?;
        Some(beta.divide(d.clone()?.sum_dim(0).squeeze_dim::<1>(0), per_sample))
    });
    let (weights, biases) = (weights.collect(), biases.collect());
    let direct = vec![None; count];
    EpGradient { weights, biases, difference, direct, spread, beta, outcomes: Vec::new() }
}
