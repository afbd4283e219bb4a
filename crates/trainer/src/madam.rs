//! Madam: multiplicative weight updates.

use std::collections::HashMap;

use anyhow::{Result, ensure};
use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;

/// Settings of [`Madam`].
///
/// | setting | default | meaning | range |
/// |---|---|---|---|
/// | `decay` | 0.999 | of the mean squared gradient, `beta` | `[0, 1)` |
/// | `bound` | 3 | largest `abs(g / gbar)` that counts, `eta* / eta` | > 0 |
/// | `scale` | 1024 | largest weight, in root mean squares of the tensor's initial weights | > 0 |
///
/// The defaults of `bound` and `scale` are those of arXiv 2311.15673.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MadamSettings {
    /// Decay of the mean squared gradient.
    pub decay: f64,
    /// Bound of the normalised gradient.
    pub bound: f64,
    /// Bound of the weights.
    pub scale: f64,
}

impl Default for MadamSettings {
    fn default() -> Self {
        Self { decay: 0.999, bound: 3.0, scale: 1024.0 }
    }
}

/// The Madam optimizer (Bernstein et al. 2020, arXiv 2006.14560, Algorithm 1). For a weight `w` with
/// gradient `g` and the running mean square `m` of its gradients,
///
/// ```text
/// m <- decay m + (1 - decay) g^2                                 (from m = 0, not corrected for it)
/// w <- w exp( -rate sign(w) clamp(g / sqrt(m), +-bound) )
/// w <- clamp(w, +-scale r),      r = root mean square of the tensor's weights before the first step
/// ```
///
/// Weights keep their signs, and a weight of 0 stays 0. Where `m` is 0 the weight does not move.
#[derive(Debug)]
pub struct Madam {
    settings: MadamSettings,
    state: HashMap<ParamId, Moment>,
}

#[derive(Debug)]
struct Moment {
    /// `m`, flat.
    mean_square: Tensor<1>,
    /// `scale r`.
    largest: f32,
}

impl Madam {
    /// A fresh optimizer.
    ///
    /// # Errors
    ///
    /// For a setting outside its range.
    pub fn new(settings: MadamSettings) -> Result<Self> {
        let MadamSettings { decay, bound, scale } = settings;
        ensure!((0.0..1.0).contains(&decay), "Madam: decay {decay} must lie in [0, 1)");
        ensure!(bound.is_finite() && bound > 0.0, "Madam: bound {bound} must be above 0");
        ensure!(scale.is_finite() && scale > 0.0, "Madam: scale {scale} must be above 0");
        Ok(Self { settings, state: HashMap::new() })
    }

    /// One step of every parameter that has a gradient.
    #[must_use]
    pub fn step<M: Module>(&mut self, model: M, gradients: &GradientsParams, rate: f64) -> M {
        model.map(&mut Update { madam: self, gradients, rate })
    }

    /// The state as two models: in place of each parameter its mean squares `m`, and its largest
    /// weight `scale r` everywhere.
    pub fn state<M: Module + Clone>(&self, model: &M) -> [M; 2] {
        let each = |pick: fn(&Moment) -> Tensor<1>| {
            model.clone().map(&mut Replace(|id, like: Tensor<1>| {
                self.state.get(&id).map_or_else(|| like.zeros_like(), pick)
            }))
        };
        let largest = |m: &Moment| m.mean_square.zeros_like().add_scalar(m.largest);
        [each(|m| m.mean_square.clone()), each(largest)]
    }

    /// Takes up the state that [`Self::state`] gave.
    pub fn restore<M: Module + Clone>(&mut self, model: &M, state: [M; 2]) {
        let [squares, largest] = state.map(|of| flat(&of));
        let ids = flat(model).into_iter().map(|(id, _)| id);
        let pairs = squares.into_iter().zip(largest);
        self.state = ids
            .zip(pairs)
            .map(|(id, ((_, mean_square), (_, largest)))| {
                let largest = largest.max().into_scalar();
                (id, Moment { mean_square, largest })
            })
            .collect();
    }
}

struct Update<'a> {
    madam: &'a mut Madam,
    gradients: &'a GradientsParams,
    rate: f64,
}

