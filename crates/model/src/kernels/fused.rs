//! The elementwise end of a layer's update in one pass over memory.

use burn::tensor::Tensor;

use crate::energy::activation::Activation;
use crate::energy::layer::LayerSpec;
use crate::kernels::exponential::{sigmoid, sigmoid_increment};
use crate::kernels::{Kernel, pass};

/// Values that one thread works on at a time. Fewer are done before a second thread has woken.
pub(crate) const CHUNK: usize = 1 << 17;

/// `g(c (field + drive))`. The field's own memory becomes the result's.
pub(crate) fn activate(field: Tensor<2>, drive: &[f32], layer: &LayerSpec) -> Tensor<2> {
    pass(field, drive, None, CHUNK, Fused::new(Of::Input, layer))
}

/// `g(c (drive + change)) - g(c drive)` likewise.
pub(crate) fn increment(change: Tensor<2>, drive: &[f32], layer: &LayerSpec) -> Tensor<2> {
    pass(change, drive, None, CHUNK, Fused::new(Of::Change, layer))
}

/// What a nonlinearity `g` is applied to.
#[derive(Clone, Copy)]
enum Of {
    /// `g` of field and drive.
    Input,
    /// The increment of `g` from the drive on.
    Change,
}

/// A nonlinearity with its gain.
#[derive(Clone, Copy)]
struct Fused {
    of: Of,
    activation: Activation,
    gain: f32,
}

impl Fused {
    fn new(of: Of, layer: &LayerSpec) -> Self {
        Self { of, activation: layer.activation, gain: layer.gain as f32 }
    }

    /// With `g(a)`, and its `increment(a, change)`.
    #[inline(always)]
    fn each(
        self,
        values: &mut [f32],
        drive: &[f32],
        g: impl Fn(f32) -> f32,
        increment: impl Fn(f32, f32) -> f32,
    ) {
        let (gain, pairs) = (self.gain, values.iter_mut().zip(drive));
        match self.of {
            Of::Input => pairs.for_each(|(v, d)| *v = g(gain * (*v + *d))),
            Of::Change => pairs.for_each(|(v, d)| *v = increment(gain * *d, gain * *v)),
        }
    }
}

impl Kernel for Fused {
    #[inline(always)]
    fn run(self, values: &mut [f32], drive: &[f32], _state: &[f32]) {
        match self.activation {
            Activation::Identity => self.each(values, drive, |a| a, |_, change| change),
            Activation::Relu => self.each(values, drive, relu, relu_increment),
            Activation::HardSigmoid => {
                self.each(values, drive, |a| a.clamp(0.0, 1.0), hard_sigmoid_increment);
            }
            Activation::Sigmoid => self.each(values, drive, sigmoid, sigmoid_increment),
            Activation::Tanh => {
                let increment = |a, change| 2.0 * sigmoid_increment(2.0 * a, 2.0 * change);
                self.each(values, drive, f32::tanh, increment);
            }
        }
    }
}

/// Keeps NaN, and so do the increments.
#[inline(always)]
fn relu(a: f32) -> f32 {
    if a < 0.0 { 0.0 } else { a }
}

#[inline(always)]
fn relu_increment(a: f32, change: f32) -> f32 {
    let p = relu(a);
    let moved = change + (a - p);
    if moved < -p { -p } else { moved }
}

#[inline(always)]
fn hard_sigmoid_increment(a: f32, change: f32) -> f32 {
    let p = a.clamp(0.0, 1.0);
    let moved = change + (a - p);
    if moved < -p {
        -p
    } else if moved > 1.0 - p {
        1.0 - p
    } else {
        moved
    }
}
