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
use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use hvae_device::{HostValues, read};
use hvae_model::{ReadPolicy, Scalar};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::optimizer::parameters::{flat_parameters, with_parameters};
use crate::optimizer::rule::{CHUNK, Rule};

/// The error of a gradient that is not finite.
pub(crate) const NOT_FINITE: &str = "the gradient is not finite";

/// Which rule updates the parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum OptimizerKind {
    Adam,
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
    /// Steps taken before a parameter was added, where it was.
    begun: HashMap<ParamId, usize>,
    steps: usize,
}

impl Optimizer {
    /// An optimizer before its first step, with these learning-rate factors.
    pub(crate) fn new(rule: Box<dyn Rule>, scales: Vec<(ParamId, f64)>) -> Self {
        let scales = scales.into_iter().collect();
        Self { rule, scales, state: HashMap::new(), begun: HashMap::new(), steps: 0 }
    }

    /// Adds parameters to the model, with this learning-rate factor, after `begun` steps: the
    /// moments of the rule count from there.
    pub(crate) fn add(&mut self, ids: impl Iterator<Item = ParamId>, scale: f64, begun: usize) {
        for id in ids {
            self.scales.insert(id, scale);
            self.begun.insert(id, begun);
        }
    }

    /// Steps taken.
    pub(crate) fn steps(&self) -> usize {
        self.steps
    }

    /// One step of `learning_rate`, times each parameter's factor, on `model`, which must be there.
    /// `max_norm` clips the gradient. Returns its squared norm, which [`ReadPolicy::Deferred`]
    /// leaves on the device. After an error the model is as before.
    pub(crate) fn step<M: Module>(
        &mut self,
        model: &mut Option<M>,
        gradients: &GradientsParams,
        learning_rate: f64,
        max_norm: Option<f64>,
        reads: ReadPolicy,
    ) -> Result<Scalar> {
        let before = model.as_ref().expect("a model to update");
        let (mut gradients, square) = flat_gradients(before, gradients)?;
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
        let Self { rule, scales, state, begun, steps } = self;
        // Taken, not cloned: a tensor with one owner is updated in place.
        *model = model.take().map(|model| {
            with_parameters(model, |id, value| {
                let mut gradient = gradients.remove(&id).expect("every parameter has a gradient");
                if let Some(clip) = &clip {
                    gradient = clip.times(gradient, 1.0);
                }
                let rate = learning_rate * scales.get(&id).copied().unwrap_or(1.0);
                let before =
                    state.remove(&id).unwrap_or_else(|| vec![value.zeros_like(); rule.state_len()]);
                let step = *steps - begun.get(&id).copied().unwrap_or(0);
                let (value, after) = rule.step(step, rate, value, gradient, before);
                state.insert(id, after);
                value
            })
        });
        Ok(square)
    }

    /// Models with a tensor of state in place of each parameter, and the number of steps taken.
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
    ensure!(square.is_finite(), "{NOT_FINITE}");
    Ok(square.sqrt())
}

/// The gradient of every parameter, flat, and the squared Euclidean norm over all, `[1]`.
fn flat_gradients<M: Module>(
    model: &M,
    gradients: &GradientsParams,
) -> Result<(HashMap<ParamId, Tensor<1>>, Tensor<1>)> {
    struct Collect<'a> {
        gradients: &'a GradientsParams,
        flat: HashMap<ParamId, Tensor<1>>,
        squares: Vec<Tensor<1>>,
        missing: usize,
    }
    impl ModuleVisitor for Collect<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let Some(gradient) = self.gradients.get::<D>(param.id) else {
                self.missing += 1;
                return;
            };
            self.squares.push(square(&gradient));
            self.flat.insert(param.id, gradient.reshape([-1]));
        }
    }
    let mut found = Collect { gradients, flat: HashMap::new(), squares: Vec::new(), missing: 0 };
    model.visit(&mut found);
    ensure!(found.missing == 0, "{} parameters have no gradient", found.missing);
    Ok((found.flat, Tensor::cat(found.squares, 0).sum()))
}

/// The squared Euclidean norm of a tensor, `[1]`; in host memory in one pass on all threads.
fn square<const D: usize>(tensor: &Tensor<D>) -> Tensor<1> {
    let Some(values) = HostValues::of(tensor) else {
        return tensor.clone().square().sum();
    };
    // Sums side by side: one alone would wait for itself.
    let of_chunk = |chunk: &[f32]| {
        let mut sums = [0.0_f64; 8];
        for values in chunk.chunks(sums.len()) {
            sums.iter_mut().zip(values).for_each(|(sum, &x)| *sum += f64::from(x) * f64::from(x));
        }
        sums.iter().sum::<f64>()
    };
    let squares: Vec<f64> = values.par_chunks(CHUNK).map(of_chunk).collect();
    Tensor::from_floats([squares.iter().sum::<f64>() as f32], &tensor.device())
}

/// `decay * average + (1 - decay) * model`, parameter by parameter (an exponential moving average;
/// Polyak & Juditsky 1992), computed as `average + (1 - decay) (model - average)`, which leaves an
/// average unchanged that equals the model.
pub(crate) fn averaged<M: Module>(average: M, model: &M, decay: f64) -> M {
    let values = flat_parameters(model);
    with_parameters(average, |id, old: Tensor<1>| {
        let value = &values[&id];
        let Some(value) = HostValues::of(value) else {
            return old.clone() + (value.clone() - old).mul_scalar(1.0 - decay);
        };
        let mut old = HostValues::take(old).expect("both models lie on one device");
        let share = (1.0 - decay) as f32;
        old.par_chunks_mut(CHUNK).zip(value.par_chunks(CHUNK)).for_each(|(old, value)| {
            for (old, value) in old.iter_mut().zip(value) {
                *old += share * (value - *old);
            }
        });
        old.into_tensor()
    })
}
