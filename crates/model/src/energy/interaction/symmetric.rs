//! Pairs of units within a layer: a symmetric matrix with zero diagonal.

use burn::module::{Module, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use hvae_device::{HostValues, read};

use crate::energy::interaction::bilinear::{
    Bilinear, Direction, Weights, flat, parameter, spectral_norm,
};
use crate::energy::interaction::packed::Packed;
use crate::energy::layer::Shape;

/// Relative asymmetry that is taken for rounding, of this program or another.
const ASYMMETRY: f32 = 1e-5;

/// A symmetric matrix within a layer, over all its pairs of units or those that lie near each other
/// on its grid.
#[derive(Module, Debug)]
pub struct Symmetric {
    /// `R`, `[n, n]`, symmetric, zero on the diagonal and for pairs that are not joined.
    pub weight: Param<Tensor<2>>,
    /// 1 for joined pairs, 0 for all others and on the diagonal, `[n, n]`.
    mask: Tensor<2>,
    /// Number of joined pairs.
    pairs: usize,
    /// How far from the diagonal the last joined pair lies, if not all are joined.
    band: Option<usize>,
}

impl Symmetric {
    /// All pairs.
    pub(crate) fn within(values: Vec<f32>, units: usize, device: &Device) -> Self {
        Self::new(values, units, |_, _| true, device)
    }

    /// The pairs at most `reach` rows and `reach` columns apart, of all channels.
    pub(crate) fn banded(values: Vec<f32>, shape: Shape, reach: usize, device: &Device) -> Self {
        let n = shape.size();
        let near = |i: usize, j: usize| {
            let ([row, column], [other_row, other_column]) = (shape.place(i), shape.place(j));
            row.abs_diff(other_row) <= reach && column.abs_diff(other_column) <= reach
        };
        let last = |i: usize| (0..i).find(|&j| near(i, j)).map_or(0, |j| i - j);
        let band = (0..n).map(last).max();
        Self { band, ..Self::new(values, n, near, device) }
    }

    /// The pairs `i > j` for which `joins` holds. Mirrors the upper triangle of `values` into the
    /// lower one, and clears the diagonal and the pairs that are not joined.
    fn new(
        mut values: Vec<f32>,
        units: usize,
        joins: impl Fn(usize, usize) -> bool,
        device: &Device,
    ) -> Self {
        let (mut mask, mut pairs) = (vec![0.0_f32; units * units], 0);
        for i in 0..units {
            values[i * units + i] = 0.0;
            for j in 0..i {
                let [below, above] = [i * units + j, j * units + i];
                if joins(i, j) {
                    values[below] = values[above];
                    (mask[below], mask[above]) = (1.0, 1.0);
                    pairs += 1;
                } else {
                    (values[below], values[above]) = (0.0, 0.0);
                }
            }
        }
        let mask = Tensor::from_data(TensorData::new(mask, [units, units]), device);
        Self { weight: parameter(values, [units, units], device), mask, pairs, band: None }
    }

    /// The symmetric part of a matrix, `(G + G')/2`, for the joined pairs.
    fn symmetrise(&self, matrix: Tensor<2>) -> Tensor<2> {
        (matrix.clone() + matrix.transpose()).mul_scalar(0.5) * self.mask.clone()
    }
}

impl Bilinear for Symmetric {
    fn to_upper(&self, lower: Tensor<2>) -> Tensor<2> {
        lower.matmul(self.weight.val())
    }

    fn to_lower(&self, upper: Tensor<2>) -> Tensor<2> {
        self.to_upper(upper)
    }

    fn pack(&self, _direction: Direction) -> Option<Packed> {
        let [_, n] = self.weight.dims();
        Some(Packed::new(&HostValues::of(&self.weight.val())?, n, self.band))
    }

    fn gradient(&self, lower: Tensor<2>, upper: Tensor<2>) -> Tensor<1> {
        flat(self.symmetrise(lower.transpose().matmul(upper)))
    }

    fn fan_in(&self, _direction: Direction) -> usize {
        self.weight.dims()[0]
    }

    fn norm(&self) -> Tensor<1> {
        spectral_norm(self.weight.val())
    }

    fn parameters(&self) -> usize {
        self.pairs
    }

    fn is_sound(&self) -> bool {
        let (weight, largest) = (self.weight.val(), |m: Tensor<2>| read(m.abs().max())[0]);
        let off = weight.clone() - self.symmetrise(weight.clone());
        largest(off) <= ASYMMETRY * largest(weight)
    }

    fn weights(&self) -> &dyn Weights {
        &self.weight
    }

    fn weights_mut(&mut self) -> &mut dyn Weights {
        &mut self.weight
    }

    fn project(&self, gradients: &mut GradientsParams) {
        if let Some(gradient) = gradients.remove::<2>(self.weight.id) {
            gradients.register(self.weight.id, self.symmetrise(gradient));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::wave;

    /// The packed form leaves out what lies outside the band, and nothing else.
    #[test]
    fn the_packed_product_is_the_whole_one() {
        let s = wave(5, 784, 1.0);
        for reach in [3, 5] {
            let values = read(wave(784, 784, 0.0));
            let banded = Symmetric::banded(values, Shape::grey(28, 28), reach, &Device::flex());
            let whole = read(banded.to_upper(s.clone()));
            let mut found = vec![0.0; whole.len()];
            banded.pack(Direction::Up).unwrap().add_product(&read(s.clone()), &mut found);
            assert!(whole.iter().any(|x| x.abs() > 1.0));
            for (found, whole) in found.iter().zip(&whole) {
                assert!((found - whole).abs() < 1e-4, "{found} {whole}");
            }
        }
    }

    /// Neighbours on a grid that is not square, within and across two channels.
    #[test]
    fn nearness_is_measured_in_rows_and_columns() {
        let shape = Shape { channels: 2, height: 2, width: 3 };
        let banded = Symmetric::banded(vec![1.0; 144], shape, 1, &Device::flex());
        let r = read(banded.weight.val());
        // Units 0 and 2 lie two columns apart, 2 and 3 are the end of a row and the start of the
        // next.
        for (i, j, joined) in [(0, 1, true), (0, 2, false), (2, 3, false), (0, 4, true)] {
            for other in [j, j + 6] {
                assert_eq!(r[i * 12 + other] > 0.5, joined, "{i} {other}");
            }
        }
        assert!(r[6] > 0.5 && r[0] < 0.5, "the same place in the other channel, but not itself");
    }
}
