//! The constant part of a layer's input, and the elementwise end of an update.
//!
//! An update is `g(c (field + drive))`, that of a deviation `g(c (drive + change)) - g(c drive)`: a
//! matrix product and some elementwise operations. On one thread of a CPU these, each a pass over
//! memory, cost as much as the product; there they are [one pass](crate::kernels) on all threads.
//! Elsewhere they stay tensor operations, which the device fuses.

use burn::tensor::{Int, Tensor};
use hvae_device::HostValues;

use crate::energy::LayerSpec;
use crate::kernels::fused;

/// The drive of a layer, `[batch, n]`; in host memory row after row.
#[derive(Debug, Clone)]
pub(crate) struct Drive(Tensor<2>);

impl Drive {
    pub(crate) fn new(drive: Tensor<2>) -> Self {
        Self(HostValues::of(&drive).map_or(drive, HostValues::into_tensor))
    }

    /// Its values in host memory.
    pub(crate) fn host(&self) -> Option<HostValues<2>> {
        HostValues::of(&self.0)
    }

    pub(crate) fn tensor(&self) -> Tensor<2> {
        self.0.clone()
    }

    /// The drive of the samples `rows`.
    pub(crate) fn select(&self, rows: &Tensor<1, Int>) -> Self {
        Self(self.0.clone().select(0, rows.clone()))
    }

    /// `g(c (field + drive))`, `[batch, n]`; without a field `g(c drive)`.
    pub(crate) fn activate(&self, field: Option<Tensor<2>>, layer: &LayerSpec) -> Tensor<2> {
        if let Some(drive) = self.host() {
            return fused::activate(field.unwrap_or_else(|| self.0.zeros_like()), &drive, layer);
        }
        let input = field.map_or(self.tensor(), |f| f + self.tensor());
        let is_one = (layer.gain - 1.0).abs() < f64::EPSILON;
        let input = if is_one { input } else { input.mul_scalar(layer.gain) };
        layer.activation.apply(input)
    }

