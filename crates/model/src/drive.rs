//! The constant part of a layer's input, and the elementwise end of an update.
//!
//! An update is `g(c (field + drive))`, that of a deviation `g(c (drive + change)) - g(c drive)`: a
//! matrix product and some elementwise steps. On the CPU those steps, one pass over memory each and on one thread, cost as much as the product, so there
//! they are one pass on all threads. Elsewhere they stay tensor operations, which the device fuses.

#![expect(clippy::inline_always, reason = "a call left in the loop would keep it scalar")]

use std::sync::Arc;

use burn::tensor::{Device, Int, Tensor, TensorData};
use rayon::prelude::*;

use crate::activation::LAST;
use crate::{Activation, LayerSpec};

/// Values that one thread works on at a time. Fewer are done sooner than a second thread is woken.
const CHUNK: usize = 1 << 17;

/// The drive of a layer, `[batch, n]`; a [classifier's](crate::classifier) may have one row for all
/// samples, `[1, n]`.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "there are a handful of drives in a phase")]
pub(crate) enum Drive {
    /// Anywhere.
    Tensor(Tensor<2>),
    /// On the host, for the fused update; row after row.
    Host { values: Arc<Vec<f32>>, units: usize },
}

impl Drive {
    /// In the form in which sweeps read it fastest.
    pub(crate) fn prepare(&self) -> Self {
        match self {
            Self::Tensor(tensor) if is_plain_cpu(tensor) => {
                let units = tensor.dims()[1];
                let data = tensor.clone().into_data();
                match data.try_into_vec() {
                    Ok(values) => Self::Host { values: Arc::new(values), units },
                    Err(_) => self.clone(),
                }
            }
            other => other.clone(),
        }
    }

    /// Number of rows.
    pub(crate) fn rows(&self) -> usize {
        match self {
            Self::Tensor(tensor) => tensor.dims()[0],
            Self::Host { values, units } => values.len() / units,
        }
    }

    /// As a tensor.
    pub(crate) fn tensor(&self) -> Tensor<2> {
        match self {
            Self::Tensor(tensor) => tensor.clone(),
            Self::Host { values, units } => {
                let data = TensorData::new(values.to_vec(), [self.rows(), *units]);
                Tensor::from_data(data, &Device::flex())
            }
        }
    }

    /// The samples `rows`, of a drive with a row for each.
    pub(crate) fn select(&self, rows: &Tensor<1, Int>) -> Self {
        match self {
            Self::Tensor(tensor) => Self::Tensor(tensor.clone().select(0, rows.clone())),
            Self::Host { values, units } => {
                let mut picked = Vec::with_capacity(rows.dims()[0] * units);
                for row in rows.clone().into_data().iter::<i64>() {
                    let from = usize::try_from(row).expect("rows are not negative") * units;
                    picked.extend_from_slice(&values[from..from + units]);
                }
                Self::Host { values: Arc::new(picked), units: *units }
            }
        }
    }

    /// `g(c (field + drive))`, `[batch, n]`; without a field `g(c drive)`.
    pub(crate) fn activate(&self, field: Option<Tensor<2>>, layer: &LayerSpec) -> Tensor<2> {
        match (self, field) {
            (Self::Host { values, .. }, Some(field)) => fused(field, values, layer),
            (Self::Host { values, units }, None) => {
                let zeros = Tensor::zeros([self.rows(), *units], &Device::flex());
                fused(zeros, values, layer)
            }
            (Self::Tensor(drive), field) => {
                let input = field.map_or(drive.clone(), |f| f + drive.clone());
                let is_one = (layer.gain - 1.0).abs() < f64::EPSILON;
                let input = if is_one { input } else { input.mul_scalar(layer.gain) };
                layer.activation.apply(input)
            }
        }
    }

    /// `g(c (drive + change)) - g(c drive)`, `[batch, n]`, see [`Activation::increment`].
    pub(crate) fn increment(&self, change: Tensor<2>, layer: &LayerSpec) -> Tensor<2> {
        match self {
            Self::Host { values, .. } => fused_increment(change, values, layer),
            Self::Tensor(drive) => {
                let (a, change) = (drive.clone(), change);
                let gained = |t: Tensor<2>| t.mul_scalar(layer.gain);
                layer.activation.increment(gained(a), gained(change))
            }
        }
    }
}

/// Whether a tensor lives in host memory and outside any graph.
pub(crate) fn is_plain_cpu(tensor: &Tensor<2>) -> bool {
    let device = tensor.device();
    !device.is_autodiff() && device == Device::flex()
}

