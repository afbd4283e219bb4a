//! Optimizers on plain tensors, with a state that can be saved.
//!
//! A [`Rule`] says how one parameter is updated, in its own file: Adam, SGD, Madam. An
//! [`Optimizer`] applies one to a whole model.

pub(crate) mod adam;
pub(crate) mod madam;
pub(crate) mod parameters;
pub(crate) mod rule;
pub(crate) mod sgd;

use std::collections::HashMap;

use anyhow::{Context, Result, bail};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use hvae_model::ReadPolicy;
use serde::{Deserialize, Serialize};

use crate::optimizer::parameters::{flat_parameters, with_parameters};
use crate::optimizer::rule::Rule;

/// Which rule updates the parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OptimizerKind {
    /// Adam (Kingma & Ba 2015, arXiv 1412.6980).
    Adam,
    /// Stochastic gradient descent with momentum.
    Sgd,
}

impl OptimizerKind {
    /// The rule; `momentum` is that of [`Self::Sgd`].
    pub(crate) fn rule(self, momentum: f64) -> Box<dyn Rule> {
        match self {
            Self::Adam => Box::new(adam::AdamRule::new()),
            Self::Sgd => Box::new(sgd::SgdRule { momentum }),
        }
    }
}

/// A [`Rule`] for all parameters of a model, with a learning-rate factor for each.
///
/// It works on tensors without automatic differentiation, so no graph is recorded. State is kept
/// flat, by parameter id.
pub(crate) struct Optimizer {
    rule: Box<dyn Rule>,
    scales: HashMap<ParamId, f64>,
    state: HashMap<ParamId, Vec<Tensor<1>>>,
    steps: usize,
}

impl std::fmt::Debug for Optimizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Optimizer")
            .field("parameters", &self.state.len())
            .field("steps", &self.steps)
            .finish_non_exhaustive()
    }
}

impl Optimizer {
    /// An optimizer before its first step, with these learning-rate factors.
    pub(crate) fn new(rule: Box<dyn Rule>, scales: Vec<(ParamId, f64)>) -> Self {
        let scales = scales.into_iter().collect();
        Self { rule, scales, state: HashMap::new(), steps: 0 }
    }

    /// One step of `learning_rate`, times each parameter's factor. `max_norm` clips the gradient.
    /// Also returns the gradient's norm, which [`ReadPolicy::Deferred`] leaves on the device.
    ///
    /// # Errors
    ///
    /// When a parameter has no gradient, or the gradient is not finite (if deferred, [`read_norms`]
    /// reports that). The model is then lost, the last checkpoint is not.
    pub(crate) fn step<M: Module>(
        &mut self,
        model: M,
        gradients: &GradientsParams,
        learning_rate: f64,
        max_norm: Option<f64>,
        reads: ReadPolicy,
    ) -> Result<(M, GradientNorm)> {
        let square = squared_norm(&model, gradients)?;
        let (norm, clip) = match reads {
            ReadPolicy::Deferred => {
                let clip = max_norm.map(|max| {
                    let norm = square.clone().sqrt().clamp_min(f32::MIN_POSITIVE);
                    norm.recip().mul_scalar(max).clamp_max(1.0)
                });
                (GradientNorm::OnDevice(square), clip.map_or(Clip::None, Clip::OnDevice))
            }
            ReadPolicy::EveryStep => {
                let norm = finite_norm(hvae_device::read(square)[0])?;
                let clip = max_norm.map_or(1.0, |max| (max / norm.max(f64::MIN_POSITIVE)).min(1.0));
                (GradientNorm::Known(norm), if clip < 1.0 { Clip::Known(clip) } else { Clip::None })
            }
        };
        self.steps += 1;
        let mut update = Update { optimizer: self, gradients, learning_rate, clip };
        Ok((model.map(&mut update), norm))
    }

    /// The state as models: each holds, in place of a parameter, one tensor of its state; and the
    /// number of steps taken.
    pub(crate) fn state<M: Module>(&self, model: &M) -> (Vec<M>, usize) {
        let state = |index: usize| {
            with_parameters(model.clone(), |id, like| match self.state.get(&id) {
                Some(state) => state[index].clone(),
                None => like.zeros_like(),
            })
        };
        ((0..self.rule.state_len()).map(state).collect(), self.steps)
    }

    /// How many models [`Self::state`] returns.
    pub(crate) fn state_len(&self) -> usize {
        self.rule.state_len()
    }

