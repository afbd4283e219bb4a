//! Pairs of units within a layer: a symmetric matrix with zero diagonal.

use burn::module::{Module, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use hvae_device::{is_plain_cpu, read};

use crate::energy::interaction::bilinear::{
    Bilinear, Direction, Weights, flat, parameter, spectral_norm,
};
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
    /// How far from the diagonal the last joined pair lies, if that is near enough for strips to
    /// pay.
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
        let band = (0..n).map(last).max().unwrap_or(0);
        // A strip of 2 bands of columns takes 4 bands of rows: of wider bands it takes nearly all.
        let band = (band > 0 && 6 * band <= n).then_some(band);
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
        match self.band {
            // Elsewhere every product is a kernel launch.
            Some(band) if is_plain_cpu(&lower) => strips(&lower, &self.weight.val(), band),
            _ => lower.matmul(self.weight.val()),
        }
    }

    fn to_lower(&self, upper: Tensor<2>) -> Tensor<2> {
        self.to_upper(upper)
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

/// `s R`, where `R` is zero farther than `band` from its diagonal: strip by strip of its columns.
fn strips(s: &Tensor<2>, r: &Tensor<2>, band: usize) -> Tensor<2> {
    let [n, _] = r.dims();
    let strip = |from: usize| {
        let to = (from + 2 * band).min(n);
        let (first, end) = (from.saturating_sub(band), (to + band).min(n));
        let columns = r.clone().narrow(0, first, end - first).narrow(1, from, to - from);
        s.clone().narrow(1, first, end - first).matmul(columns)
    };
    Tensor::cat((0..n).step_by(2 * band).map(strip).collect(), 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::wave;

    /// A reach of 3 makes strips, the last one narrower; one of 5 does not.
    #[test]
    fn strips_give_the_whole_product() {
        let device = Device::flex();
        let s = wave(5, 784, 1.0);
        for (reach, strips) in [(3, true), (5, false)] {
            let values = read(wave(784, 784, 0.0));
            let banded = Symmetric::banded(values, Shape::grey(28, 28), reach, &device);
            assert_eq!(banded.band.is_some(), strips);
            let whole = s.clone().matmul(banded.weight.val());
            let size: f32 = whole.clone().abs().max().into_scalar();
            let off: f32 = (banded.to_upper(s.clone()) - whole).abs().max().into_scalar();
            assert!(size > 1.0 && off < 1e-5 * size, "{reach}: {off} of {size}");
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