/// The values of a tensor; its own memory where nobody else holds it.
pub(crate) fn host(tensor: Tensor<2>) -> Vec<f32> {
    tensor.into_data().try_into_vec().expect("a float tensor of this crate is f32")
}

/// `g(c (field + drive))` in one pass. The field's own memory becomes the result's.
fn fused(field: Tensor<2>, drive: &[f32], layer: &LayerSpec) -> Tensor<2> {
    let dims = field.dims();
    let (mut field, gain) = (host(field), layer.gain as f32);
    let values = &mut field;
    match layer.activation {
        Activation::Identity => sweep(values, drive, gain, Identity),
        Activation::Relu => sweep(values, drive, gain, Relu),
        Activation::HardSigmoid => sweep(values, drive, gain, HardSigmoid),
        Activation::Sigmoid => sweep(values, drive, gain, Sigmoid),
        Activation::Tanh => sweep(values, drive, gain, Tanh),
    }
    Tensor::from_data(TensorData::new(field, dims), &Device::flex())
}

/// `g(c (drive + change)) - g(c drive)` likewise.
fn fused_increment(change: Tensor<2>, drive: &[f32], layer: &LayerSpec) -> Tensor<2> {
    let dims = change.dims();
    let (mut change, gain) = (host(change), layer.gain as f32);
    let values = &mut change;
    match layer.activation {
        Activation::Identity => sweep(values, drive, gain, Increment(Identity)),
        Activation::Relu => sweep(values, drive, gain, Increment(Relu)),
        Activation::HardSigmoid => sweep(values, drive, gain, Increment(HardSigmoid)),
        Activation::Sigmoid => sweep(values, drive, gain, Increment(Sigmoid)),
        Activation::Tanh => sweep(values, drive, gain, Increment(Tanh)),
    }
    Tensor::from_data(TensorData::new(change, dims), &Device::flex())
}

/// What an update makes of two numbers. A trait rather than a closure because the loop around it only
/// becomes vector code when the call is inlined without fail.
trait Pair: Copy + Sync {
    /// Of the value, the drive and the gain.
    fn of(self, value: f32, drive: f32, gain: f32) -> f32;
}

/// A nonlinearity of one number.
trait Scalar: Copy + Sync {
    /// `g(a)`.
    fn of(self, a: f32) -> f32;

    /// `g(a + change) - g(a)`.
    fn increment(self, a: f32, change: f32) -> f32;
}

macro_rules! scalar {
    ($name:ident, $a:ident => $value:expr, $change:ident => $increment:expr) => {
        #[derive(Clone, Copy)]
        struct $name;
        impl Scalar for $name {
            #[inline(always)]
            fn of(self, $a: f32) -> f32 {
                $value
            }
            #[inline(always)]
            #[allow(unused_variables, reason = "where g is linear it does not matter at which a")]
            fn increment(self, $a: f32, $change: f32) -> f32 {
                $increment
            }
        }
        impl Pair for $name {
            #[inline(always)]
            fn of(self, value: f32, drive: f32, gain: f32) -> f32 {
                Scalar::of(self, gain * (value + drive))
            }
        }
    };
}

// Written so that a number that is not one stays so.
scalar!(Identity, a => a, change => change);
scalar!(Relu, a => if a < 0.0 { 0.0 } else { a }, change => {
    let p = if a < 0.0 { 0.0 } else { a };
    let moved = change + (a - p);
    if moved < -p { -p } else { moved }
});
scalar!(HardSigmoid, a => a.clamp(0.0, 1.0), change => {
    let p = a.clamp(0.0, 1.0);
    let moved = change + (a - p);
    if moved < -p {
        -p
    } else if moved > 1.0 - p {
        1.0 - p
    } else {
        moved
    }
});
scalar!(Sigmoid, a => sigmoid(a), change => sigmoid_increment(a, change));
scalar!(Tanh, a => a.tanh(), change => 2.0 * sigmoid_increment(2.0 * a, 2.0 * change));

/// The change of a nonlinearity at the drive.
#[derive(Clone, Copy)]
struct Increment<G>(G);

impl<G: Scalar> Pair for Increment<G> {
    #[inline(always)]
    fn of(self, value: f32, drive: f32, gain: f32) -> f32 {
        self.0.increment(gain * drive, gain * value)
    }
}

