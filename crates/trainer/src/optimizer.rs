//! Adam on plain tensors, with a state that can be saved whole.

use std::collections::HashMap;

use anyhow::{Result, bail};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::{Adam, AdamConfig, AdamState, AdaptiveMomentumState, GradientsParams, Optimizer};
use burn::tensor::Tensor;
use hvae_model::Vae;

/// PyTorch's default; Burn's own is 1e-5.
const EPSILON: f32 = 1e-8;

/// Adam (Kingma & Ba 2015, arXiv 1412.6980) with a learning-rate factor per parameter.
///
/// It works on tensors without automatic differentiation, so no graph is ever recorded. Moments
/// are kept flat, one entry per parameter id.
pub struct AdamOptimizer {
    adam: Adam,
    scales: HashMap<ParamId, f64>,
    moments: HashMap<ParamId, AdamState<1>>,
}

impl std::fmt::Debug for AdamOptimizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AdamOptimizer")
            .field("parameters", &self.moments.len())
            .finish_non_exhaustive()
    }
}

impl AdamOptimizer {
    /// A fresh optimizer, with these learning-rate factors.
    pub fn new(scales: Vec<(ParamId, f64)>) -> Self {
        let adam = AdamConfig::new().with_epsilon(EPSILON).build();
        Self { adam, scales: scales.into_iter().collect(), moments: HashMap::new() }
    }

    /// One step of `learning_rate`, times each parameter's factor. `max_norm` clips the gradient.
    ///
    /// # Errors
    ///
    /// When a parameter has no gradient, or the gradient is not finite: the model is then lost,
    /// the last checkpoint is not.
    pub fn step(
        &mut self,
        model: Vae,
        gradients: &GradientsParams,
        learning_rate: f64,
        max_norm: Option<f64>,
    ) -> Result<(Vae, f64)> {
        let norm = gradient_norm(&model, gradients)?;
        if !norm.is_finite() {
            bail!(
                "the gradient is not a finite number; lower learning_rate or the nudging strengths"
            );
        }
        let clip = max_norm.map_or(1.0, |max| (max / norm.max(f64::MIN_POSITIVE)).min(1.0));
        let mut update = Update { optimizer: self, gradients, learning_rate, clip };
        Ok((model.map(&mut update), norm))
    }

    /// The moments as models: each holds, in place of a parameter, its first or second moment;
    /// and the number of steps taken.
    pub fn state(&self, model: &Vae) -> (Vae, Vae, usize) {
        let moment = |pick: fn(&AdaptiveMomentumState<1>) -> &Tensor<1>| {
            model.clone().map(&mut Replace(|id, like: Tensor<1>| match self.moments.get(&id) {
                Some(state) => pick(&state.momentum).clone(),
                None => like.zeros_like(),
            }))
        };
        let steps = self.moments.values().map(|s| s.momentum.time).max().unwrap_or(0);
        (moment(|m| &m.moment_1), moment(|m| &m.moment_2), steps)
    }

    /// Takes up the state that [`Self::state`] gave.
    pub fn restore(&mut self, first: &Vae, second: &Vae, steps: usize) {
        self.moments.clear();
        if steps == 0 {
            return;
        }
        let second = flat_parameters(second);
        for (id, moment_1) in flat_parameters(first) {
            let moment_2 = second[&id].clone();
            let momentum = AdaptiveMomentumState::new(steps, moment_1, moment_2);
            self.moments.insert(id, AdamState::new(momentum));
        }
    }
}

/// Applies one step to every parameter.
struct Update<'a> {
    optimizer: &'a mut AdamOptimizer,
    gradients: &'a GradientsParams,
    learning_rate: f64,
    clip: f64,
}

impl ModuleMapper for Update<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        let shape = tensor.dims();
        let gradient = self.gradients.get::<D>(id).expect("gradient_norm has seen every gradient");
        let gradient = gradient.reshape([-1]);
        let gradient = if self.clip < 1.0 { gradient.mul_scalar(self.clip) } else { gradient };
        let scale = self.optimizer.scales.get(&id).copied().unwrap_or(1.0);
        let moments = self.optimizer.moments.remove(&id);
        let rate = self.learning_rate * scale;
        let (tensor, moments) =
            self.optimizer.adam.step(rate, tensor.reshape([-1]), gradient, moments);
        if let Some(moments) = moments {
            self.optimizer.moments.insert(id, moments);
        }
        Param::from_mapped_value(id, tensor.reshape(shape), mapper)
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

fn flat_parameters(model: &Vae) -> HashMap<ParamId, Tensor<1>> {
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

/// Euclidean norm over all gradients; an error when a parameter has none.
fn gradient_norm(model: &Vae, gradients: &GradientsParams) -> Result<f64> {
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
    let squares: f32 = Tensor::cat(sum.squares, 0).sum().into_scalar();
    Ok(f64::from(squares).sqrt())
}
