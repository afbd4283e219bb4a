//! Pairs of units within a layer: a symmetric matrix with zero diagonal.

use burn::module::{Module, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};

use crate::energy::interaction::bilinear::{Bilinear, Direction};
use crate::energy::interaction::matrix;
use crate::energy::interaction::weights::{Weights, flat};

/// Relative asymmetry that is taken for rounding, of this program or another.
const ASYMMETRY: f32 = 1e-5;

/// A symmetric matrix within a layer that joins all its pairs of units.
#[derive(Module, Debug)]
pub struct Within {
    /// `R`, `[n, n]`, symmetric with zero diagonal.
    pub weight: Param<Tensor<2>>,
    pairs: Pairs,
}

/// Which pairs of units of a layer a symmetric matrix joins.
#[derive(Module, Debug)]
pub(super) struct Pairs {
    /// 1 for joined pairs, 0 for all others and on the diagonal, `[n, n]`.
    mask: Tensor<2>,
    /// How many pairs.
    count: usize,
}

impl Within {
    pub(crate) fn new(mut values: Vec<f32>, units: usize, device: &Device) -> Self {
        let pairs = Pairs::new(&mut values, units, |_, _| true, device);
        Self { weight: matrix::parameter(values, [units, units], device), pairs }
    }
}

impl Pairs {
    /// The pairs `i > j` for which `joins` holds. Mirrors the upper triangle of `values` into the
    /// lower one, and clears the diagonal and the pairs that are not joined.
    pub(super) fn new(
        values: &mut [f32],
        units: usize,
        joins: impl Fn(usize, usize) -> bool,
        device: &Device,
    ) -> Self {
        let (mut mask, mut count) = (vec![0.0_f32; units * units], 0);
        for i in 0..units {
            values[i * units + i] = 0.0;
            for j in 0..i {
                let [below, above] = [i * units + j, j * units + i];
                if joins(i, j) {
                    values[below] = values[above];
                    (mask[below], mask[above]) = (1.0, 1.0);
                    count += 1;
                } else {
                    (values[below], values[above]) = (0.0, 0.0);
                }
            }
        }
        let mask = Tensor::from_data(TensorData::new(mask, [units, units]), device);
        Self { mask, count }
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The symmetric part of a matrix, `(G + G')/2`, for the joined pairs.
    pub(super) fn project(&self, matrix: Tensor<2>) -> Tensor<2> {
        (matrix.clone() + matrix.transpose()).mul_scalar(0.5) * self.mask.clone()
    }

    /// Whether a matrix is symmetric and zero for pairs that are not joined, up to rounding.
    pub(super) fn fit(&self, weight: &Tensor<2>) -> bool {
        let off = weight.clone() - self.project(weight.clone());
        matrix::largest(off) <= ASYMMETRY * matrix::largest(weight.clone())
    }

    /// Projects the gradient that is registered for `weight`.
    pub(super) fn project_registered(
        &self,
        weight: &Param<Tensor<2>>,
        gradients: &mut GradientsParams,
    ) {
        if let Some(gradient) = gradients.remove::<2>(weight.id) {
            gradients.register(weight.id, self.project(gradient));
        }
    }
}

impl Bilinear for Within {
    fn to_upper(&self, lower: Tensor<2>) -> Tensor<2> {
        lower.matmul(self.weight.val())
    }

    fn to_lower(&self, upper: Tensor<2>) -> Tensor<2> {
        self.to_upper(upper)
    }

    fn gradient(&self, lower: Tensor<2>, upper: Tensor<2>) -> Tensor<1> {
        flat(self.pairs.project(matrix::outer(lower, upper)))
    }

    fn fan_in(&self, _direction: Direction) -> usize {
        self.weight.dims()[0]
    }

    fn norm(&self) -> Tensor<1> {
        matrix::spectral_norm(self.weight.val())
    }

    fn parameters(&self) -> usize {
        self.pairs.count()
    }

    fn is_sound(&self) -> bool {
        self.pairs.fit(&self.weight.val())
    }

    fn weights(&self) -> &dyn Weights {
        &self.weight
    }

    fn weights_mut(&mut self) -> &mut dyn Weights {
        &mut self.weight
    }

    fn project(&self, gradients: &mut GradientsParams) {
        self.pairs.project_registered(&self.weight, gradients);
    }
}
