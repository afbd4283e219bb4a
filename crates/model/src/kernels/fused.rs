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

/// A loop over a nonlinearity `g` of numbers and its `increment(a, change) = g(a + change) - g(a)`.
trait Loop {
    type Output;

    fn run(self, g: impl Fn(f32) -> f32, increment: impl Fn(f32, f32) -> f32) -> Self::Output;
}

/// Runs `each` with the functions of `activation`.
#[inline(always)]
fn with_functions<L: Loop>(activation: Activation, each: L) -> L::Output {
    match activation {
        Activation::Identity => each.run(|a| a, |_, change| change),
        Activation::Relu => each.run(relu, relu_increment),
        Activation::HardSigmoid => each.run(|a| a.clamp(0.0, 1.0), hard_sigmoid_increment),
        Activation::Sigmoid => each.run(sigmoid, sigmoid_increment),
        Activation::Tanh => {
            each.run(f32::tanh, |a, change| 2.0 * sigmoid_increment(2.0 * a, 2.0 * change))
        }
    }
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
}

impl Kernel for Fused {
    #[inline(always)]
    fn run(self, values: &mut [f32], drive: &[f32], _state: &[f32]) {
        with_functions(self.activation, InPlace { values, drive, of: self.of, gain: self.gain });
    }
}

struct InPlace<'a> {
    values: &'a mut [f32],
    drive: &'a [f32],
    of: Of,
    gain: f32,
}

impl Loop for InPlace<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, g: impl Fn(f32) -> f32, increment: impl Fn(f32, f32) -> f32) {
        let (gain, pairs) = (self.gain, self.values.iter_mut().zip(self.drive));
        match self.of {
            Of::Input => pairs.for_each(|(v, d)| *v = g(gain * (*v + *d))),
            Of::Change => pairs.for_each(|(v, d)| *v = increment(gain * *d, gain * *v)),
        }
    }
}

/// The update of a layer's `state` in one sample, from the input `a` that it receives:
/// `g(c a)`, or with a `base` the change `g(c (base + a)) - g(c base)`. Returns `|w (f - s)|^2` and
/// `|w f|^2`, in sums side by side, as the processor's vectors add.
pub(crate) struct Update<'a> {
    pub(crate) layer: &'a LayerSpec,
    pub(crate) input: &'a [f32],
    pub(crate) base: Option<&'a [f32]>,
    pub(crate) state: &'a mut [f32],
    /// `w`.
    pub(crate) weight: f32,
}

impl pulp::NullaryFnOnce for Update<'_> {
    type Output = [f32; 2];

    #[inline(always)]
    fn call(self) -> [f32; 2] {
        with_functions(self.layer.activation, self)
    }
}

impl Loop for Update<'_> {
    type Output = [f32; 2];

    #[inline(always)]
    fn run(self, g: impl Fn(f32) -> f32, increment: impl Fn(f32, f32) -> f32) -> [f32; 2] {
        let gain = self.layer.gain as f32;
        match self.base {
            None => self.each(|a, _| g(gain * a)),
            Some(_) => self.each(|a, base| increment(gain * base, gain * a)),
        }
    }
}

impl Update<'_> {
    #[inline(always)]
    fn each(self, new: impl Fn(f32, f32) -> f32) -> [f32; 2] {
        const SUMS: usize = 16;
        let Self { input, state, weight, .. } = self;
        let base = self.base.unwrap_or(input);
        let (mut differences, mut norms) = ([0.0_f32; SUMS], [0.0_f32; SUMS]);
        let mut one = |i: usize, input: f32, base: f32, state: &mut f32| {
            let new = new(input, base);
            // Scaled before squaring, where small numbers would underflow.
            differences[i] += (weight * (new - *state)).powi(2);
            norms[i] += (weight * new).powi(2);
            *state = new;
        };
        let (inputs, last_input) = input.as_chunks::<SUMS>();
        let (bases, last_base) = base.as_chunks::<SUMS>();
        let (states, last_state) = state.as_chunks_mut::<SUMS>();
        // A fixed number of values at a time becomes vector code.
        for ((input, base), state) in inputs.iter().zip(bases).zip(states) {
            for i in 0..SUMS {
                one(i, input[i], base[i], &mut state[i]);
            }
        }
        let last = last_input.iter().zip(last_base).zip(last_state).enumerate();
        last.for_each(|(i, ((input, base), state))| one(i, *input, *base, state));
        [differences, norms].map(|sums| sums.iter().sum())
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
