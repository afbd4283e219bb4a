//! What every kind of interaction provides, and what those that store a matrix have in common.

use std::fmt::Debug;

use burn::module::{Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use hvae_device::is_plain_cpu;

use crate::energy::interaction::packed::Packed;
use crate::scalar::Scalar;

/// The direction of a signal through an interaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the lower to the upper layer.
    Up = 0,
    /// From the upper to the lower layer.
    Down = 1,
}

/// What every kind of interaction provides. Gradients are flat, see [`Weights`].
pub(crate) trait Bilinear: Debug {
    /// `W s`: what the upper layer receives from the states `s` of the lower one,
    /// `[batch, n_upper]`.
    fn to_upper(&self, lower: Tensor<2>) -> Tensor<2>;

    /// `W' t`, the adjoint map, `[batch, n_lower]`.
    fn to_lower(&self, upper: Tensor<2>) -> Tensor<2>;

    /// `W` (up) or `W'` (down) packed for many products in host memory; `None` on other devices.
    fn pack(&self, direction: Direction) -> Option<Packed>;

    /// The gradient of `<t, W s>` in the weights, summed over the batch, projected on the
    /// directions in which they can change.
    fn gradient(&self, lower: Tensor<2>, upper: Tensor<2>) -> Tensor<1>;

    /// `<t, W s>` of every sample, `[batch, 1]`.
    fn product(&self, lower: Tensor<2>, upper: Tensor<2>) -> Tensor<2> {
        (self.to_upper(lower) * upper).sum_dim(1)
    }

    /// How many units act on one unit, of the upper layer for [`Direction::Up`].
    fn fan_in(&self, direction: Direction) -> usize;

    /// The spectral norm of `W`, estimated from below, `[1]`.
    fn norm(&self) -> Tensor<1>;

    /// Number of independent weights.
    fn parameters(&self) -> usize;

    /// Whether the weights have an energy, as weights from elsewhere may not: within a layer they
    /// must be symmetric, and zero for pairs that are not joined.
    fn is_sound(&self) -> bool {
        true
    }

    /// The weights.
    fn weights(&self) -> &dyn Weights;

    /// The weights, to change them.
    fn weights_mut(&mut self) -> &mut dyn Weights;

    /// Projects a gradient by automatic differentiation as [`Self::gradient`] is.
    fn project(&self, gradients: &mut GradientsParams) {
        let _ = gradients;
    }
}

/// The weights of an interaction, a tensor of any rank. Flat ones are `[stored weights]`, in the
/// order in which they lie in it.
pub(crate) trait Weights: Debug {
    /// Their id.
    fn id(&self) -> ParamId;

    /// Their values, flat.
    fn flat(&self) -> Tensor<1>;

    /// Replaces their values, given flat; the id stays.
    fn set(&mut self, values: Tensor<1>);

    /// Multiplies them.
    fn scale(&mut self, factor: &Scalar);

    /// Registers a flat gradient under their id and in their shape.
    fn register(&self, gradient: Tensor<1>, gradients: &mut GradientsParams);
}

impl<const D: usize> Weights for Param<Tensor<D>> {
    fn id(&self) -> ParamId {
        self.id
    }

    fn flat(&self) -> Tensor<1> {
        flat(self.val())
    }

    fn set(&mut self, values: Tensor<1>) {
        let dims = self.dims();
        replace(self, |_| values.reshape(dims));
    }

    fn scale(&mut self, factor: &Scalar) {
        replace(self, |values| factor.times(values, 1.0));
    }

    fn register(&self, gradient: Tensor<1>, gradients: &mut GradientsParams) {
        gradients.register(self.id, gradient.reshape(self.dims()));
    }
}

/// All values of a tensor, in their order.
pub(super) fn flat<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    tensor.flatten(0, D - 1)
}

fn replace<const D: usize>(weight: &mut Param<Tensor<D>>, by: impl FnOnce(Tensor<D>) -> Tensor<D>) {
    let (id, values, mapper) = weight.clone().consume();
    *weight = Param::from_mapped_value(id, by(values), mapper);
}

/// A new parameter, `[rows, columns]`.
pub(super) fn parameter(values: Vec<f32>, dims: [usize; 2], device: &Device) -> Param<Tensor<2>> {
    Param::from_tensor(Tensor::from_data(TensorData::new(values, dims), device))
}

/// Iterations of the power method. Training runs it again and again while the matrix changes little.
const POWER_ITERATIONS: usize = 15;

/// The largest singular value of `w`, from below, `[1]`.
pub(super) fn spectral_norm(w: Tensor<2>) -> Tensor<1> {
    let [_, columns] = w.dims();
    // 1 + sin(i)/2.
    let mut v: Tensor<2> = if is_plain_cpu(&w) {
        let start = (0..columns).map(|i| 1.0 + 0.5 * (i as f32).sin()).collect::<Vec<_>>();
        Tensor::from_data(TensorData::new(start, [columns, 1]), &w.device())
    } else {
        // Made on the device: nothing is uploaded.
        let numbers = Tensor::<1>::ones([columns], &w.device()).cumsum(0).sub_scalar(1.0);
        numbers.sin().mul_scalar(0.5).add_scalar(1.0).reshape([columns, 1])
    };
    let length = |v: &Tensor<2>| v.clone().square().sum().sqrt().clamp_min(f32::MIN_POSITIVE);
    for _ in 0..POWER_ITERATIONS {
        let image = w.clone().transpose().matmul(w.clone().matmul(v));
        v = image.clone() / length(&image).unsqueeze();
    }
    length(&w.matmul(v))
}
