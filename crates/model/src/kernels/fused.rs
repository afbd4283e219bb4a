//! The elementwise end of a layer's update in one pass over memory.

#![expect(clippy::inline_always, reason = "a call left in the loop would keep it scalar")]

use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;

use crate::energy::activation::Activation;
use crate::energy::layer::LayerSpec;
use crate::host::values;
use crate::kernels::exponential::{sigmoid, sigmoid_increment};

/// Values that one thread works on at a time. Fewer are done before a second thread has woken.
pub(crate) const CHUNK: usize = 1 << 17;

/// `g(c (field + drive))` in one pass. The field's own memory becomes the result's.
pub(crate) fn activate(field: Tensor<2>, drive: &[f32], layer: &LayerSpec) -> Tensor<2> {
    let dims = field.dims();
    let (mut field, gain) = (values(field), layer.gain as f32);
    let slice = &mut field;
    match layer.activation {
        Activation::Identity => sweep(slice, drive, gain, Identity),
        Activation::Relu => sweep(slice, drive, gain, Relu),
        Activation::HardSigmoid => sweep(slice, drive, gain, HardSigmoid),
        Activation::Sigmoid => sweep(slice, drive, gain, Sigmoid),
        Activation::Tanh => sweep(slice, drive, gain, Tanh),
    }
    Tensor::from_data(TensorData::new(field, dims), &Device::flex())
}

/// `g(c (drive + change)) - g(c drive)` likewise.
pub(crate) fn increment(change: Tensor<2>, drive: &[f32], layer: &LayerSpec) -> Tensor<2> {
    let dims = change.dims();
    let (mut change, gain) = (values(change), layer.gain as f32);
    let slice = &mut change;
    match layer.activation {
        Activation::Identity => sweep(slice, drive, gain, Increment(Identity)),
        Activation::Relu => sweep(slice, drive, gain, Increment(Relu)),
        Activation::HardSigmoid => sweep(slice, drive, gain, Increment(HardSigmoid)),
        Activation::Sigmoid => sweep(slice, drive, gain, Increment(Sigmoid)),
        Activation::Tanh => sweep(slice, drive, gain, Increment(Tanh)),
    }
    Tensor::from_data(TensorData::new(change, dims), &Device::flex())
}

/// An update of one unit. A trait rather than a closure, because the loop around it becomes vector
/// code only if the call is always inlined.
trait Pair: Copy + Sync {
    /// The new value, from the old one, the drive and the gain.
    fn of(self, value: f32, drive: f32, gain: f32) -> f32;
}

/// A nonlinearity of one number.
trait Pointwise: Copy + Sync {
    /// `g(a)`.
    fn of(self, a: f32) -> f32;

    /// `g(a + change) - g(a)`.
    fn increment(self, a: f32, change: f32) -> f32;
}

macro_rules! pointwise {
    ($name:ident, $a:ident => $value:expr, $change:ident => $increment:expr) => {
        #[derive(Clone, Copy)]
        struct $name;
        impl Pointwise for $name {
            #[inline(always)]
            fn of(self, $a: f32) -> f32 {
                $value
            }
            #[inline(always)]
            #[allow(
                unused_variables,
                reason = "where g is linear the increment does not depend on a"
            )]
            fn increment(self, $a: f32, $change: f32) -> f32 {
                $increment
            }
        }
        impl Pair for $name {
            #[inline(always)]
            fn of(self, value: f32, drive: f32, gain: f32) -> f32 {
                Pointwise::of(self, gain * (value + drive))
            }
        }
    };
}

// Written so that NaN stays NaN.
pointwise!(Identity, a => a, change => change);
pointwise!(Relu, a => if a < 0.0 { 0.0 } else { a }, change => {
    let p = if a < 0.0 { 0.0 } else { a };
    let moved = change + (a - p);
    if moved < -p { -p } else { moved }
});
pointwise!(HardSigmoid, a => a.clamp(0.0, 1.0), change => {
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
pointwise!(Sigmoid, a => sigmoid(a), change => sigmoid_increment(a, change));
pointwise!(Tanh, a => a.tanh(), change => 2.0 * sigmoid_increment(2.0 * a, 2.0 * change));

/// The change of a nonlinearity at the drive.
#[derive(Clone, Copy)]
struct Increment<G>(G);

impl<G: Pointwise> Pair for Increment<G> {
    #[inline(always)]
    fn of(self, value: f32, drive: f32, gain: f32) -> f32 {
        self.0.increment(gain * drive, gain * value)
    }
}

/// `v <- g(v, d, gain)` over two slices of one length, on all threads and with the widest vectors
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