impl ModuleMapper for Update<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        let Some(gradient) = self.gradients.get::<D>(id) else {
            return Param::from_mapped_value(id, tensor, mapper);
        };
        let shape = tensor.dims();
        let weights = tensor.reshape([-1]);
        let MadamSettings { decay, bound, scale } = self.madam.settings;
        let moment = self.madam.state.remove(&id).unwrap_or_else(|| {
            let square: f32 = weights.clone().square().mean().into_scalar();
            let largest = square.sqrt() * scale as f32;
            Moment { mean_square: weights.zeros_like(), largest }
        });
        let Moment { mean_square, largest } = moment;
        let (decay, bound, rate) = (decay as f32, bound as f32, self.rate as f32);
        let rule = Rule { decay, bound, rate, largest };
        let (weights, mean_square) = rule.apply(weights, gradient.reshape([-1]), mean_square);
        self.madam.state.insert(id, Moment { mean_square, largest });
        Param::from_mapped_value(id, weights.reshape(shape), mapper)
    }
}

/// The update of one tensor.
#[derive(Debug, Clone, Copy)]
struct Rule {
    decay: f32,
    bound: f32,
    rate: f32,
    largest: f32,
}

/// Values that one thread works on at a time.
const CHUNK: usize = 1 << 15;
/// Up to this exponent the Taylor polynomial of degree 4 is exact to 3e-8.
const SMALL: f32 = 0.08;

impl Rule {
    fn apply(self, w: Tensor<1>, g: Tensor<1>, m: Tensor<1>) -> (Tensor<1>, Tensor<1>) {
        if w.device().is_autodiff() || w.device() != Device::flex() {
            return self.tensors(w, g, m);
        }
        let (mut w, g, mut m) = (host(w), host(g), host(m));
        let small = self.rate * self.bound <= SMALL;
        let chunks = w.par_chunks_mut(CHUNK).zip(g.par_chunks(CHUNK)).zip(m.par_chunks_mut(CHUNK));
        chunks.for_each(|((w, g), m)| {
            if small {
                self.sweep(w, g, m, |y| 1.0 + y * (1.0 + y * (0.5 + y * (1.0 / 6.0 + y / 24.0))));
            } else {
                self.sweep(w, g, m, f32::exp);
            }
        });
        let upload = |values: Vec<f32>| {
            let count = values.len();
            Tensor::from_data(TensorData::new(values, [count]), &Device::flex())
        };
        (upload(w), upload(m))
    }

    fn sweep(self, w: &mut [f32], g: &[f32], m: &mut [f32], exp: impl Fn(f32) -> f32) {
        for ((w, &g), m) in w.iter_mut().zip(g).zip(m) {
            *m = self.decay * *m + (1.0 - self.decay) * g * g;
            // 0 where m is 0; a gradient that is not a number stays one and is noticed.
            let normal = g / m.sqrt().max(f32::MIN_POSITIVE);
            let step = self.rate * normal.clamp(-self.bound, self.bound);
            let exponent = if *w < 0.0 { step } else { -step };
            *w = (*w * exp(exponent)).clamp(-self.largest, self.largest);
        }
    }

    fn tensors(self, w: Tensor<1>, g: Tensor<1>, m: Tensor<1>) -> (Tensor<1>, Tensor<1>) {
        let m = m.mul_scalar(self.decay) + g.clone().square().mul_scalar(1.0 - self.decay);
        let normal = g / m.clone().sqrt().clamp_min(f32::MIN_POSITIVE);
        let step = normal.clamp(-self.bound, self.bound).mul_scalar(self.rate);
        let w = w.clone() * (-(w.sign() * step)).exp();
        (w.clamp(-self.largest, self.largest), m)
    }
}

