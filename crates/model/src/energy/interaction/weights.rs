//! Weights of any rank, seen as flat lists of numbers.

use std::fmt::Debug;

use burn::module::{Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

use crate::scalar::Scalar;

/// The weights of an interaction, whatever the rank of their tensor. Flat ones are `[stored weights]`, in
/// the order in which they lie in it.
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
    let count: usize = tensor.dims().iter().product();
    tensor.reshape([count])
}

fn replace<const D: usize>(weight: &mut Param<Tensor<D>>, by: impl FnOnce(Tensor<D>) -> Tensor<D>) {
    let (id, values, mapper) = weight.clone().consume();
    *weight = Param::from_mapped_value(id, by(values), mapper);
}
