//! Madam: multiplicative weight updates.

use anyhow::{Result, ensure};
use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;

use crate::optimizer::rule::Rule;

/// Settings of [`MadamRule`].
///
/// | setting | default | meaning | range |
/// |---|---|---|---|
/// | `decay` | 0.999 | of the mean squared gradient, `beta` | `[0, 1)` |
/// | `bound` | 3 | bound of `abs(g / gbar)`, `eta* / eta` | > 0 |
/// | `scale` | 1024 | largest weight, in root mean squares of the tensor's initial weights | > 0 |
///
/// The defaults of `bound` and `scale` are those of arXiv 2311.15673.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct MadamSettings {
    /// Decay of the mean squared gradient.
    pub(crate) decay: f64,
    /// Bound of the normalised gradient.
    pub(crate) bound: f64,
    /// Bound of the weights.
    pub(crate) scale: f64,
}

impl Default for MadamSettings {
    fn default() -> Self {
        Self { decay: 0.999, bound: 3.0, scale: 1024.0 }
    }
}

/// Madam (Bernstein et al. 2020, arXiv 2006.14560, Algorithm 1). For a weight `w` with gradient `g`
/// and the running mean square `m` of its gradients,
///
/// ```text
/// m <- decay m + (1 - decay) g^2                                 (from m = 0)
/// w <- w exp( -rate sign(w) clamp(g / sqrt(m / (1 - decay^step)), +-bound) )
/// w <- clamp(w, +-scale r),   r = root mean square of the tensor's weights before the first step
/// ```
///
/// The algorithm in the paper has no bias correction of `m`; published implementations do, and
/// without it steps are too long, by `1 / sqrt(1 - decay^step)`. Weights keep their signs, and a
/// weight of 0 stays 0: trainable weights must not start there. Where `m` is 0 the weight is not
/// updated.
///
/// Its state: the mean squares `m`, and the largest weight `scale r` in every entry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MadamRule(MadamSettings);

impl MadamRule {
    /// The rule with these settings.
    ///
    /// # Errors
    ///
    /// For a setting outside its range.
    pub(crate) fn new(settings: MadamSettings) -> Result<Self> {
        let MadamSettings { decay, bound, scale } = settings;
        ensure!((0.0..1.0).contains(&decay), "Madam: decay {decay} must lie in [0, 1)");
        ensure!(bound.is_finite() && bound > 0.0, "Madam: bound {bound} must be above 0");
        ensure!(scale.is_finite() && scale > 0.0, "Madam: scale {scale} must be above 0");
        Ok(Self(settings))
    }
}

impl Rule for MadamRule {
    fn state_len(&self) -> usize {
        2
    }

    fn step(
        &self,
        step: usize,
        rate: f64,
        value: Tensor<1>,
        gradient: Tensor<1>,
        state: Vec<Tensor<1>>,
    ) -> (Tensor<1>, Vec<Tensor<1>>) {
        let [mean_square, mut largest] = state.try_into().expect("two, as `state_len` says");
        let MadamSettings { decay, bound, scale } = self.0;
        if step == 1 {
            let square: f32 = value.clone().square().mean().into_scalar();
            largest = largest.zeros_like().add_scalar(square.sqrt() * scale as f32);
        }
        let correction = 1.0 - decay.powf(step as f64);
        let update = Update {
            decay: decay as f32,
            bound: bound as f32,
            rate: rate as f32,
            correction: correction as f32,
        };
        let plain = !value.device().is_autodiff() && value.device() == Device::flex();
        let form = if plain { Update::fused } else { Update::composed };
        let (value, mean_square) = form(update, value, gradient, mean_square, largest.clone());
        (value, vec![mean_square, largest])
    }
}

/// The update of one tensor.
#[derive(Debug, Clone, Copy)]
struct Update {
    decay: f32,
    bound: f32,
    rate: f32,
    /// Bias correction of the mean square, `1 - decay^step`.
    correction: f32,
}

/// Values per task of a thread.
const CHUNK: usize = 1 << 15;
/// Up to this exponent the Taylor polynomial of degree 4 is exact to 3e-8.
const SMALL: f32 = 0.08;

