//! Pairs of nearby units within a layer that has a grid.

use burn::module::{Module, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};

use crate::energy::interaction::bilinear::{Bilinear, Direction};
use crate::energy::interaction::matrix;
use crate::energy::interaction::weights::{Weights, flat};
use crate::energy::interaction::within::Pairs;
use crate::energy::layer::Shape;
use crate::host::is_plain_cpu;

/// A symmetric matrix within a layer that joins units at most `reach` rows and `reach` columns
/// apart, of all channels.
#[derive(Module, Debug)]
pub struct Banded {
    /// `R`, `[n, n]`, symmetric, zero on the diagonal and for pairs that are not joined.
    pub weight: Param<Tensor<2>>,
    pairs: Pairs,
    /// How far from the diagonal the last joined pair lies, if that is near enough for strips to
    /// pay.
    band: Option<usize>,
}

impl Banded {
    pub(crate) fn new(mut values: Vec<f32>, shape: Shape, reach: usize, device: &Device) -> Self {
        let n = shape.size();
        let near = |i: usize, j: usize| {
            let ([row, column], [other_row, other_column]) = (shape.place(i), shape.place(j));
            row.abs_diff(other_row) <= reach && column.abs_diff(other_column) <= reach
        };
        let pairs = Pairs::new(&mut values, n, near, device);
        let last = |i: usize| (0..i).find(|&j| near(i, j)).map_or(0, |j| i - j);
        let band = (0..n).map(last).max().unwrap_or(0);
        // A strip of 2 bands of columns takes 4 bands of rows: of wider bands it takes nearly all.
        let band = (band > 0 && 6 * band <= n).then_some(band);
        Self { weight: matrix::parameter(values, [n, n], device), pairs, band }
    }
}

impl Bilinear for Banded {
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
    use burn::tensor::TensorData;

    use super::*;

    fn wave(rows: usize, columns: usize, phase: f32) -> Vec<f32> {
        (0..rows * columns).map(|i| (i as f32 * 0.37 + phase).sin()).collect()
    }

    /// A reach of 3 makes strips, the last one narrower; one of 5 does not.
    #[test]
    fn strips_give_the_whole_product() {
        let device = Device::flex();
        let s = Tensor::<2>::from_data(TensorData::new(wave(5, 784, 1.0), [5, 784]), &device);
        for (reach, strips) in [(3, true), (5, false)] {
            let values = wave(784, 784, 0.0);
            let banded = Banded::new(values, Shape::grey(28, 28), reach, &device);
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
        let banded = Banded::new(vec![1.0; 144], shape, 1, &Device::flex());
        let r: Vec<f32> = crate::host::values(banded.weight.val());
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
