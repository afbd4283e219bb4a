//! Couplings between two layers, and within one.

use burn::module::{Module, Param};
use burn::tensor::{Tensor, TensorData};

use crate::drive::is_plain_cpu;

/// What rounding may make of equal weights, in other programs, too.
const ASYMMETRY: f32 = 1e-5;

/// A symmetric coupling between two layers, or within one.
#[derive(Module, Debug)]
pub struct Coupling {
    /// `W`, `[size of lower, size of upper]`; within a layer `R`, symmetric, zero on the diagonal and for
    /// pairs of units that are not joined.
    pub weight: Param<Tensor<2>>,
    /// Index of the layer with the lower number.
    pub lower: usize,
    /// Index of the layer with the higher number; equal to `lower` for `R`.
    pub upper: usize,
    /// Of `R`: 1 for pairs of units that it joins, 0 for all others, `[n, n]`. The diagonal is 0.
    mask: Option<Tensor<2>>,
    /// How far from the diagonal of `R` the last joined pair is, if that is close by.
    band: Option<usize>,
    /// How many weights are parameters of their own.
    parameters: usize,
}

impl Coupling {
    /// Of all units of two layers, or of all within one.
    pub(crate) fn new((lower, upper): (usize, usize), weight: Tensor<2>) -> Self {
        let weight = Param::from_tensor(weight);
        if lower == upper {
            Self::within(lower, &weight, |_, _| true)
        } else {
            Self::between((lower, upper), weight)
        }
    }

    /// Of all units of two layers.
    pub(crate) fn between((lower, upper): (usize, usize), weight: Param<Tensor<2>>) -> Self {
        let [rows, columns] = weight.dims();
        Self { weight, lower, upper, mask: None, band: None, parameters: rows * columns }
    }

    /// Of layer `k` with itself, for the pairs `i > j` that `joins` says.
    pub(crate) fn within(
        k: usize,
        weight: &Param<Tensor<2>>,
        joins: impl Fn(usize, usize) -> bool,
    ) -> Self {
        let [n, _] = weight.dims();
        let (mut mask, mut parameters, mut band) = (vec![0.0_f32; n * n], 0, 0);
        for (i, j) in (0..n).flat_map(|i| (0..i).map(move |j| (i, j))).filter(|&(i, j)| joins(i, j))
        {
            (mask[i * n + j], mask[j * n + i]) = (1.0, 1.0);
            (parameters, band) = (parameters + 1, band.max(i - j));
        }
        // A strip of 2 bands of columns takes 4 bands of rows: of wider bands it takes nearly all.
        let band = (band > 0 && 6 * band <= n).then_some(band);
        let mask = Tensor::from_data(TensorData::new(mask, [n, n]), &weight.val().device());
        let weight = Param::initialized(weight.id, weight.val() * mask.clone());
        Self { weight, lower: k, upper: k, mask: Some(mask), band, parameters }
    }

    /// How many weights are parameters of their own: all of them between two layers; within one as many as
    /// there are pairs of units that are joined.
    pub fn parameters(&self) -> usize {
        self.parameters
    }

    /// Whether it couples a layer with itself.
    pub fn is_recurrent(&self) -> bool {
        self.lower == self.upper
    }

    /// What layer `k`, one of the two, gets from the state `s` of the other, `[batch, n_k]`.
    pub(crate) fn field(&self, k: usize, s: Tensor<2>) -> Tensor<2> {
        let weight = self.weight.val();
        match self.band {
            // Elsewhere every product is a launch.
            Some(band) if is_plain_cpu(&s) => banded(&s, &weight, band),
            _ if self.upper == k => s.matmul(weight),
            _ => s.matmul(weight.transpose()),
        }
    }

    /// Whether the weights are those of pairs that are joined, and the same in both directions: each
    /// off by at most [`ASYMMETRY`] of the largest.
    pub(crate) fn is_sound(&self) -> bool {
        if !self.is_recurrent() {
            return true;
        }
        let size = |weight: Tensor<2>| hvae_device::read(weight.abs().max())[0];
        let weight = self.weight.val();
        let off = weight.clone() - self.changeable(weight.clone());
        size(off) <= ASYMMETRY * size(weight)
    }

    /// The part of `dC/dW` in which the weight can change: all of it between layers; within one the
    /// symmetric part, `(G + G')/2`, for the pairs that are joined.
    pub(crate) fn changeable(&self, gradient: Tensor<2>) -> Tensor<2> {
        match &self.mask {
            Some(mask) => (gradient.clone() + gradient.transpose()).mul_scalar(0.5) * mask.clone(),
            None => gradient,
        }
    }
}

/// `s R`, where `R` is zero farther than `band` from its diagonal: strip by strip of its columns.
fn banded(s: &Tensor<2>, r: &Tensor<2>, band: usize) -> Tensor<2> {
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
    use burn::tensor::{Device, TensorData};

    use super::*;

    /// 784 pixels in a square; a reach of 3 makes strips, the last one narrower, one of 5 does not.
    #[test]
    fn strips_give_the_whole_product() {
        let device = Device::flex();
        let values = |rows: usize, columns: usize, phase: f32| {
            let values = (0..rows * columns).map(|i| (i as f32 * 0.37 + phase).sin()).collect();
            Tensor::<2>::from_data(TensorData::new::<f32, _>(values, [rows, columns]), &device)
        };
        let (r, s) = (values(784, 784, 0.0), values(5, 784, 1.0));
        for (reach, strips) in [(3, true), (5, false)] {
            let near = |i: usize, j: usize| {
                (i / 28).abs_diff(j / 28) <= reach && (i % 28).abs_diff(j % 28) <= reach
            };
            let coupling = Coupling::within(0, &Param::from_tensor(r.clone()), near);
            assert_eq!(coupling.band.is_some(), strips);
            let whole = s.clone().matmul(coupling.weight.val());
            let size: f32 = whole.clone().abs().max().into_scalar();
            let off: f32 = (coupling.field(0, s.clone()) - whole).abs().max().into_scalar();
            assert!(size > 1.0 && off < 1e-5 * size, "{reach}: {off} of {size}");
        }
    }
}