impl Update {
    /// In one pass on all threads; returns weights and mean squares.
    fn fused(
        self,
        w: Tensor<1>,
        g: Tensor<1>,
        m: Tensor<1>,
        largest: Tensor<1>,
    ) -> (Tensor<1>, Tensor<1>) {
        let largest: f32 = largest.narrow(0, 0, 1).into_scalar();
        let (mut w, g, mut m) = (host(w), host(g), host(m));
        let small = self.rate * self.bound <= SMALL;
        let chunks = w.par_chunks_mut(CHUNK).zip(g.par_chunks(CHUNK)).zip(m.par_chunks_mut(CHUNK));
        chunks.for_each(|((w, g), m)| {
            if small {
                let exp = |y| 1.0 + y * (1.0 + y * (0.5 + y * (1.0 / 6.0 + y / 24.0)));
                self.sweep(w, g, m, largest, exp);
            } else {
                self.sweep(w, g, m, largest, f32::exp);
            }
        });
        let upload = |values: Vec<f32>| {
            let count = values.len();
            Tensor::from_data(TensorData::new(values, [count]), &Device::flex())
        };
        (upload(w), upload(m))
    }

    fn sweep(
        self,
        w: &mut [f32],
        g: &[f32],
        m: &mut [f32],
        largest: f32,
        exp: impl Fn(f32) -> f32,
    ) {
        for ((w, &g), m) in w.iter_mut().zip(g).zip(m) {
            *m = self.decay * *m + (1.0 - self.decay) * g * g;
            // 0 where m is 0, even if g is not, whose square underflows; NaN stays NaN.
            let normal = if *m == 0.0 { 0.0 } else { g / (*m / self.correction).sqrt() };
            let step = self.rate * normal.clamp(-self.bound, self.bound);
            let exponent = if *w < 0.0 { step } else { -step };
            *w = (*w * exp(exponent)).clamp(-largest, largest);
        }
    }

    /// In tensor operations, for any device.
    fn composed(
        self,
        w: Tensor<1>,
        g: Tensor<1>,
        m: Tensor<1>,
        largest: Tensor<1>,
    ) -> (Tensor<1>, Tensor<1>) {
        let m = m.mul_scalar(self.decay) + g.clone().square().mul_scalar(1.0 - self.decay);
        let normal = g / m.clone().div_scalar(self.correction).sqrt();
        let normal = normal.mask_fill(m.clone().equal_elem(0.0), 0.0);
        let step = normal.clamp(-self.bound, self.bound).mul_scalar(self.rate);
        let w = w.clone() * (-(w.sign() * step)).exp();
        let w = w.clone().mask_where(w.greater(largest.clone()), largest.clone());
        (w.clone().mask_where(w.lower(-largest.clone()), -largest), m)
    }
}

