//! Equilibrium propagation: gradients from the difference of two equilibria.

use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use hvae_solver::{Outcome, StoppingRule};
use serde::{Deserialize, Serialize};

use crate::contrast::{Contrast, Kept, counts};
use crate::deviation::{deviations, halves};
use crate::error::require_shape;
use crate::readout::Pull;
use crate::relax::{Equilibrium, Relaxation};
use crate::strength::{self, Beta, Strength};
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

impl Nudging {
    /// The strengths of the two states that are contrasted, in units of `beta`.
    pub(crate) fn signs(self) -> [f64; 2] {
        match self {
            Self::Centred => [1.0, -1.0],
            Self::Positive => [1.0, 0.0],
            Self::Negative => [0.0, -1.0],
        }
    }
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
    /// Their states are used as they are: the gradient is that about the state that the free phase came to,
    /// and short of it by what the nudged phase still had to go. A sample that is not finite makes the
    /// whole gradient so.
    Use,
    /// They contribute nothing to the gradient of the network whose phase did not converge, hand
    /// nothing down, and have no part in the strength of the nudge if it was the free phase. The
    /// gradient stays a sum over the others divided by the size of the whole batch.
    Drop,
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
    /// `dC/db` per layer, `[n_k]`; `None` for a layer without a bias, and for one that did not relax
    /// and is not read out.
    pub biases: Vec<Option<Tensor<1>>>,
    /// The two states whose difference made the gradient: `s_a - s_b` per layer.
    difference: Vec<Option<Tensor<2>>>,
    /// What a readout adds to `dC/ds_k` per clamped layer, for every sample.
    pub(crate) direct: Vec<Option<Tensor<2>>>,
    /// `(beta_a - beta_b) / beta`.
    spread: f64,
    /// The nudging strength that was used.
    pub beta: Beta,
    /// How each sample ended in the nudged phase; of a centred nudge in that of the larger strength, then
    /// each in that of the smaller one.
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
/// `free` is the equilibrium `s*` of `relaxation`; `forces` hold `dC/ds` there. A nudged phase relaxes the
/// deviation `d = s - s*`, from the answer of the nudged layers alone; the two of a centred nudge run side
/// by side as one batch. The dynamics are those of the network, in terms of what changes,
///
/// ```text
/// d_k = g_k( c_k ( a_k* + e_k ) ) - g_k( c_k a_k* ),    e_k = sum_l W_kl d_l + R_k d_k - beta delta_k
/// ```
///
/// where `a_k*` is the drive of layer `k` at `s*`. So neither the size of a nudge nor how many layers
/// weaken it on its way costs digits, and what the free phase left to go is not divided by `beta`. The
/// residual that [`Nudge::rule`] stops at is relative to `d`, each layer divided by its gain. No automatic
/// differentiation is involved and memory does not grow with the number of sweeps.
///
/// # Errors
///
/// [`ModelError::Setting`] for a strength that is not positive and finite, [`ModelError::Shape`]
/// for a force or an equilibrium that does not fit, [`ModelError::Network`] for a force on a layer
/// that does not relax, [`ModelError::NotFinite`] for forces that are not finite with
/// [`Strength::Size`], [`ModelError::Solver`] for a damping out of range. With
/// [`Strength::SizeOnDevice`], which reads nothing, one force that is not finite makes `beta`, and
/// with it the whole gradient, not a number.
pub fn gradient(
    relaxation: &Relaxation<'_>,
    free: &Equilibrium,
    forces: &[Force],
    nudge: &Nudge,
) -> Result<EpGradient, ModelError> {
    let beta = strength::resolve(nudge.strength, relaxation.network());
    estimate(relaxation, free, Cost::Forces(forces), nudge, beta)
}

/// The gradient of the cost of a [`Readout`] by equilibrium propagation; otherwise as [`gradient`].
///
/// # Errors
///
/// As [`gradient`], of the readout's error in place of a force; [`ModelError::Network`] for a
/// readout of a layer that no other is coupled with.
pub fn readout_gradient(
    relaxation: &Relaxation<'_>,
    free: &Equilibrium,
    readout: &Readout,
    nudge: &Nudge,
) -> Result<EpGradient, ModelError> {
    let beta = strength::resolve(nudge.strength, relaxation.network());
    estimate(relaxation, free, Cost::Readout(readout), nudge, beta)
}

/// How a cost acts on a network.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cost<'c> {
    Forces(&'c [Force]),
    Readout(&'c Readout),
}

/// The gradient of a cost, where `beta` gives the strength of the nudge for forces on a number of
/// samples.
pub(crate) fn estimate(
    relaxation: &Relaxation<'_>,
    free: &Equilibrium,
    cost: Cost<'_>,
    nudge: &Nudge,
    beta: impl FnOnce(&[Force], usize) -> Result<Beta, ModelError>,
) -> Result<EpGradient, ModelError> {
    let network = relaxation.network();
    check(relaxation, free, cost)?;
    let device = free.free.component(0).device();
    let settled = Kept::new(&counts(nudge.unconverged, &[&free.outcomes]), &device);
    let pull = match cost {
        Cost::Forces(_) => None,
        Cost::Readout(readout) => Some(Pull::new(network, readout, &settled)),
    };
    let forces: Vec<Force> = match (cost, &pull) {
        (Cost::Forces(forces), _) => {
            forces.iter().map(|f| Force { force: settled.only(f.force.clone()), ..*f }).collect()
        }
        (_, pull) => pull.iter().flat_map(|pull| pull.forces(relaxation)).collect(),
    };
    let beta = beta(&forces, settled.count())?;
    let signs = nudge.nudging.signs();
    let nudges: Vec<f64> = signs.into_iter().filter(|&sign| sign != 0.0).collect();
    let pushes: Vec<_> = forces
        .iter()
        .map(|Force { layer, force }| {
            let each = nudges.iter().map(|&sign| beta.times(force.clone(), sign));
            (*layer, each.collect())
        })
        .collect();
    let (damping, rule) = (nudge.damping, &nudge.rule);
    let solution = deviations(relaxation, &free.free, &pushes, nudges.len(), damping, rule)?;
    let outcomes = solution.outcomes;
    let kept = Kept::new(&counts(nudge.unconverged, &[&free.outcomes, &outcomes]), &device);
    let layers = relaxation.free_layers();
    let mut held = free.states.clone();
    for &k in layers {
        held[k] = None;
    }
    // `s* + d` beside `s*`, or beside another deviation from it.
    let twice_free = free.free.map(|s| s.mul_scalar(2.0));
    let [sum, difference] = match nudge.nudging {
        Nudging::Centred => {
            let [a, b] = halves(&solution.state);
            [a.clone().zip(b.clone(), |a, b| a + b), a.zip(b, |a, b| a - b)]
        }
        Nudging::Positive => [solution.state.clone(), solution.state],
        Nudging::Negative => [solution.state.clone(), solution.state.map(Tensor::neg)],
    };
    let sum = twice_free.zip(sum, |s, d| s + d);
    let moved = sum.into_components().into_iter().zip(difference.into_components());
    let moved = layers.iter().zip(moved).map(|(&k, (sum, difference))| (k, sum, difference));
    let contrast = Contrast::new(held, moved, &kept, (beta, signs[0] - signs[1]));
    let result = gradients(network, contrast, outcomes);
    Ok(match pull {
        Some(pull) => pull.complete(result, relaxation, free, &kept),
        None => result,
    })
}

/// Refuses a cost or an equilibrium that does not belong to `relaxation`.
fn check(
    relaxation: &Relaxation<'_>,
    free: &Equilibrium,
    cost: Cost<'_>,
) -> Result<(), ModelError> {
    let network = relaxation.network();
    let rows = relaxation.batch();
    let size = |k: usize| network.layers[k].spec.size;
    let name = |k: usize| network.layers.get(k).map_or("?", |l| l.spec.name.as_str());
    for &k in relaxation.free_layers() {
        let state = free.states.get(k).and_then(Option::as_ref);
        let state = state.ok_or_else(|| {
            ModelError::Network(format!("the equilibrium has no state of layer {}", name(k)))
        })?;
        require_shape(format!("the equilibrium of layer {}", name(k)), state, [rows, size(k)])?;
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
        Cost::Readout(Readout { layer: k, error }) => {
            let coupled = |c: &crate::Coupling| c.lower == *k || c.upper == *k;
            if !network.couplings.iter().any(coupled) {
                let text = format!("a readout of layer {k} ({}), which has no coupling", name(*k));
                return Err(ModelError::Network(text));
            }
            require_shape(format!("the error of layer {}", name(*k)), error, [rows, size(*k)])?;
        }
    }
    Ok(())
}

/// The gradient of every parameter.
fn gradients(network: &HopfieldNetwork, contrast: Contrast, outcomes: Vec<Outcome>) -> EpGradient {
    let weights = network.couplings.iter().map(|c| {
        let gradient = if c.is_recurrent() {
            contrast.recurrent(c)
        } else {
            contrast.weight(c.lower, c.upper)
        };
        gradient.unwrap_or_else(|| c.weight.val().zeros_like())
    });
    let biases = network.layers.iter().enumerate();
    let biases = biases.map(|(k, layer)| layer.bias.as_ref().and_then(|_| contrast.bias(k)));
    let (weights, biases) = (weights.collect(), biases.collect());
    let direct = vec![None; network.layers.len()];
    let (difference, beta, spread) = contrast.into_parts();
    EpGradient { weights, biases, difference, direct, spread, beta, outcomes }
}
