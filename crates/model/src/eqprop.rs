//! Equilibrium propagation: gradients from the difference of two equilibria.

use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use hvae_solver::{Outcome, State, StoppingRule};
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
        self.beta.divide(field, -self.spread)
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
    let contrast = contrast(network, relaxation, free, (&a, &b), (beta, spread));
    Ok(EpGradient { outcomes, ..contrast })
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
    let (square, units) = match strength {
        Strength::Beta(beta) => return Ok(Beta::Host(beta)),
        Strength::Size(_) | Strength::SizeOnDevice(_) => push(network, forces),
    };
    if matches!(strength, Strength::SizeOnDevice(_)) {
        let size = square.div_scalar(units as f64).sqrt();
        return Ok(Beta::Device(size.clamp_min(SMALLEST_FORCE).recip().mul_scalar(value)));
    }
    let mean_square = f64::from(hvae_solver::read(square)[0]) / units as f64;
    beta_of_size(value, mean_square).map(Beta::Host)
}

/// The sum over batch and units of the squares of `c delta`, `[1]`, and how many there are.
pub(crate) fn push(network: &HopfieldNetwork, forces: &[Force]) -> (Tensor<1>, usize) {
    let pushes = forces.iter().map(|f| {
        let gain = network.layers[f.layer].spec.gain;
        f.force.clone().square().sum().mul_scalar(gain * gain)
    });
    let units: usize = forces.iter().map(|f| f.force.dims().iter().product::<usize>()).sum();
    (pushes.reduce(|a, b| a + b).expect("a cost acts on a layer"), units.max(1))
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
) -> EpGradient {
    let count = network.layers.len();
    let (mut sum, mut difference) = (vec![None; count], vec![None; count]);
    for (component, &k) in relaxation.free_layers().iter().enumerate() {
        let (s, t) = (a.component(component).clone(), b.component(component).clone());
        sum[k] = Some(s.clone() + t.clone());
        difference[k] = Some(s - t);
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
    EpGradient { weights, biases, difference, spread, beta, outcomes: Vec::new() }
}