fn host(tensor: Tensor<1>) -> Vec<f32> {
    tensor.into_data().try_into_vec().expect("parameters are f32")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use burn::module::{Module, Param};
    use burn::optim::GradientsParams;

    use super::*;
    use hvae_model::ReadPolicy;

    use crate::optimizer::Optimizer;

    #[derive(Module, Debug)]
    struct One {
        w: Param<Tensor<1>>,
    }

    fn model(values: &[f32]) -> One {
        One { w: Param::from_tensor(Tensor::from_data(values, &Device::flex())) }
    }

    fn madam(decay: f64, bound: f64, scale: f64) -> Optimizer {
        let rule = MadamRule::new(MadamSettings { decay, bound, scale }).unwrap();
        Optimizer::new(Box::new(rule), Vec::new())
    }

    fn values(model: &One) -> Vec<f32> {
        model.w.val().into_data().try_into_vec().unwrap()
    }

    fn step(madam: &mut Optimizer, model: One, gradient: &[f32], rate: f64) -> One {
        let mut gradients = GradientsParams::new();
        gradients.register::<1>(model.w.id, Tensor::from_data(gradient, &Device::flex()));
        madam.step(model, &gradients, rate, None, ReadPolicy::EveryStep).unwrap().0
    }

    fn assert_close(found: &[f32], expected: &[f64]) {
        for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
            let off = (f64::from(*found) - expected).abs();
            assert!(off < 2e-6 * expected.abs().max(1e-3), "{i}: {found} is not {expected}");
        }
    }

    /// Three steps by hand. decay 0.75: m1 = g^2/4, corrected by 1/4: g/sqrt(g^2) = +-1. With g2 =
    /// 3 g1: m2 = 3/4 * g^2/4 + 1/4 * 9 g^2 = 39/16 g^2, corrected by 7/16: g2/sqrt(39/7 g^2) =
    /// 3/sqrt(39/7).
    #[test]
    fn steps_are_those_computed_by_hand() {
        let mut madam = madam(0.75, 1.25, 100.0);
        let start = model(&[1.0, -2.0, 0.5, 0.0]);
        let one = step(&mut madam, start, &[0.1, 0.1, -3.0, 1.0], 0.01);
        let (down, up) = ((-0.01_f64).exp(), 0.01_f64.exp());
        assert_close(&values(&one), &[down, -2.0 * up, 0.5 * up, 0.0]);
        // 3/sqrt(39/7) = 1.27 is clamped to 1.25.
        let two = step(&mut madam, one, &[0.3, 0.3, -9.0, 0.5], 0.01);
        let (d2, u2) = (down * (-0.0125_f64).exp(), up * 0.0125_f64.exp());
        assert_close(&values(&two), &[d2, -2.0 * u2, 0.5 * u2, 0.0]);
        // m3 = 3/4 m2 + g^2/4 = (117 + 16) / 64 g^2, corrected by 37/64: g/sqrt(133/37 g^2).
        let three = step(&mut madam, two, &[0.1, 0.1, -3.0, 0.5], 0.01);
        let factor = 0.01 * (37.0_f64 / 133.0).sqrt();
        let (d3, u3) = (d2 * (-factor).exp(), u2 * factor.exp());
        assert_close(&values(&three), &[d3, -2.0 * u3, 0.5 * u3, 0.0]);
    }

    #[test]
    fn weights_are_bounded_by_their_initial_scale_and_large_rates_use_the_exponential() {
        let mut madam = madam(0.75, 10.0, 2.0);
        // Root mean square 5: weights stay within +-10. g/sqrt(m) = -1, so factors are exp(+-1).
        let one = step(&mut madam, model(&[7.0, -1.0]), &[-1.0, -1.0], 1.0);
        assert_close(&values(&one), &[10.0, -1.0 / std::f64::consts::E]);
        // The bound stays that of the initial weights: the next step ends at it again.
        let two = step(&mut madam, one, &[-1.0, -1.0], 1.0);
        assert_close(&values(&two)[..1], &[10.0]);
    }

    #[test]
    fn an_underflowing_gradient_updates_nothing_and_nan_stays_nan() {
        let tensor = |values: [f32; 2]| Tensor::<1>::from_data(values, &Device::flex());
        let rule = MadamRule::new(MadamSettings::default()).unwrap();
        let state = vec![tensor([0.0; 2]); 2];
        for small in [0.0, 1e-30] {
            let gradient = tensor([small, f32::NAN]);
            let (w, _) = rule.step(1, 0.01, tensor([1.0, -2.0]), gradient.clone(), state.clone());
            let found = host(w);
            assert!((found[0] - 1.0).abs() < 1e-7 && found[1].is_nan(), "{small}: {found:?}");
            let update = Update { decay: 0.999, bound: 3.0, rate: 0.01, correction: 0.001 };
            let largest = tensor([9.0; 2]);
            let w = update.composed(tensor([1.0, -2.0]), gradient, tensor([0.0; 2]), largest).0;
            let found = host(w);
            assert!((found[0] - 1.0).abs() < 1e-7 && found[1].is_nan(), "{small}: {found:?}");
        }
    }

    #[test]
    fn the_tensor_form_is_the_same_function() {
        let update = Update { decay: 0.9, bound: 3.0, rate: 0.01, correction: 0.19 };
        let tensor = |values: [f32; 4]| Tensor::<1>::from_data(values, &Device::flex());
        let arguments =
            [[1.0, -2.0, 0.3, 0.0], [0.3, -0.1, 0.0, 1.0], [0.1, 0.0, 0.0, 2.0], [1.2; 4]];
        let [w, g, m, largest] = arguments.map(tensor);
        let (fast, fast_m) = update.fused(w.clone(), g.clone(), m.clone(), largest.clone());
        let (slow, slow_m) = update.composed(w, g, m, largest);
        for (a, b) in [(fast, slow), (fast_m, slow_m)] {
            let off: f32 = (a - b).abs().max().into_scalar();
            assert!(off < 1e-6, "{off}");
        }
    }

    #[test]
    fn a_restored_optimizer_continues_as_the_original() {
        // A bound small enough to be reached.
        let mut one = madam(0.999, 3.0, 1.0);
        let after = step(&mut one, model(&[1.0, -2.0]), &[0.5, 1.0], 0.1);
        let (state, steps) = one.state(&after);
        let mut other = madam(0.999, 3.0, 1.0);
        other.restore(&state, steps).unwrap();
        let a = step(&mut one, after.clone(), &[-0.4, 0.3], 0.1);
        let b = step(&mut other, after, &[-0.4, 0.3], 0.1);
        let bits = |m: &One| values(m).into_iter().map(f32::to_bits).collect::<Vec<_>>();
        assert_eq!(bits(&a), bits(&b));
        assert!((values(&a)[1] + 2.5_f32.sqrt()).abs() < 1e-6, "{:?}", values(&a));
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
            assert!(MadamRule::new(settings).unwrap_err().to_string().contains(name));
        }
    }
}
