//! The elementwise ends of an update: one pass on the CPU, tensor operations elsewhere.

#![expect(clippy::inline_always, reason = "a call left in the loop would keep it scalar")]

use burn::tensor::{Device, Tensor, TensorData};
use hvae_device::is_plain_cpu;
use rayon::prelude::*;

use crate::chn_ham::network::{STEEPNESS, THRESHOLD, rho, slope};
use crate::dynamics::drive::Drive;
use crate::kernels::exponential::sigmoid;
use crate::kernels::{Kernel, pass, values as host};

/// Values that one thread works on at a time.
const CHUNK: usize = 1 << 16;
/// Units whose inner updates run side by side.
const RUN: usize = 32;

/// A function of a layer's field, its drive and its old state.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    /// `field + drive`.
    Sum,
    /// `rho(field + drive)`.
    Fire,
    /// See [`Continuous`].
    Update(Continuous),
}

/// `inner` times `s <- damping s + (1 - damping) rho'(s) (field + drive)`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Continuous {
    pub(super) damping: f32,
    pub(super) inner: usize,
}

impl Kernel for End {
    #[inline(always)]
    fn run(self, values: &mut [f32], drive: &[f32], state: &[f32]) {
        match self {
            Self::Sum => {
                for (v, d) in values.iter_mut().zip(drive) {
                    *v += *d;
                }
            }
            Self::Fire => {
                for (v, d) in values.iter_mut().zip(drive) {
                    *v = scalar_rho(*v + *d);
                }
            }
            Self::Update(continuous) => continuous.update(values, drive, state),
        }
    }
}

impl End {
    /// The same in tensor operations.
    fn tensors(self, field: Tensor<2>, drive: Tensor<2>, state: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Sum => field + drive,
            Self::Fire => rho(field + drive),
            Self::Update(Continuous { damping, inner }) => {
                let damping = f64::from(damping);
                let input = (field + drive).mul_scalar((1.0 - damping) * STEEPNESS);
                (0..inner).fold(state, |s, _| {
                    let r = rho(s.clone());
                    s.mul_scalar(damping) + r.clone() * (-r).add_scalar(1.0) * input.clone()
                })
            }
        }
    }
}

impl Continuous {
    #[inline(always)]
    fn update(self, values: &mut [f32], drive: &[f32], state: &[f32]) {
        // Short runs stay in registers over the inner updates, and are vector code; a loop over the
        // updates of one unit would be a chain.
        let runs = values.chunks_mut(RUN).zip(drive.chunks(RUN)).zip(state.chunks(RUN));
        for ((values, drive), state) in runs {
            let (mut input, mut s) = ([0.0; RUN], [0.0; RUN]);
            for (i, (v, d)) in input.iter_mut().zip(values.iter().zip(drive)) {
                *i = STEEPNESS as f32 * (1.0 - self.damping) * (*v + *d);
            }
            s[..state.len()].copy_from_slice(state);
            for _ in 0..self.inner {
                for (s, i) in s.iter_mut().zip(&input) {
                    let r = scalar_rho(*s);
                    *s = self.damping * *s + r * (1.0 - r) * *i;
                }
            }
            values.copy_from_slice(&s[..values.len()]);
        }
    }

    /// [`backward`] in tensor operations.
    fn backward_tensors(
        self,
        input: Tensor<2>,
        state: Tensor<2>,
        gradient: Tensor<2>,
    ) -> (Tensor<2>, Tensor<2>) {
        let damping = f64::from(self.damping);
        let input = input.mul_scalar(1.0 - damping);
        let mut passed = Vec::with_capacity(self.inner);
        let mut s = state;
        for _ in 0..self.inner {
            let r = rho(s.clone());
            let d = slope(&r);
            s = s.mul_scalar(damping) + d.clone() * input.clone();
            passed.push((r, d));
        }
        let (mut g, mut q) = (gradient, input.zeros_like());
        for (r, d) in passed.into_iter().rev() {
            q = q + d.clone() * g.clone();
            let bend = r.mul_scalar(-2.0).add_scalar(1.0).mul_scalar(STEEPNESS) * d;
            g = g * (bend * input.clone()).add_scalar(damping);
        }
        (g, q.mul_scalar(1.0 - damping))
    }
}

#[inline(always)]
fn scalar_rho(s: f32) -> f32 {
    sigmoid(STEEPNESS as f32 * s - (STEEPNESS * THRESHOLD) as f32)
}

/// `rho(s)`.
pub(super) fn fire(s: Tensor<2>) -> Tensor<2> {
    if !is_plain_cpu(&s) {
        return rho(s);
    }
    let zeros = vec![0.0; s.dims()[1]];
    pass(s, &zeros, None, CHUNK, End::Fire)
}

/// `end(field, drive, state)`; the state may be left out where `end` does not read it.
pub(super) fn finish(
    field: Tensor<2>,
    drive: &Drive,
    state: Option<&Tensor<2>>,
    end: End,
) -> Tensor<2> {
    if let Some(drive) = drive.host() {
        return pass(field, &drive, state, CHUNK, end);
    }
    let state = state.cloned().unwrap_or_else(|| field.clone());
    end.tensors(field, drive.tensor(), state)
}

