//! Symmetric networks: layers, couplings, energy and its gradients.

use std::ops::RangeInclusive;

use burn::module::{Module, Param, ParamId};
use burn::tensor::{Device, Tensor, TensorData};
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use crate::drive::is_plain_cpu;
use crate::error::require_shape;
use crate::{Activation, Coupling, ModelError};

/// What a layer is: its size, nonlinearity and gain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerSpec {
    /// Name used in messages and logs, such as `hidden1`.
    pub name: String,
    /// Number of units.
    pub size: usize,
    /// Nonlinearity `g`.
    pub activation: Activation,
    /// Gain `c > 0`: `s = g(c a)`, that is, the layer's energy is `A(s) / c`.
    pub gain: f64,
    /// Whether the layer has a bias; a layer that is always clamped needs none.
    pub bias: bool,
}

/// A layer of a [`HopfieldNetwork`].
#[derive(Module, Debug)]
pub struct Layer {
    /// Bias `b`, `[size]`; starts uniform in `+-1/sqrt(fan in)`, divided by the gain.
    pub bias: Option<Param<Tensor<1>>>,
    /// What the layer is.
    #[module(skip)]
    pub spec: LayerSpec,
}

/// A network of layers with symmetric couplings and the energy
///
/// ```text
/// E(s) = sum_k [ A_k(s_k)/c_k - <b_k, s_k> ] - sum_{k<l} <s_k, W_kl s_l> - 1/2 sum_k <s_k, R_k s_k>
/// ```
///
/// so that an equilibrium satisfies `s_k = g_k(c_k (b_k + sum_l W_kl s_l + R_k s_k))`
/// (Hopfield 1984; HAM form of Krotov 2021, arXiv 2107.06446).
#[derive(Module, Debug)]
pub struct HopfieldNetwork {
    /// The layers, in the order in which signals first pass through them.
    pub layers: Vec<Layer>,
    /// The couplings.
    pub couplings: Vec<Coupling>,
}

impl HopfieldNetwork {
    /// A chain: each layer coupled with the next.
    ///
    /// # Errors
    ///
    /// As [`Self::new`].
    pub fn layered(
        layers: Vec<LayerSpec>,
        rng: &mut impl Rng,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let pairs: Vec<_> = (1..layers.len()).map(|l| (l - 1, l)).collect();
        Self::new(layers, &pairs, rng, device)
    }

    /// A network with a coupling for every pair of `couplings`; a pair `(k, k)` stands for the
    /// couplings within layer `k`.
    ///
    /// Weights start uniform in `+-r/c`, where `c` is the gain of the upper layer and, with `n`
    /// the size of the lower one, `r = sqrt(6/n)` below a rectified layer (He et al. 2015, arXiv
    /// 1502.01852) and `1/sqrt(n)` otherwise; biases in `+-1/(c sqrt(n))`. The signal that passes
    /// from layer to layer so does not depend on the gains.
    ///
    /// # Errors
    ///
    /// [`ModelError::Network`] without layers, for an empty layer, a gain outside 1e-15 to 1e15, or
    /// a coupling that names a layer which does not exist or is given twice.
    pub fn new(
        layers: Vec<LayerSpec>,
        couplings: &[(usize, usize)],
        rng: &mut impl Rng,
        device: &Device,
    ) -> Result<Self, ModelError> {
        check(&layers, couplings)?;
        let couplings: Vec<Coupling> = couplings
            .iter()
            .map(|&(k, l)| {
                let (lower, upper) = (k.min(l), k.max(l));
                let (rows, columns) = (layers[lower].size, layers[upper].size);
                let bound = bound(&layers[lower], &layers[upper]);
                let mut weight = uniform(rows * columns, bound, rng);
                if lower == upper {
                    make_symmetric(&mut weight, rows);
                }
                let weight = Tensor::from_data(TensorData::new(weight, [rows, columns]), device);
                Coupling::new((lower, upper), weight)
            })
            .collect();
        let layers = layers
            .into_iter()
            .enumerate()
            .map(|(k, spec)| {
                let sources = couplings.iter().filter(|c| c.upper == k && !c.is_recurrent());
                let fan_in = sources.map(|c| c.weight.dims()[0]).max().unwrap_or(spec.size);
                let bound = 1.0 / (spec.gain * (fan_in as f64).sqrt());
                let bias = spec.bias.then(|| {
                    let bias = TensorData::new(uniform(spec.size, bound, rng), [spec.size]);
                    Param::from_tensor(Tensor::from_data(bias, device))
                });
                Layer { bias, spec }
            })
            .collect();
        Ok(Self { layers, couplings })
    }