    /// Replaces the state by one that [`Self::state`] returned.
    ///
    /// # Errors
    ///
    /// When it does not hold the state of every parameter.
    pub(crate) fn restore<M: Module>(&mut self, state: &[M], steps: usize) -> Result<()> {
        self.state.clear();
        self.steps = steps;
        if steps == 0 {
            return Ok(());
        }
        for model in state {
            for (id, tensor) in flat_parameters(model) {
                self.state.entry(id).or_default().push(tensor);
            }
        }
        let complete = self.state.values().all(|state| state.len() == self.rule.state_len());
        complete.then_some(()).context("the optimizer's state does not fit the model")
    }
}

/// The Euclidean norm of a step's gradient.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant, reason = "there are a handful in a step")]
pub(crate) enum GradientNorm {
    /// Known to the host, and finite.
    Known(f64),
    /// Its square, still on the device, `[1]`.
    OnDevice(Tensor<1>),
}

/// The norms of several steps, in at most one read of the device.
///
/// # Errors
///
/// When one is not finite.
pub(crate) fn read_norms<'a>(
    norms: impl Iterator<Item = &'a GradientNorm> + Clone,
) -> Result<Vec<f64>> {
    let on_device = norms.clone().filter_map(|norm| match norm {
        GradientNorm::OnDevice(square) => Some(square.clone()),
        GradientNorm::Known(_) => None,
    });
    let squares: Vec<Tensor<1>> = on_device.collect();
    let read =
        if squares.is_empty() { Vec::new() } else { hvae_device::read(Tensor::cat(squares, 0)) };
    let mut read = read.into_iter();
    norms
        .map(|norm| match norm {
            GradientNorm::Known(norm) => Ok(*norm),
            GradientNorm::OnDevice(_) => finite_norm(read.next().context("every norm is read")?),
        })
        .collect()
}

/// The norm, from its square.
fn finite_norm(square: f32) -> Result<f64> {
    if !square.is_finite() {
        bail!("the gradient is not finite; lower training.learning_rate or ep.nudge");
    }
    Ok(f64::from(square).sqrt())
}

/// Factor on the gradient.
#[allow(clippy::large_enum_variant, reason = "there are a handful in a step")]
enum Clip {
    None,
    Known(f64),
    OnDevice(Tensor<1>),
}

/// Applies one step to every parameter.
struct Update<'a> {
    optimizer: &'a mut Optimizer,
    gradients: &'a GradientsParams,
    learning_rate: f64,
    clip: Clip,
}

impl ModuleMapper for Update<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        let shape = tensor.dims();
        let gradient = self.gradients.get::<D>(id).expect("squared_norm has seen every gradient");
        let gradient = gradient.reshape([-1]);
        let gradient = match &self.clip {
            Clip::None => gradient,
            Clip::Known(clip) => gradient.mul_scalar(*clip),
            Clip::OnDevice(clip) => gradient * clip.clone(),
        };
        let Optimizer { rule, scales, state, steps } = &mut *self.optimizer;
        let rate = self.learning_rate * scales.get(&id).copied().unwrap_or(1.0);
        let value = tensor.reshape([-1]);
        // Removed, not cloned: a tensor with one owner is updated in place.
        let before =
            state.remove(&id).unwrap_or_else(|| vec![value.zeros_like(); rule.state_len()]);
        let (value, after) = rule.step(*steps, rate, value, gradient, before);
        state.insert(id, after);
        Param::from_mapped_value(id, value.reshape(shape), mapper)
    }
}

/// Squared Euclidean norm over all gradients, `[1]`; an error when a parameter has none.
fn squared_norm<M: Module>(model: &M, gradients: &GradientsParams) -> Result<Tensor<1>> {
    struct Sum<'a> {
        gradients: &'a GradientsParams,
        squares: Vec<Tensor<1>>,
        missing: usize,
    }
    impl ModuleVisitor for Sum<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            match self.gradients.get::<D>(param.id) {
                Some(gradient) => self.squares.push(gradient.square().sum()),
                None => self.missing += 1,
            }
        }
    }
    let mut sum = Sum { gradients, squares: Vec::new(), missing: 0 };
    model.visit(&mut sum);
    if sum.missing > 0 {
        bail!("{} parameters have no gradient", sum.missing);
    }
    Ok(Tensor::cat(sum.squares, 0).sum())
}