/// `v <- g(v, d, gain)` over two equally long slices, on all threads and with the widest vectors
/// that the processor has.
fn sweep<G: Pair>(values: &mut [f32], drive: &[f32], gain: f32, g: G) {
    struct Kernel<'a, G>(&'a mut [f32], &'a [f32], f32, G);
    impl<G: Pair> pulp::NullaryFnOnce for Kernel<'_, G> {
        type Output = ();
        #[inline(always)]
        fn call(self) {
            let Self(values, drive, gain, g) = self;
            for (v, d) in values.iter_mut().zip(drive) {
                *v = g.of(*v, *d, gain);
            }
        }
    }
    assert_eq!(values.len(), drive.len(), "a drive for every row");
    let arch = pulp::Arch::new();
    let chunks = values.par_chunks_mut(CHUNK).zip(drive.par_chunks(CHUNK));
    chunks.for_each(|(values, drive)| arch.dispatch(Kernel(values, drive, gain, g)));
}

/// `1/(1 + exp(-x))`, to within 2e-7, without a branch.
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    let [less_one, scale] = exponential(-x);
    1.0 / (1.0 + (1.0 + less_one) * scale)
}

/// `sigmoid(a + change) - sigmoid(a)`, see [`Activation::increment`].
#[inline(always)]
fn sigmoid_increment(a: f32, change: f32) -> f32 {
    // Where the function has ended, what counts is where the change comes to.
    let to = a + change;
    let beyond = a.abs() > LAST || to.abs() > LAST;
    let a = a.clamp(-LAST, LAST);
    let change = if beyond { to.clamp(-LAST, LAST) - a } else { change };
    let [r, scale] = exponential(-a);
    let t = (1.0 + r) * scale;
    let [r, scale] = exponential(change);
    // `exp(change) - 1`, and itself: neither is the other and 1, which would lose the smaller.
    let (less_one, grown) = (r * scale + (scale - 1.0), (1.0 + r) * scale);
    t / (1.0 + t) * (less_one / (t + grown))
}