    /// `E(s)` of every sample, `[batch]`, for the states of all layers, each `[batch, n_k]`.
    ///
    /// # Errors
    ///
    /// [`ModelError::Network`] for another number of states than of layers, [`ModelError::Shape`]
    /// for a state that does not fit its layer.
    pub fn energy(&self, states: &[Tensor<2>]) -> Result<Tensor<1>, ModelError> {
        if states.len() != self.layers.len() {
            let text = format!("{} states for {} layers", states.len(), self.layers.len());
            return Err(ModelError::Network(text));
        }
        for (layer, state) in self.layers.iter().zip(states) {
            let expected = [states[0].dims()[0], layer.spec.size];
            require_shape(format!("the state of layer {}", layer.spec.name), state, expected)?;
        }
        let own = self.layers.iter().zip(states).map(|(layer, s)| {
            let own = layer.spec.activation.conjugate(s.clone()).div_scalar(layer.spec.gain);
            match &layer.bias {
                Some(bias) => own - s.clone() * bias.val().unsqueeze(),
                None => own,
            }
            .sum_dim(1)
        });
        let bonds = self.couplings.iter().map(|c| {
            let (s, t) = (states[c.lower].clone(), states[c.upper].clone());
            let share = if c.is_recurrent() { -0.5 } else { -1.0 };
            (s.matmul(c.weight.val()) * t).sum_dim(1).mul_scalar(share)
        });
        let total = own.chain(bonds).reduce(|a, b| a + b).expect("a network has layers");
        Ok(total.squeeze_dim(1))
    }

    /// `sum_l W_kl s_l` over the layers `l` for which `states` has a tensor, `[batch, n_k]`;
    /// `None` when there is none. Couplings within the layer count as `R_k s_k`.
    pub(crate) fn field(&self, k: usize, states: &[Option<Tensor<2>>]) -> Option<Tensor<2>> {
        let mut field: Option<Tensor<2>> = None;
        for c in self.couplings.iter().filter(|c| c.lower == k || c.upper == k) {
            let source = if c.upper == k { c.lower } else { c.upper };
            let Some(s) = &states[source] else { continue };
            let term = c.field(k, s.clone());
            field = Some(match field {
                Some(sum) => term + sum,
                None => term,
            });
        }
        field
    }

    /// What the nonlinearity of layer `k` is applied to, `c_k (b_k + sum_l W_kl s_l + R_k s_k)` over
    /// the layers for which `states` has a tensor, `[batch, n_k]`.
    ///
    /// # Panics
    ///
    /// When no layer coupled with `k` has a state.
    pub(crate) fn input(&self, k: usize, states: &[Option<Tensor<2>>]) -> Tensor<2> {
        let layer = &self.layers[k];
        let field = self.field(k, states).expect("a layer that is read has a neighbour");
        let field = match &layer.bias {
            Some(bias) => field + bias.val().unsqueeze(),
            None => field,
        };
        field.mul_scalar(layer.spec.gain)
    }

    /// Number of independent parameters: of a symmetric matrix within a layer one for each pair of
    /// units that it joins.
    pub fn parameters(&self) -> usize {
        let weights = self.couplings.iter().map(Coupling::parameters);
        let biases = self.layers.iter().filter(|l| l.bias.is_some()).map(|l| l.spec.size);
        weights.chain(biases).sum()
    }

    /// Refuses weights from elsewhere under which there is no energy: within a layer they must be
    /// symmetric, and zero where units are not coupled, as on the diagonal. A part in 100,000 of the
    /// largest is taken as rounding.
    ///
    /// # Errors
    ///
    /// [`ModelError::Network`], naming the layer.
    pub fn check_couplings(&self) -> Result<(), ModelError> {
        match self.couplings.iter().find(|c| !c.is_sound()) {
            None => Ok(()),
            Some(c) => Err(ModelError::Network(format!(
                "the weights within layer {} are not symmetric, or join units that are not coupled \
                 (of pixels those farther apart than visible_reach)",
                self.layers[c.lower].spec.name
            ))),
        }
    }

