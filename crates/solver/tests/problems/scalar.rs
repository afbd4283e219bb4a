//! One unknown per sample.

use burn::tensor::{FloatDType, Int, Tensor};
use hvae_solver::{FixedPointMap, State};

use super::{Case, column, zeros};

/// `s = a cos s`.
#[derive(Debug, Clone)]
pub(crate) struct Cosine(Tensor<2>);

impl Cosine {
    pub(crate) fn new(scales: &[f64]) -> Self {
        Self(column(scales))
    }

    pub(crate) fn case(scales: &[f64]) -> Case<Self> {
        let answer: Vec<f64> = scales.iter().map(|&a| Self::fixed_point(a)).collect();
        let slopes = scales.iter().zip(&answer).map(|(a, s)| -a * s.sin());
        Case {
            name: "cosine",
            map: Self::new(scales),
            guess: zeros(scales.len(), &[1]),
            sensitivity: slopes.map(|j| (j / (1.0 - j)).abs()).collect(),
            answer: answer.into_iter().map(|s| vec![s]).collect(),
        }
    }

    /// By Newton's method on `s - a cos s`.
    fn fixed_point(a: f64) -> f64 {
        (0..50).fold(0.0_f64, |s, _| s - (s - a * s.cos()) / (1.0 + a * s.sin()))
    }
}

impl FixedPointMap for Cosine {
    fn apply(&self, state: &State, _iteration: usize) -> State {
        state.map(|s| s.cos() * self.0.clone())
    }

    fn select(&self, rows: &Tensor<1, Int>) -> Self {
        Self(self.0.clone().select(0, rows.clone()))
    }
}

/// `s = rate s + shift`, the same for every unit of a sample.
#[derive(Debug, Clone)]
pub(crate) struct Affine {
    rate: Tensor<2>,
    shift: Tensor<2>,
}

impl Affine {
    pub(crate) fn new(rates: &[f64], shifts: &[f64]) -> Self {
        Self { rate: column(rates), shift: column(shifts) }
    }

    /// For states of f64.
    pub(crate) fn in_f64(self) -> Self {
        let cast = |t: Tensor<2>| t.cast(FloatDType::F64);
        Self { rate: cast(self.rate), shift: cast(self.shift) }
    }
}

impl FixedPointMap for Affine {
    fn apply(&self, state: &State, _iteration: usize) -> State {
        state.map(|s| s * self.rate.clone() + self.shift.clone())
    }

    fn select(&self, rows: &Tensor<1, Int>) -> Self {
        let pick = |t: &Tensor<2>| t.clone().select(0, rows.clone());
        Self { rate: pick(&self.rate), shift: pick(&self.shift) }
    }
}

/// `s = s / 2 + 1 + log(limit - s) / 100`, which is NaN once `s` passes `limit`.
///
/// Under Picard iteration from 0, `s` rises towards 2, so a limit of 1.6 is passed after a few
/// iterations and a limit of 9 never.
#[derive(Debug, Clone)]
pub(crate) struct Logarithm(Tensor<2>);

impl Logarithm {
    pub(crate) fn new(limits: &[f64]) -> Self {
        Self(column(limits))
    }
}

impl FixedPointMap for Logarithm {
    fn apply(&self, state: &State, _iteration: usize) -> State {
        let drive = |s: Tensor<2>| (self.0.clone() - s).log().mul_scalar(0.01);
        state.map(|s| s.clone().mul_scalar(0.5) + drive(s).add_scalar(1.0))
    }

    fn select(&self, rows: &Tensor<1, Int>) -> Self {
        Self(self.0.clone().select(0, rows.clone()))
    }
}