    /// `g(c (drive + change)) - g(c drive)`, `[batch, n]`, see
    /// [`increment`](crate::Activation::increment).
    pub(crate) fn increment(&self, change: Tensor<2>, layer: &LayerSpec) -> Tensor<2> {
        if let Some(drive) = self.host() {
            return fused::increment(change, &drive, layer);
        }
        let [a, change] = [self.tensor(), change].map(|t| t.mul_scalar(layer.gain));
        layer.activation.increment(a, change)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::energy::Activation::{self, HardSigmoid, Identity, Relu, Sigmoid, Tanh};
    use crate::energy::activation::SATURATION;
    use crate::kernels::fused::CHUNK;
    use crate::kernels::values as host;

    const ALL: [Activation; 5] = [Identity, Relu, HardSigmoid, Sigmoid, Tanh];

    /// `g(a + change) - g(a)` in double precision.
    fn exact(activation: Activation, a: f64, change: f64) -> f64 {
        let straight = |low: f64, high: f64| {
            let inside = a > low && a < high && a + change > low && a + change < high;
            if inside { change } else { (a + change).clamp(low, high) - a.clamp(low, high) }
        };
        match activation {
            Identity => change,
            Relu => straight(0.0, f64::INFINITY),
            HardSigmoid => straight(0.0, 1.0),
            // sigmoid x - sigmoid y = sinh((x - y)/2) / (2 cosh(x/2) cosh(y/2)), and tanh likewise.
            Sigmoid => {
                let (x, y) = (0.5 * (a + change), 0.5 * a);
                (0.5 * change).sinh() / (2.0 * x.cosh() * y.cosh())
            }
            Tanh => change.sinh() / ((a + change).cosh() * a.cosh()),
        }
    }

    /// The same drive, whose updates are tensor operations.
    fn composed_form(drive: &Drive) -> Drive {
        let composed = Drive::new(drive.tensor().autodiff());
        assert!(drive.host().is_some() && composed.host().is_none());
        composed
    }

    /// Both forms of an increment keep its relative accuracy, down to changes far below the last
    /// bit of `g`, and saturate where `g` does.
    #[test]
    fn increments_keep_their_relative_accuracy() {
        let sizes = [1e-20, 1e-12, 1e-6, 1e-3, 0.1, 0.34, 0.36, 0.499, 0.501, 0.7, 2.0, 9.0, 30.0];
        let changes = sizes.iter().flat_map(|&c: &f32| [c, -c]).chain([0.0]);
        let points = [-30.0, -9.0, -1.5, -0.3, 0.0, 0.2, 0.8, 1.0, 1.6, 7.0, 25.0];
        let pairs = changes.flat_map(|c| points.iter().map(move |&a: &f32| (a, c)));
        // The last ones lie in saturation, or lead into it.
        let ends = [(100.0, -50.0), (100.0, -150.0), (-45.0, 25.0), (-45.0, 100.0)];
        let pairs: Vec<(f32, f32)> = pairs.chain(ends).collect();
        let [a, change] = [0, 1].map(|i| {
            let values: Vec<f32> = pairs.iter().map(|&(a, c)| [a, c][i]).collect();
            Tensor::<2>::from_data(TensorData::new(values, [pairs.len(), 1]), &Device::flex())
        });
        let drive = Drive::new(a);
        for activation in ALL {
            let layer = LayerSpec::new("", 1, activation).with_gain(2.0);
            for composed in [false, true] {
                let increment = |change: Tensor<2>| {
                    host(if composed {
                        composed_form(&drive).increment(change.autodiff(), &layer).inner()
                    } else {
                        drive.increment(change, &layer)
                    })
                };
                let found = increment(change.clone());
                for (&(a, change), found) in pairs.iter().zip(found) {
                    let (a, change) = (2.0 * a, 2.0 * change);
                    let exact = exact(activation, a.into(), change.into());
                    // At a kink `a` itself is subtracted.
                    let bends = !matches!(activation, Sigmoid | Tanh)
                        && (exact - f64::from(change)).abs() > 0.0;
                    let slack =
                        if bends { 1e-7 * f64::from(a.abs().max(change.abs())) } else { 1e-37 };
                    let steep = if activation == Tanh { 2.0 } else { 1.0 };
                    let far = steep * a.abs().max((a + change).abs()) > SATURATION;
                    let slack = if far { 1e-17 } else { slack };
                    let error = (f64::from(found) - exact).abs();
                    assert!(
                        error <= 2e-6 * exact.abs() + slack,
                        "{activation:?} {a} {change}: {found:e}, not {exact:e}"
                    );
                }
                let nothing = change.zeros_like().div_scalar(0.0);
                let found = increment(nothing);
                assert!(found.iter().all(|x| x.is_nan()), "{activation:?}");
            }
        }
    }

    /// The fused update and the tensor operations are the same function.
    #[test]
    fn the_fused_update_equals_the_composed_one() {
        let device = Device::flex();
        let (rows, units) = (200, 1_001);
        assert!(rows * units > CHUNK, "several chunks");
        let make = |phase: f32| {
            let values = (0..rows * units).map(|i| 3.0 * (i as f32 * 0.37 + phase).sin()).collect();
            Tensor::<2>::from_data(TensorData::new::<f32, _>(values, [rows, units]), &device)
        };
        let (field, drive) = (make(0.0), Drive::new(make(1.0)));
        let rows = Tensor::<1, Int>::from_data([5, 0, 199], &device);
        let some = field.clone().select(0, rows.clone());
        for activation in ALL {
            let layer = LayerSpec::new("", units, activation).with_gain(1.7);
            for (drive, field) in [
                (&drive, Some(field.clone())),
                (&drive, None),
                (&drive.select(&rows), Some(some.clone())),
            ] {
                let composed =
                    composed_form(drive).activate(field.clone().map(Tensor::autodiff), &layer);
                let difference = drive.activate(field, &layer) - composed.inner();
                let largest: f32 = difference.abs().max().into_scalar();
                assert!(largest < 1e-6, "{activation:?}: {largest}");
            }
        }
    }
}