    /// Adds couplings whose weights are zero.
    ///
    /// # Errors
    ///
    /// [`ModelError::Network`] as [`Self::new`].
    pub fn add_couplings(
        &mut self,
        couplings: &[(usize, usize)],
        device: &Device,
    ) -> Result<(), ModelError> {
        let there = self.couplings.iter().map(|c| (c.lower, c.upper));
        let all: Vec<_> = there.chain(couplings.iter().copied()).collect();
        let specs: Vec<_> = self.layers.iter().map(|l| l.spec.clone()).collect();
        check(&specs, &all)?;
        for &(k, l) in couplings {
            let (lower, upper) = (k.min(l), k.max(l));
            let zeros = Tensor::zeros([specs[lower].size, specs[upper].size], device);
            self.couplings.push(Coupling::new((lower, upper), zeros));
        }
        Ok(())
    }

    /// Takes away the couplings within layer `k`, whose units lie on a square grid row after row,
    /// between units that are more than `reach` rows or more than `reach` columns apart.
    ///
    /// # Errors
    ///
    /// [`ModelError::Network`] when there are no couplings within layer `k`, or its size is no square.
    pub fn keep_near(&mut self, k: usize, reach: usize) -> Result<(), ModelError> {
        let near = self.couplings.iter_mut().find(|c| (c.lower, c.upper) == (k, k));
        let Some(coupling) = near else {
            return Err(ModelError::Network(format!("there are no couplings within layer {k}")));
        };
        let [n, _] = coupling.weight.dims();
        let side = n.isqrt();
        if side * side != n {
            let text = format!("the {n} units of layer {k} lie on no square grid");
            return Err(ModelError::Network(text));
        }
        let near = |i: usize, j: usize| {
            (i / side).abs_diff(j / side) <= reach && (i % side).abs_diff(j % side) <= reach
        };
        *coupling = Coupling::within(k, &coupling.weight, near);
        Ok(())
    }

    /// Scales fresh weights, made by [`Self::new`] for signals from lower to upper layers, to the
    /// geometric mean of what the two directions ask for. A layer that is clamped is held at
    /// `amplitude` times its value.
    pub(crate) fn balance(&mut self, amplitude: impl Fn(usize) -> f64) {
        for c in &mut self.couplings {
            let (from, to) = (&self.layers[c.lower].spec, &self.layers[c.upper].spec);
            let made = bound(from, to);
            let forward = made / amplitude(c.lower);
            let backward = bound(to, from) / amplitude(c.upper);
            let factor = (forward * backward).sqrt() / made;
            c.weight = Param::from_tensor(c.weight.val().mul_scalar(factor));
        }
    }

    /// Scales down every coupling between layers that have no bounds of their own, and every
    /// coupling within a layer, whose strength is found to be above `limit`, to that:
    ///
    /// ```text
    /// strength of W_kl: sqrt(c_k c_l) |W_kl|       strength of R_k: c_k max g_k' |R_k|
    /// ```
    ///
    /// with spectral norms, by power iteration from a fixed start. What a few steps of it find is a
    /// lower bound, short by some percent where the largest singular values lie close together: by so
    /// much the limit may be exceeded. With `n` layers of which each
    /// is coupled to all, `limit < 1/n` makes the energy convex among them; larger ones leave it
    /// to the residual to tell. A coupling with a layer of bounded range cannot take
    /// the energy to minus infinity and is left alone: updating the two in turn descends. So is one
    /// with a layer that never relaxes, to which there is no feedback.
    ///
    /// On a device that is not the CPU strengths stay there, and it is not read.
    #[must_use]
    pub fn limit_couplings(mut self, limit: f64, relaxes: impl Fn(usize) -> bool) -> Self {
        for c in self.couplings.iter_mut().filter(|c| relaxes(c.lower) && relaxes(c.upper)) {
            let (from, to) = (&self.layers[c.lower].spec, &self.layers[c.upper].spec);
            let factor = if c.lower == c.upper {
                from.gain * from.activation.max_slope()
            } else if from.activation.is_bounded() || to.activation.is_bounded() {
                continue;
            } else {
                (from.gain * to.gain).sqrt()
            };
            let (id, weight, mapper) = c.weight.clone().consume();
            let norm = spectral_norm(weight.clone());
            let weight = if is_plain_cpu(&weight) {
                let strength = factor * f64::from(hvae_device::read(norm)[0]);
                if strength > limit { weight.mul_scalar(limit / strength) } else { weight }
            } else {
                let strength = norm.mul_scalar(factor).clamp_min(SMALLEST_STRENGTH);
                let scale = strength.recip().mul_scalar(limit).clamp_max(1.0);
                weight * scale.unsqueeze()
            };
            c.weight = Param::from_mapped_value(id, weight, mapper);
        }
        self
    }

