//! Adam: on the host in one pass over memory on all threads, elsewhere Burn's.

use burn::optim::{Adam, AdamConfig, AdamState, AdaptiveMomentumState, Optimizer};
use burn::tensor::Tensor;
use hvae_device::HostValues;
use rayon::prelude::*;

use crate::optimizer::rule::{CHUNK, Rule};

/// PyTorch's default; Burn's own is 1e-5.
const EPSILON: f32 = 1e-8;
/// Decay of the first moment.
const BETA_1: f32 = 0.9;
/// Decay of the second moment.
const BETA_2: f32 = 0.999;

/// Adam (Kingma & Ba 2015, arXiv 1412.6980) with `beta` 0.9 and 0.999.
///
/// Its state: first and second moments.
pub(crate) struct AdamRule(Adam);

impl AdamRule {
    /// Adam with an epsilon of 1e-8.
    pub(crate) fn new() -> Self {
        let config = AdamConfig::new().with_beta_1(BETA_1).with_beta_2(BETA_2);
        Self(config.with_epsilon(EPSILON).build())
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
        let [first, second] = state.try_into().expect("two moments, as `state_len` says");
        if let Some(gradient) = HostValues::take(gradient.clone()) {
            return on_host(step, rate, value, &gradient, [first, second]);
        }
        // Before the first step Burn initializes the moments itself.
        let before =
            (step > 1).then(|| AdamState::new(AdaptiveMomentumState::new(step - 1, first, second)));
        let (value, after) = self.0.step(rate, value, gradient, before);
        let moments = after.expect("Adam has a state after a step").momentum;
        (value, vec![moments.moment_1, moments.moment_2])
    }
}

/// A step in one pass, in the memory of its arguments.
fn on_host(
    step: usize,
    rate: f64,
    value: Tensor<1>,
    gradient: &[f32],
    moments: [Tensor<1>; 2],
) -> (Tensor<1>, Vec<Tensor<1>>) {
    let host = |t| HostValues::take(t).expect("a parameter lies where its gradient does");
    let (mut value, [mut first, mut second]) = (host(value), moments.map(host));
    let correction = |beta: f32| 1.0 - f64::from(beta).powf(step as f64);
    let rate = (rate / correction(BETA_1)) as f32;
    let scale = (1.0 / correction(BETA_2)) as f32;
    let chunks = value.par_chunks_mut(CHUNK).zip(gradient.par_chunks(CHUNK));
    let moments = first.par_chunks_mut(CHUNK).zip(second.par_chunks_mut(CHUNK));
    chunks.zip(moments).for_each(|((w, g), (m, v))| {
        for (((w, g), m), v) in w.iter_mut().zip(g).zip(m).zip(v) {
            *m = BETA_1 * *m + (1.0 - BETA_1) * g;
            *v = BETA_2 * *v + (1.0 - BETA_2) * g * g;
            *w -= rate * *m / ((*v * scale).sqrt() + EPSILON);
        }
    });
    (value.into_tensor(), vec![first.into_tensor(), second.into_tensor()])
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