/// `exp(y) = scale (1 + r)`, as `[r, scale]`; `y` beyond 87 counts as 87.
///
/// `scale = 2^n` with `n` the integer nearest to `y / ln 2`, and `r = exp(x) - 1` of `x = y - n ln 2` in
/// two parts (Cody & Waite 1980), on `|x| <= ln(2)/2` by its Taylor polynomial of degree 7, whose
/// remainder is below 6e-9. Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits,
/// from where it is shifted into the exponent.
#[inline(always)]
fn exponential(y: f32) -> [f32; 2] {
    const ROUND: f32 = 12_582_912.0;
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let y = y.clamp(-87.0, 87.0);
    let shifted = y * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let x = (y - n * LN2_HIGH) - n * LN2_LOW;
    let polynomial = [1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0];
    let mut series = 0.0;
    for coefficient in polynomial {
        series = series * x + coefficient;
    }
    [series * x, f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sigmoid_agrees_with_double_precision_and_keeps_nan() {
        for i in -100_000..=100_000 {
            let x = i as f32 * 1e-3;
            let exact = 1.0 / (1.0 + (-f64::from(x)).exp());
            let error = (f64::from(sigmoid(x)) - exact).abs();
            // Relative to the value below, for which small values matter in their own right.
            assert!(error < 2e-7 * exact.max(1e-30), "{x}: {} {exact}", sigmoid(x));
        }
        assert!(sigmoid(f32::NAN).is_nan());
        assert!((sigmoid(f32::INFINITY) - 1.0).abs() < f32::EPSILON);
        assert!(sigmoid(f32::NEG_INFINITY) < 1e-37);
    }

    /// Both ways to take an increment keep its relative accuracy, down to changes far below the last bit of
    /// `g`, and end where `g` does.
    #[test]
    fn increments_keep_their_relative_accuracy() {
        let device = Device::flex();
        let exact = |activation: Activation, a: f64, change: f64| {
            let straight = |low: f64, high: f64| {
                let inside = a > low && a < high && a + change > low && a + change < high;
                if inside { change } else { (a + change).clamp(low, high) - a.clamp(low, high) }
            };
            match activation {
                Activation::Identity => change,
                Activation::Relu => straight(0.0, f64::INFINITY),
                Activation::HardSigmoid => straight(0.0, 1.0),
                // sigmoid x - sigmoid y = sinh((x - y)/2) / (2 cosh(x/2) cosh(y/2)), and tanh alike.
                Activation::Sigmoid => {
                    let (x, y) = (0.5 * (a + change), 0.5 * a);
                    (0.5 * change).sinh() / (2.0 * x.cosh() * y.cosh())
                }
                Activation::Tanh => change.sinh() / ((a + change).cosh() * a.cosh()),
            }
        };
        let sizes = [1e-20, 1e-12, 1e-6, 1e-3, 0.1, 0.34, 0.36, 0.499, 0.501, 0.7, 2.0, 9.0, 30.0];
        let changes = sizes.iter().flat_map(|&c: &f32| [c, -c]).chain([0.0]);
        // Far beyond its ends the logistic function is at them.
        let ends =
            [(200.0, -100.0, 0.0), (200.0, -300.0, -1.0), (-90.0, 50.0, 0.0), (-90.0, 200.0, 1.0)];
        for (a, change, expected) in ends {
            let (drive, change) =
                (Tensor::full([1, 1], a, &device), Tensor::full([1, 1], change, &device));
            let layer = LayerSpec {
                name: String::new(),
                size: 1,
                activation: Activation::Sigmoid,
                gain: 1.0,
                bias: true,
            };
            let drive = Drive::Tensor(drive);
            for drive in [&drive, &drive.prepare()] {
                let found = host(drive.increment(change.clone(), &layer))[0];
                assert!((found - expected).abs() < 1e-6, "{found}, not {expected}");
            }
        }
        let points = [-30.0, -9.0, -1.5, -0.3, 0.0, 0.2, 0.8, 1.0, 1.6, 7.0, 25.0];
        let pairs: Vec<(f32, f32)> =
            changes.flat_map(|c| points.iter().map(move |&a: &f32| (a, c))).collect();
        let column = |values: Vec<f32>| {
            let rows = values.len();
            Tensor::<2>::from_data(TensorData::new(values, [rows, 1]), &device)
        };
        let drive = Drive::Tensor(column(pairs.iter().map(|p| p.0).collect()));
        let change = column(pairs.iter().map(|p| p.1).collect());
        for activation in [
            Activation::Identity,
            Activation::Relu,
            Activation::HardSigmoid,
            Activation::Sigmoid,
            Activation::Tanh,
        ] {
            let layer =
                LayerSpec { name: String::new(), size: 1, activation, gain: 2.0, bias: true };
            for drive in [&drive, &drive.prepare()] {
                let found = host(drive.increment(change.clone(), &layer));
                for (&(a, change), found) in pairs.iter().zip(found) {
                    let (a, change) = (2.0 * a, 2.0 * change);
                    let exact = exact(activation, a.into(), change.into());
                    // Where it bends, `a` itself is subtracted.
                    let bends = !matches!(activation, Activation::Sigmoid | Activation::Tanh)
                        && (exact - f64::from(change)).abs() > 0.0;
                    let slack =
                        if bends { 1e-7 * f64::from(a.abs().max(change.abs())) } else { 1e-37 };
                    let steep = if activation == Activation::Tanh { 2.0 } else { 1.0 };
                    let far = steep * a.abs().max((a + change).abs()) > LAST;
                    let slack = if far { 1e-17 } else { slack };
                    let error = (f64::from(found) - exact).abs();
                    assert!(
                        error <= 2e-6 * exact.abs() + slack,
                        "{activation:?} {a} {change}: {found:e}, not {exact:e}"
                    );
                }
            }
            for drive in [&drive, &drive.prepare()] {
                let nothing = change.zeros_like().div_scalar(0.0);
                let found = host(drive.increment(nothing, &layer));
                assert!(found.iter().all(|x| x.is_nan()), "{activation:?}");
            }
        }
    }

    /// The fused update and the tensor operations are the same function.
    #[test]
    fn the_fused_update_equals_the_composed_one() {
        let device = Device::flex();
        let (rows, units) = (200, 1_001);
        assert!(rows * units > CHUNK, "several chunks");
        let make = |phase: f32| {
            let values = (0..rows * units).map(|i| 3.0 * (i as f32 * 0.37 + phase).sin()).collect();
            Tensor::<2>::from_data(TensorData::new::<f32, _>(values, [rows, units]), &device)
        };
        let (field, drive) = (make(0.0), make(1.0));
        for activation in [
            Activation::Identity,
            Activation::Relu,
            Activation::HardSigmoid,
            Activation::Sigmoid,
            Activation::Tanh,
        ] {
            let layer =
                LayerSpec { name: String::new(), size: units, activation, gain: 1.7, bias: true };
            let composed = Drive::Tensor(drive.clone());
            let prepared = composed.prepare();
            assert!(matches!(prepared, Drive::Host { .. }));
            let rows = Tensor::<1, Int>::from_data([5, 0, 199], &device);
            for (fast, slow, field) in [
                (&prepared, &composed, Some(field.clone())),
                (&prepared, &composed, None),
                (
                    &prepared.select(&rows),
                    &composed.select(&rows),
                    Some(field.clone().select(0, rows.clone())),
                ),
            ] {
                let difference =
                    fast.activate(field.clone(), &layer) - slow.activate(field, &layer);
                let largest: f32 = difference.abs().max().into_scalar();
                assert!(largest < 1e-6, "{activation:?}: {largest}");
            }
        }
    }
}
