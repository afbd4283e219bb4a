//! Madam: multiplicative weight updates.

use burn::tensor::{Device, Tensor, TensorData};
use hvae_device::is_plain_cpu;
use rayon::prelude::*;

use crate::optimizer::rule::Rule;

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
///
/// | setting | default | meaning |
/// |---|---|---|
/// | `decay` | 0.999 | of the mean squared gradient, `beta` |
/// | `bound` | 3 | bound of `abs(g / gbar)`, `eta* / eta` |
/// | `scale` | 1024 | largest weight, in root mean squares of the tensor's initial weights |
///
/// The defaults of `bound` and `scale` are those of arXiv 2311.15673.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MadamRule {
    decay: f64,
    bound: f64,
    scale: f64,
}

impl Default for MadamRule {
    fn default() -> Self {
        Self { decay: 0.999, bound: 3.0, scale: 1024.0 }
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
        let Self { decay, bound, scale } = *self;
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
        let form = if is_plain_cpu(&value) { Update::fused } else { Update::composed };
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
mod tests {
    use super::*;

    fn tensor<const N: usize>(values: [f32; N]) -> Tensor<1> {
        Tensor::from_data(values, &Device::flex())
    }

    /// The weights after each step, which start from `value`.
    fn steps<const N: usize>(
        madam: MadamRule,
        value: [f32; N],
        gradients: &[[f32; N]],
        rate: f64,
    ) -> Vec<Vec<f32>> {
        let (mut value, mut state) = (tensor(value), vec![tensor([0.0; N]); 2]);
        let mut found = Vec::new();
        for (step, gradient) in (1..).zip(gradients) {
            (value, state) = madam.step(step, rate, value, tensor(*gradient), state);
            found.push(host(value.clone()));
        }
        found
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
        let gradients = [[0.1, 0.1, -3.0, 1.0], [0.3, 0.3, -9.0, 0.5], [0.1, 0.1, -3.0, 0.5]];
        let found = steps(
            MadamRule { decay: 0.75, bound: 1.25, scale: 100.0 },
            [1.0, -2.0, 0.5, 0.0],
            &gradients,
            0.01,
        );
        // 3/sqrt(39/7) = 1.27 is clamped to 1.25.
        // m3 = 3/4 m2 + g^2/4 = (117 + 16) / 64 g^2, corrected by 37/64: g/sqrt(133/37 g^2).
        let (mut down, mut up) = (1.0, 1.0);
        for (found, exponent) in found.iter().zip([1.0, 1.25, (37.0_f64 / 133.0).sqrt()]) {
            down *= (-0.01 * exponent).exp();
            up *= (0.01 * exponent).exp();
            assert_close(found, &[down, -2.0 * up, 0.5 * up, 0.0]);
        }
    }

    #[test]
    fn weights_are_bounded_by_their_initial_scale_and_large_rates_use_the_exponential() {
        // Root mean square 5: weights stay within +-10. g/sqrt(m) = -1, so factors are exp(+-1).
        let found = steps(
            MadamRule { decay: 0.75, bound: 10.0, scale: 2.0 },
            [7.0, -1.0],
            &[[-1.0, -1.0]; 2],
            1.0,
        );
        assert_close(&found[0], &[10.0, -1.0 / std::f64::consts::E]);
        // The bound stays that of the initial weights: the next step ends at it again.
        assert_close(&found[1][..1], &[10.0]);
    }

    #[test]
    fn an_underflowing_gradient_updates_nothing_and_nan_stays_nan() {
        for small in [0.0, 1e-30] {
            let fused =
                steps(MadamRule::default(), [1.0, -2.0], &[[small, f32::NAN]], 0.01).remove(0);
            let update = Update { decay: 0.999, bound: 3.0, rate: 0.01, correction: 0.001 };
            let (gradient, largest) = (tensor([small, f32::NAN]), tensor([9.0; 2]));
            let composed =
                update.composed(tensor([1.0, -2.0]), gradient, tensor([0.0; 2]), largest).0;
            for found in [fused, host(composed)] {
                let is_right = (found[0] - 1.0).abs() < 1e-7 && found[1].is_nan();
                assert!(is_right, "{small}: {found:?}");
            }
        }
    }

    #[test]
    fn the_tensor_form_is_the_same_function() {
        let update = Update { decay: 0.9, bound: 3.0, rate: 0.01, correction: 0.19 };
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
}
