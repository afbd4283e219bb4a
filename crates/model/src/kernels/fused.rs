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
    pass(field, drive, None, CHUNK, Activate(layer.activation, layer.gain as f32))
}

/// `g(c (drive + change)) - g(c drive)` likewise.
pub(crate) fn increment(change: Tensor<2>, drive: &[f32], layer: &LayerSpec) -> Tensor<2> {
    pass(change, drive, None, CHUNK, Increment(layer.activation, layer.gain as f32))
}

/// A nonlinearity, and the gain.
#[derive(Clone, Copy)]
struct Activate(Activation, f32);

impl Kernel for Activate {
    #[inline(always)]
    fn run(self, values: &mut [f32], drive: &[f32], _state: &[f32]) {
        let Self(activation, gain) = self;
        let pairs = values.iter_mut().zip(drive);
        match activation {
            Activation::Identity => {
                for (v, d) in pairs {
                    *v = gain * (*v + *d);
                }
            }
            Activation::Relu => {
                for (v, d) in pairs {
                    *v = relu(gain * (*v + *d));
                }
            }
            Activation::HardSigmoid => {
                for (v, d) in pairs {
                    *v = (gain * (*v + *d)).clamp(0.0, 1.0);
                }
            }
            Activation::Sigmoid => {
                for (v, d) in pairs {
                    *v = sigmoid(gain * (*v + *d));
                }
            }
            Activation::Tanh => {
                for (v, d) in pairs {
                    *v = (gain * (*v + *d)).tanh();
                }
            }
        }
    }
}

/// The same for the change of a nonlinearity.
#[derive(Clone, Copy)]
struct Increment(Activation, f32);

impl Kernel for Increment {
    #[inline(always)]
    fn run(self, values: &mut [f32], drive: &[f32], _state: &[f32]) {
        let Self(activation, gain) = self;
        let pairs = values.iter_mut().zip(drive);
        match activation {
            Activation::Identity => {
                for (v, _) in pairs {
                    *v *= gain;
                }
            }
            Activation::Relu => {
                for (v, d) in pairs {
                    *v = relu_increment(gain * *d, gain * *v);
                }
            }
            Activation::HardSigmoid => {
                for (v, d) in pairs {
                    *v = hard_sigmoid_increment(gain * *d, gain * *v);
                }
            }
            Activation::Sigmoid => {
                for (v, d) in pairs {
                    *v = sigmoid_increment(gain * *d, gain * *v);
                }
            }
            Activation::Tanh => {
                for (v, d) in pairs {
                    *v = 2.0 * sigmoid_increment(2.0 * (gain * *d), 2.0 * (gain * *v));
                }
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