    /// How much smaller than the others the learning rate of each parameter should be: `1/max(m, 1)`,
    /// where `m` is how far the parameter moves a layer's gained input. Of a weight between layers
    /// `k` and `l` it is the larger of `a_k c_l` and `a_l c_k`, of one within layer `k`, and of a
    /// bias, `c_k`; a layer that is clamped is held at `a_k = amplitude(k)` times its value.
    pub fn learning_rate_scales(&self, amplitude: impl Fn(usize) -> f64) -> Vec<(ParamId, f64)> {
        let gain = |k: usize| self.layers[k].spec.gain;
        let weights = self.couplings.iter().map(|c| {
            let (k, l) = (c.lower, c.upper);
            let reach =
                if k == l { gain(k) } else { (amplitude(k) * gain(l)).max(amplitude(l) * gain(k)) };
            (c.weight.id, reach)
        });
        let biases = self.layers.iter().filter_map(|l| Some((l.bias.as_ref()?.id, l.spec.gain)));
        weights.chain(biases).map(|(id, gain)| (id, 1.0 / gain.max(1.0))).collect()
    }
}

/// Half the width of the interval in which weights from one layer to another start.
fn bound(from: &LayerSpec, to: &LayerSpec) -> f64 {
    let square = if to.activation == Activation::Relu { 6.0 } else { 1.0 };
    (square / from.size as f64).sqrt() / to.gain
}

/// Strengths below are as good as none; their inverse must be finite in f32.
const SMALLEST_STRENGTH: f64 = 1e-20;

/// Steps of the power iteration below. It is run again and again while the matrix changes little.
const POWER_STEPS: usize = 15;

/// The largest singular value of `w`, from below, `[1]`.
fn spectral_norm(w: Tensor<2>) -> Tensor<1> {
    let [_, columns] = w.dims();
    // 1 + sin(i)/2.
    let mut v: Tensor<2> = if is_plain_cpu(&w) {
        let start = (0..columns).map(|i| 1.0 + 0.5 * (i as f32).sin()).collect::<Vec<_>>();
        Tensor::from_data(TensorData::new(start, [columns, 1]), &w.device())
    } else {
        let numbers = numbers(columns, &w.device()).sub_scalar(1.0);
        numbers.sin().mul_scalar(0.5).add_scalar(1.0).reshape([columns, 1])
    };
    let length = |v: &Tensor<2>| v.clone().square().sum().sqrt().clamp_min(f32::MIN_POSITIVE);
    for _ in 0..POWER_STEPS {
        let image = w.clone().transpose().matmul(w.clone().matmul(v));
        v = image.clone() / length(&image).unsqueeze();
    }
    length(&w.matmul(v))
}

/// The numbers from 1 to `count`, `[count]`, made on the device.
fn numbers(count: usize, device: &Device) -> Tensor<1> {
    Tensor::<1>::ones([count], device).cumsum(0)
}

/// Range of what multiplies signals: squares and initial weights are then normal numbers in f32.
pub(crate) const FACTORS: RangeInclusive<f64> = 1e-15..=1e15;

fn check(layers: &[LayerSpec], couplings: &[(usize, usize)]) -> Result<(), ModelError> {
    if layers.is_empty() {
        return Err(ModelError::Network("it has no layers".to_owned()));
    }
    for layer in layers {
        let LayerSpec { name, size, gain, .. } = layer;
        if *size == 0 {
            return Err(ModelError::Network(format!("layer {name} has no units")));
        }
        if !FACTORS.contains(gain) {
            let text = format!("layer {name}: gain {gain:e} must lie between 1e-15 and 1e15");
            return Err(ModelError::Network(text));
        }
    }
    for (i, &(k, l)) in couplings.iter().enumerate() {
        if k.max(l) >= layers.len() {
            let text = format!("coupling ({k}, {l}) names a layer beyond the {}", layers.len());
            return Err(ModelError::Network(text));
        }
        if couplings[..i].iter().any(|&(a, b)| (a, b) == (k, l) || (b, a) == (k, l)) {
            return Err(ModelError::Network(format!("coupling ({k}, {l}) is given twice")));
        }
    }
    Ok(())
}

fn uniform(count: usize, bound: f64, rng: &mut impl Rng) -> Vec<f32> {
    let bound = bound as f32;
    (0..count).map(|_| rng.random_range(-bound..=bound)).collect()
}

/// Mirrors the upper triangle of an `n x n` matrix into the lower and clears the diagonal.
fn make_symmetric(matrix: &mut [f32], n: usize) {
    for i in 0..n {
        matrix[i * n + i] = 0.0;
        for j in 0..i {
            matrix[i * n + j] = matrix[j * n + i];
        }
    }
}
