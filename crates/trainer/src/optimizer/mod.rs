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

use anyhow::{Context, Result, ensure};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use hvae_device::read;
use hvae_model::{ReadPolicy, Scalar};
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
    /// Also returns the squared norm of the gradient, which [`ReadPolicy::Deferred`] leaves on the
    /// device.
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
    ) -> Result<(M, Scalar)> {
        let square = squared_norm(&model, gradients)?;
        let (square, clip) = match reads {
            ReadPolicy::Deferred => {
                let clip = max_norm.map(|max| {
                    let norm = square.clone().sqrt().clamp_min(f32::MIN_POSITIVE);
                    norm.recip().mul_scalar(max).clamp_max(1.0)
                });
                (Scalar::Device(square), clip.map(Scalar::Device))
            }
            ReadPolicy::EveryStep => {
                let square = f64::from(read(square)[0]);
                let norm = norm(square)?;
                let clip = max_norm.map_or(1.0, |max| (max / norm.max(f64::MIN_POSITIVE)).min(1.0));
                (Scalar::Host(square), (clip < 1.0).then_some(Scalar::Host(clip)))
            }
        };
        self.steps += 1;
        let mut update = Update { optimizer: self, gradients, learning_rate, clip };
        Ok((model.map(&mut update), square))
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

/// The norms of several gradients, from their squares, in at most one read of the device.
///
/// # Errors
///
/// When one is not finite.
pub(crate) fn read_norms<'a>(
    squares: impl Iterator<Item = &'a Scalar> + Clone,
) -> Result<Vec<f64>> {
    let on_device = |square: &Scalar| match square {
        Scalar::Device(square) => Some(square.clone()),
        Scalar::Host(_) => None,
    };
    let pending: Vec<Tensor<1>> = squares.clone().filter_map(on_device).collect();
    let read = if pending.is_empty() { Vec::new() } else { read(Tensor::cat(pending, 0)) };
    let mut read = read.into_iter().map(f64::from);
    let value = |square: &Scalar| match square {
        Scalar::Host(value) => *value,
        Scalar::Device(_) => read.next().expect("every square on the device was read"),
    };
    squares.map(value).map(norm).collect()
}

/// The norm, from its square.
fn norm(square: f64) -> Result<f64> {
    ensure!(
        square.is_finite(),
        "the gradient is not finite; lower training.learning_rate or ep.nudge"
    );
    Ok(square.sqrt())
}

/// Applies one step to every parameter.
struct Update<'a> {
    optimizer: &'a mut Optimizer,
    gradients: &'a GradientsParams,
    learning_rate: f64,
    clip: Option<Scalar>,
}

impl ModuleMapper for Update<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        let shape = tensor.dims();
        let gradient = self.gradients.get::<D>(id).expect("squared_norm has seen every gradient");
        let gradient = gradient.reshape([-1]);
        let gradient = match &self.clip {
            Some(clip) => clip.times(gradient, 1.0),
            None => gradient,
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
    ensure!(sum.missing == 0, "{} parameters have no gradient", sum.missing);
    Ok(Tensor::cat(sum.squares, 0).sum())
}