fn host(tensor: Tensor<1>) -> Vec<f32> {
    tensor.into_data().try_into_vec().expect("parameters are f32")
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

/// All parameters in the order of the model, flat.
fn flat<M: Module>(model: &M) -> Vec<(ParamId, Tensor<1>)> {
    struct Collect(Vec<(ParamId, Tensor<1>)>);
    impl burn::module::ModuleVisitor for Collect {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push((param.id, param.val().reshape([-1])));
        }
    }
    let mut collect = Collect(Vec::new());
    model.visit(&mut collect);
    collect.0
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use super::*;

    #[derive(Module, Debug)]
    struct One {
        w: Param<Tensor<1>>,
    }

    fn model(values: &[f32]) -> One {
        One { w: Param::from_tensor(Tensor::from_data(values, &Device::flex())) }
    }

    fn values(model: &One) -> Vec<f32> {
        model.w.val().into_data().try_into_vec().unwrap()
    }

    fn step(madam: &mut Madam, model: One, gradient: &[f32], rate: f64) -> One {
        let mut gradients = GradientsParams::new();
        gradients.register::<1>(model.w.id, Tensor::from_data(gradient, &Device::flex()));
        madam.step(model, &gradients, rate)
    }

    fn assert_close(found: &[f32], expected: &[f64]) {
        for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
            let off = (f64::from(*found) - expected).abs();
            assert!(off < 2e-6 * expected.abs().max(1e-3), "{i}: {found} is not {expected}");
        }
    }

    /// Two steps by hand. decay 0.75: m1 = g^2/4, so g/sqrt(m1) = +-2; with g2 = g1/2:
    /// m2 = 3/4 * g^2/4 + 1/4 * g^2/4 = g^2/4, so g2/sqrt(m2) = +-1.
    #[test]
    fn two_steps_are_those_computed_by_hand() {
        let mut madam =
            Madam::new(MadamSettings { decay: 0.75, bound: 1.5, scale: 100.0 }).unwrap();
        let start = model(&[1.0, -2.0, 0.5, 0.0]);
        let one = step(&mut madam, start, &[0.1, 0.1, -3.0, 1.0], 0.01);
        // The normalised gradients +-2 are clamped to +-1.5.
        let (down, up) = ((-0.015_f64).exp(), 0.015_f64.exp());
        assert_close(&values(&one), &[down, -2.0 * up, 0.5 * up, 0.0]);
        let two = step(&mut madam, one, &[0.05, 0.05, -1.5, 0.5], 0.01);
        let (d2, u2) = (down * (-0.01_f64).exp(), up * 0.01_f64.exp());
        assert_close(&values(&two), &[d2, -2.0 * u2, 0.5 * u2, 0.0]);
    }

    #[test]
    fn weights_are_bounded_by_their_initial_scale_and_large_rates_use_the_exponential() {
        let mut madam = Madam::new(MadamSettings { decay: 0.75, bound: 10.0, scale: 2.0 }).unwrap();
        // Root mean square 5: weights stay within +-10. g/sqrt(m) = 2, so factors are exp(-+1).
        let one = step(&mut madam, model(&[7.0, -1.0]), &[-1.0, -1.0], 0.5);
        assert_close(&values(&one), &[10.0, -1.0 / std::f64::consts::E]);
    }

    #[test]
    fn a_gradient_of_zero_moves_nothing_and_nan_is_noticed() {
        let mut madam = Madam::new(MadamSettings::default()).unwrap();
        let one = step(&mut madam, model(&[1.0, -2.0]), &[0.0, f32::NAN], 0.01);
        let found = values(&one);
        assert!((found[0] - 1.0).abs() < 1e-7 && found[1].is_nan(), "{found:?}");
    }

    #[test]
    fn the_tensor_form_is_the_same_function() {
        let rule = Rule { decay: 0.9, bound: 3.0, rate: 0.01, largest: 1.2 };
        let tensor = |values: [f32; 4]| Tensor::<1>::from_data(values, &Device::flex());
        let arguments = [[1.0, -2.0, 0.3, 0.0], [0.3, -0.1, 0.0, 1.0], [0.1, 0.0, 0.0, 2.0]];
        let [w, g, m] = arguments.map(tensor);
        let (fast, fast_m) = rule.apply(w.clone(), g.clone(), m.clone());
        let (slow, slow_m) = rule.tensors(w, g, m);
        for (a, b) in [(fast, slow), (fast_m, slow_m)] {
            let off: f32 = (a - b).abs().max().into_scalar();
            assert!(off < 1e-6, "{off}");
        }
    }

    #[test]
    fn a_restored_optimizer_goes_on_as_the_original() {
        let mut madam = Madam::new(MadamSettings::default()).unwrap();
        let one = step(&mut madam, model(&[1.0, -2.0]), &[0.5, 1.0], 0.01);
        let state = madam.state(&one);
        let mut other = Madam::new(MadamSettings::default()).unwrap();
        other.restore(&one, state);
        let a = step(&mut madam, one.clone(), &[0.1, -0.3], 0.01);
        let b = step(&mut other, one, &[0.1, -0.3], 0.01);
        let bits = |m: &One| values(m).into_iter().map(f32::to_bits).collect::<Vec<_>>();
        assert_eq!(bits(&a), bits(&b));
    }

    #[test]
    fn settings_outside_their_range_are_refused_by_name() {
        let default = MadamSettings::default();
        for (settings, name) in [
            (MadamSettings { decay: 1.0, ..default }, "decay"),
            (MadamSettings { decay: f64::NAN, ..default }, "decay"),
            (MadamSettings { bound: 0.0, ..default }, "bound"),
            (MadamSettings { scale: f64::INFINITY, ..default }, "scale"),
        ] {
            assert!(Madam::new(settings).unwrap_err().to_string().contains(name));
        }
    }
}
