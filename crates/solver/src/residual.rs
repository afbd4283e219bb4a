//! Residuals: which components are measured, their squared norms on the device, and the norms of
//! one sample on the host.

use burn::tensor::{FloatDType, Tensor, TensorData};
use hvae_device::HostValues;

use crate::error::{SolverError, distinct, in_range};
use crate::map::FixedPointMap;
use crate::state::State;

/// How the residuals of a map are measured.
pub(crate) struct Measure {
    /// The components that count.
    pub(crate) components: Vec<usize>,
    /// The factor of every component.
    weights: Vec<f64>,
}

impl Measure {
    /// Checks that `map` fits states of this number of components.
    pub(crate) fn of(map: &impl FixedPointMap, components: usize) -> Result<Self, SolverError> {
        map.check(components)?;
        let measured = map.measured(components);
        if measured.is_empty() {
            return Err(SolverError::NothingMeasured);
        }
        let weight = |k: usize| {
            let weight = map.weight(k);
            in_range("weight", weight, "finite and > 0", weight > 0.0)
        };
        let weights = (0..components).map(weight).collect::<Result<_, _>>()?;
        distinct("measured", measured.iter().copied(), components)?;
        Ok(Self { components: measured, weights })
    }

    /// Squared norms of every sample, each `[batch, 1]`: of the difference and of the image over
    /// the measured components, and of the image over the other ones if there are any.
    pub(crate) fn squares(&self, state: &State, image: &State) -> Vec<Tensor<2>> {
        if let Some(squares) = self.host_squares(state, image) {
            return squares;
        }
        let square = |k: usize, t: Tensor<2>| {
            let t = t.cast(FloatDType::F32);
            let is_one = (self.weights[k] - 1.0).abs() < f64::EPSILON;
            // Scaled before squaring, where small numbers would underflow.
            let t = if is_one { t } else { t.mul_scalar(self.weights[k]) };
            t.square().sum_dim(1)
        };
        let total = |sums: &mut dyn Iterator<Item = Tensor<2>>| sums.reduce(|a, b| a + b);
        let difference = |k: usize| image.component(k).clone() - state.component(k).clone();
        let measured = &self.components;
        let differences = &mut measured.iter().map(|&k| square(k, difference(k)));
        let norms = &mut measured.iter().map(|&k| square(k, image.component(k).clone()));
        let others = (0..image.components().len()).filter(|k| !measured.contains(k));
        let others = &mut others.map(|k| square(k, image.component(k).clone()));
        let mut columns = vec![
            total(differences).expect("a map measures at least one component"),
            total(norms).expect("a map measures at least one component"),
        ];
        columns.extend(total(others));
        columns
    }

    /// [`Self::squares`] in one pass over the states, if these lie in host memory.
    fn host_squares(&self, state: &State, image: &State) -> Option<Vec<Tensor<2>>> {
        let (batch, count) = (image.batch(), image.components().len());
        let others = self.components.len() < count;
        let mut sums = vec![vec![0.0_f32; batch]; if others { 3 } else { 2 }];
        for (k, new) in image.components().iter().enumerate() {
            let units = new.dims()[1];
            let new = HostValues::of(new)?;
            let old = HostValues::of(state.component(k))?;
            let weight = self.weights[k] as f32;
            let measured = self.components.contains(&k);
            for (row, new) in new.chunks_exact(units).enumerate() {
                let [difference, norm] = squares(&old[row * units..][..units], new, weight);
                if measured {
                    sums[0][row] += difference;
                }
                sums[if measured { 1 } else { 2 }][row] += norm;
            }
        }
        let device = image.component(0).device();
        let column = |sums| Tensor::from_data(TensorData::new(sums, [batch, 1]), &device);
        Some(sums.into_iter().map(column).collect())
    }
}

/// `|w (f - s)|^2` and `|w f|^2` of one sample, in sums side by side, as the processor's vectors add.
fn squares(old: &[f32], new: &[f32], weight: f32) -> [f32; 2] {
    const SUMS: usize = 16;
    let mut sums = [[0.0_f32; SUMS]; 2];
    for (old, new) in old.chunks(SUMS).zip(new.chunks(SUMS)) {
        for (i, (s, f)) in old.iter().zip(new).enumerate() {
            // Scaled before squaring, where small numbers would underflow.
            sums[0][i] += (weight * (f - s)).powi(2);
            sums[1][i] += (weight * f).powi(2);
        }
    }
    sums.map(|sums| sums.iter().sum())
}

/// The norms of one sample.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Norms {
    /// `|f(s) - s|` over the measured components, weighted.
    pub(crate) difference: f64,
    /// `|f(s)|` likewise.
    pub(crate) image: f64,
    /// Whether both, and the norm of the other components, are finite.
    pub(crate) finite: bool,
}

impl Norms {
    /// From one row of [`Measure::squares`].
    pub(crate) fn new(squares: &[f32]) -> Self {
        Self {
            difference: f64::from(squares[0]).sqrt(),
            image: f64::from(squares[1]).sqrt(),
            finite: squares.iter().all(|x| x.is_finite()),
        }
    }

    /// `difference / image`; 0 if both are 0, NaN if not finite.
    pub(crate) fn residual(self) -> f64 {
        if !self.finite {
            f64::NAN
        } else if self.difference == 0.0 {
            0.0
        } else {
            self.difference / self.image
        }
    }
}
