//! Adam, Burn's.

use burn::optim::{Adam, AdamConfig, AdamState, AdaptiveMomentumState, Optimizer};
use burn::tensor::Tensor;

use crate::optimizer::rule::Rule;

/// PyTorch's default; Burn's own is 1e-5.
const EPSILON: f32 = 1e-8;

/// Adam (Kingma & Ba 2015, arXiv 1412.6980) with `beta` 0.9 and 0.999.
///
/// Its state: first and second moments.
pub(crate) struct AdamRule(Adam);

impl AdamRule {
    /// With an epsilon of 1e-8.
    pub(crate) fn new() -> Self {
        Self(AdamConfig::new().with_epsilon(EPSILON).build())
    }
}

impl Rule for AdamRule {
    fn state_len(&self) -> usize {
        2
    }

    fn step(
        &self,
        step: usize,
        rate: f64,
        value: Tensor<1>,
        gradient: Tensor<1>,
        state: Vec<Tensor<1>>,
    ) -> (Tensor<1>, Vec<Tensor<1>>) {
        // Before the first step Burn initializes the moments itself.
        let [first, second] = state.try_into().expect("two moments, as `state_len` says");
        let before =
            (step > 1).then(|| AdamState::new(AdaptiveMomentumState::new(step - 1, first, second)));
        let (value, after) = self.0.step(rate, value, gradient, before);
        let moments = after.expect("Adam has a state after a step").momentum;
        (value, vec![moments.moment_1, moments.moment_2])
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    /// The formulas of the paper in f64.
    #[test]
    fn steps_follow_the_paper() {
        let gradients = [0.5_f64, -0.2, 0.9, 0.0, -1.5];
        let (rate, device) = (0.01, Device::flex());
        let tensor = |x: f64| Tensor::<1>::from_floats([x as f32], &device);
        let (mut value, mut state) = (tensor(1.0), vec![tensor(0.0), tensor(0.0)]);
        let (mut w, mut m, mut v) = (1.0_f64, 0.0, 0.0);
        for (t, g) in gradients.into_iter().enumerate() {
            (value, state) = AdamRule::new().step(t + 1, rate, value, tensor(g), state);
            let t = t as i32 + 1;
            m = 0.9 * m + 0.1 * g;
            v = 0.999 * v + 0.001 * g * g;
            let corrected = (v / (1.0 - 0.999_f64.powi(t))).sqrt() + f64::from(EPSILON);
            w -= rate * m / (1.0 - 0.9_f64.powi(t)) / corrected;
        }
        let found: f32 = value.into_scalar();
        assert!((f64::from(found) - w).abs() < 1e-6, "{found} {w}");
    }
}