/// Back through the updates of [`Continuous`], which led from `state` with the input `a`: from the
/// gradient in the state that they ended in to those in the one where they began and in `a`.
pub(super) fn backward(
    input: Tensor<2>,
    state: Tensor<2>,
    gradient: Tensor<2>,
    end: Continuous,
) -> (Tensor<2>, Tensor<2>) {
    if !is_plain_cpu(&state) {
        return end.backward_tensors(input, state, gradient);
    }
    let dims = state.dims();
    let (mut input, state, mut gradient) = (host(input), host(state), host(gradient));
    let arch = pulp::Arch::new();
    let chunks = input.par_chunks_mut(CHUNK).zip(state.par_chunks(CHUNK));
    chunks.zip(gradient.par_chunks_mut(CHUNK)).for_each(|((input, state), gradient)| {
        arch.dispatch(Backward { input, state, gradient, end });
    });
    let tensor = |values| Tensor::from_data(TensorData::new(values, dims), &Device::flex());
    (tensor(gradient), tensor(input))
}

/// One chunk; `gradient` and `input` are replaced by the results.
struct Backward<'a> {
    input: &'a mut [f32],
    state: &'a [f32],
    gradient: &'a mut [f32],
    end: Continuous,
}

impl pulp::NullaryFnOnce for Backward<'_> {
    type Output = ();
    #[inline(always)]
    fn call(self) {
        let Self { input, state, gradient, end: Continuous { damping, inner } } = self;
        let steepness = STEEPNESS as f32;
        // `rho` before each update.
        let mut rhos = vec![[0.0_f32; RUN]; inner];
        let runs = input.chunks_mut(RUN).zip(state.chunks(RUN)).zip(gradient.chunks_mut(RUN));
        for ((input, state), gradient) in runs {
            let (mut a, mut s, mut g) = ([0.0; RUN], [0.0; RUN], [0.0; RUN]);
            for (a, input) in a.iter_mut().zip(&*input) {
                *a = steepness * (1.0 - damping) * *input;
            }
            s[..state.len()].copy_from_slice(state);
            g[..state.len()].copy_from_slice(gradient);
            for rho in &mut rhos {
                for ((s, a), r) in s.iter_mut().zip(&a).zip(rho) {
                    *r = scalar_rho(*s);
                    *s = damping * *s + *r * (1.0 - *r) * *a;
                }
            }
            let mut q = [0.0; RUN];
            for rho in rhos.iter().rev() {
                for (((g, q), a), r) in g.iter_mut().zip(&mut q).zip(&a).zip(rho) {
                    let bell = *r * (1.0 - *r);
                    *q += bell * *g;
                    *g *= damping + steepness * bell * (1.0 - 2.0 * *r) * *a;
                }
            }
            gradient.copy_from_slice(&g[..state.len()]);
            for (input, q) in input.iter_mut().zip(&q) {
                *input = steepness * (1.0 - damping) * *q;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::wave;

    const ROWS: usize = 70;
    const UNITS: usize = 2_001;

    fn assert_same(name: &str, fast: Tensor<2>, slow: Tensor<2>) {
        let largest: f32 = (fast - slow).abs().max().into_scalar();
        // Some roundings of values of about 1; inner updates pass them on.
        assert!(largest < 5e-6, "{name}: {largest}");
    }

    fn compare(name: &str, end: End) {
        const { assert!(ROWS * UNITS > 2 * CHUNK, "several chunks") };
        let (field, state) = (wave(ROWS, UNITS, 0.0), wave(ROWS, UNITS, 2.0));
        for rows in [1, ROWS] {
            let drive = wave(rows, UNITS, 1.0);
            let fast = finish(field.clone(), &Drive::new(drive.clone()), Some(&state), end);
            let slow = end.tensors(field.clone(), drive, state.clone());
            assert_same(&format!("{name}, {rows} rows of drive"), fast, slow);
        }
    }

    /// The fused pass and the tensor operations are the same function, over several chunks, whether
    /// the drive is one row for all samples or one for each.
    #[test]
    fn the_fused_ends_equal_the_composed_ones() {
        compare("sum", End::Sum);
        compare("fire", End::Fire);
        compare("continuous", End::Update(Continuous { damping: 0.5, inner: 1 }));
        compare("inner updates", End::Update(Continuous { damping: 0.3, inner: 4 }));
        let end = Continuous { damping: 0.3, inner: 4 };
        let [input, state, gradient] = [0.0, 1.0, 2.0].map(|shift| wave(ROWS, UNITS, shift));
        let fast = backward(input.clone(), state.clone(), gradient.clone(), end);
        let slow = end.backward_tensors(input, state, gradient);
        assert_same("back, state", fast.0, slow.0);
        assert_same("back, input", fast.1, slow.1);
        assert_same("rho", fire(wave(ROWS, UNITS, 0.0)), rho(wave(ROWS, UNITS, 0.0)));
    }
}
