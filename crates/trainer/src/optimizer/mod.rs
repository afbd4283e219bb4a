//! Optimizers on plain tensors, with a state that can be saved whole.
//!
//! A [`Rule`] says how one parameter moves, in its own file: [`Adam`](adam::AdamRule),
//! [`SGD`](sgd::SgdRule), [`Madam`](madam::MadamRule). An [`Optimizer`] applies one to a whole model.

pub mod adam;
pub mod madam;
pub mod sgd;

use std::collections::HashMap;

use anyhow::{Context, Result, bail};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

/// Which rule moves the parameters.
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
    pub fn rule(self, momentum: f64) -> Box<dyn Rule> {
        match self {
            Self::Adam => Box::new(adam::AdamRule::new()),
            Self::Sgd => Box::new(sgd::SgdRule { momentum }),
        }
    }
}

/// How one parameter moves. Parameters, gradients and memory are flat, `[n]`.
pub trait Rule: Send {
    /// Tensors of memory per parameter, each of its size and 0 at the beginning.
    fn memory(&self) -> usize;

    /// The parameter after its step number `step` (from 1) at `rate`, and its memory then.
    fn step(
        &self,
        step: usize,
        rate: f64,
        value: Tensor<1>,
        gradient: Tensor<1>,
        memory: Vec<Tensor<1>>,
    ) -> (Tensor<1>, Vec<Tensor<1>>);
}

/// A [`Rule`] for all parameters of a model, with a learning-rate factor each.
///
/// It works on tensors without automatic differentiation, so no graph is ever recorded. Memory is
/// kept flat, one entry per parameter id.
pub struct Optimizer {
    rule: Box<dyn Rule>,
    scales: HashMap<ParamId, f64>,
    memory: HashMap<ParamId, Vec<Tensor<1>>>,
    steps: usize,
}

impl std::fmt::Debug for Optimizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Optimizer")
            .field("parameters", &self.memory.len())
            .field("steps", &self.steps)
            .finish_non_exhaustive()
    }
}

impl Optimizer {
    /// A fresh optimizer, with these learning-rate factors.
    pub fn new(rule: Box<dyn Rule>, scales: Vec<(ParamId, f64)>) -> Self {
        let scales = scales.into_iter().collect();
        Self { rule, scales, memory: HashMap::new(), steps: 0 }
    }

    /// One step of `learning_rate`, times each parameter's factor. `max_norm` clips the gradient.
    /// Also gives the gradient's norm, with `quiet` unread.
    ///
    /// # Errors
    ///
    /// When a parameter has no gradient, or the gradient is not finite (with `quiet` whoever
    /// reads its norm finds out): the model is then lost, the last checkpoint is not.
    pub fn step<M: Module>(
        &mut self,
        model: M,
        gradients: &GradientsParams,
        learning_rate: f64,
        max_norm: Option<f64>,
        quiet: bool,
    ) -> Result<(M, GradientNorm)> {
        let square = squared_norm(&model, gradients)?;
        let (norm, clip) = if quiet {
            let clip = max_norm.map(|max| {
                let norm = square.clone().sqrt().clamp_min(f32::MIN_POSITIVE);
                norm.recip().mul_scalar(max).clamp_max(1.0)
            });
            (GradientNorm::OnDevice(square), clip.map_or(Clip::None, Clip::OnDevice))
        } else {
            let norm = finite_norm(hvae_device::read(square)[0])?;
            let clip = max_norm.map_or(1.0, |max| (max / norm.max(f64::MIN_POSITIVE)).min(1.0));
            (GradientNorm::Known(norm), if clip < 1.0 { Clip::Known(clip) } else { Clip::None })
        };
        self.steps += 1;
        let mut update = Update { optimizer: self, gradients, learning_rate, clip };
        Ok((model.map(&mut update), norm))
    }

    /// The memory as models: each holds, in place of a parameter, one tensor of its memory; and
    /// the number of steps taken.
    pub fn state<M: Module>(&self, model: &M) -> (Vec<M>, usize) {
        let memory = |index: usize| {
            with_parameters(model.clone(), |id, like| match self.memory.get(&id) {
                Some(memory) => memory[index].clone(),
                None => like.zeros_like(),
            })
        };
        ((0..self.rule.memory()).map(memory).collect(), self.steps)
    }

    /// How many models [`Self::state`] gives.
    pub fn state_len(&self) -> usize {
        self.rule.memory()
    }

    /// Takes up the state that [`Self::state`] gave.
    ///
    /// # Errors
    ///
    /// When it does not hold the memory of every parameter.
    pub fn restore<M: Module>(&mut self, state: &[M], steps: usize) -> Result<()> {
        self.memory.clear();
        self.steps = steps;
        if steps == 0 {
            return Ok(());
        }
        for model in state {
            for (id, tensor) in flat_parameters(model) {
                self.memory.entry(id).or_default().push(tensor);
            }
        }
        let whole = self.memory.values().all(|memory| memory.len() == self.rule.memory());
        whole.then_some(()).context("the optimizer's state does not fit the model")
    }
}

/// The Euclidean norm of a step's gradient.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant, reason = "there are a handful in a step")]
pub enum GradientNorm {
    /// Known to the host, and finite.
    Known(f64),
    /// Its square, still on the device, `[1]`.
    OnDevice(Tensor<1>),
}

/// The norm, from its square.
///
/// # Errors
///
/// When it is not finite.
pub fn finite_norm(square: f32) -> Result<f64> {
    if !square.is_finite() {
        bail!("the gradient is not a finite number; lower learning_rate or the nudging strengths");
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
        let Optimizer { rule, scales, memory, steps } = &mut *self.optimizer;
        let rate = self.learning_rate * scales.get(&id).copied().unwrap_or(1.0);
        let value = tensor.reshape([-1]);
        // Taken out, not cloned: a tensor held once is updated in place.
        let before = memory.remove(&id).unwrap_or_else(|| vec![value.zeros_like(); rule.memory()]);
        let (value, after) = rule.step(*steps, rate, value, gradient, before);
        memory.insert(id, after);
        Param::from_mapped_value(id, value.reshape(shape), mapper)
    }
}

/// Replaces every parameter by a function of its id and flat value.
struct Replace<F>(F);

impl<F: Fn(ParamId, Tensor<1>) -> Tensor<1>> ModuleMapper for Replace<F> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        let shape = tensor.dims();
        Param::from_mapped_value(id, (self.0)(id, tensor.reshape([-1])).reshape(shape), mapper)
    }
}

/// The value of every parameter, flat, by its id.
pub(crate) fn flat_parameters<M: Module>(model: &M) -> HashMap<ParamId, Tensor<1>> {
    struct Collect(HashMap<ParamId, Tensor<1>>);
    impl ModuleVisitor for Collect {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.insert(param.id, param.val().reshape([-1]));
        }
    }
    let mut collect = Collect(HashMap::new());
    model.visit(&mut collect);
    collect.0
}

/// `model` with every parameter replaced by `value(id, old)`, both flat.
pub(crate) fn with_parameters<M: Module>(
    model: M,
    value: impl Fn(ParamId, Tensor<1>) -> Tensor<1>,
) -> M {
    model.map(&mut Replace(value))
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
