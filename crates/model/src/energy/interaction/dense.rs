//! All pairs of units of two layers.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use hvae_device::HostValues;

use crate::energy::interaction::bilinear::{
    Bilinear, Direction, Weights, flat, parameter, spectral_norm,
};
use crate::energy::interaction::packed::Packed;

/// A matrix between two layers.
#[derive(Module, Debug)]
pub struct Dense {
    /// `W`, `[n_lower, n_upper]`.
    pub weight: Param<Tensor<2>>,
}

impl Dense {
    pub(crate) fn new(values: Vec<f32>, dims: [usize; 2], device: &Device) -> Self {
        Self { weight: parameter(values, dims, device) }
    }
}

impl Bilinear for Dense {
    fn to_upper(&self, lower: Tensor<2>) -> Tensor<2> {
        lower.matmul(self.weight.val())
    }

    fn to_lower(&self, upper: Tensor<2>) -> Tensor<2> {
        upper.matmul(self.weight.val().transpose())
    }

    fn pack(&self, direction: Direction) -> Option<Packed> {
        let [_, upper] = self.weight.dims();
        let values = HostValues::of(&self.weight.val())?;
        Some(match direction {
            Direction::Up => Packed::new(&values, upper, None),
            Direction::Down => Packed::transposed(&values, upper),
        })
    }

    fn gradient(&self, lower: Tensor<2>, upper: Tensor<2>) -> Tensor<1> {
        flat(lower.transpose().matmul(upper))
    }

    fn fan_in(&self, direction: Direction) -> usize {
        let [lower, upper] = self.weight.dims();
        if direction == Direction::Up { lower } else { upper }
    }

    fn norm(&self) -> Tensor<1> {
        spectral_norm(self.weight.val())
    }

    fn parameters(&self) -> usize {
        self.weight.dims().iter().product()
    }

    fn weights(&self) -> &dyn Weights {
        &self.weight
    }

    fn weights_mut(&mut self) -> &mut dyn Weights {
        &mut self.weight
    }
}
