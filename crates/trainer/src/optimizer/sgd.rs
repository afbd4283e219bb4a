//! Stochastic gradient descent.

use burn::tensor::Tensor;

use crate::optimizer::rule::Rule;

/// Gradient descent with momentum `m`, in PyTorch's convention, without dampening:
///
/// ```text
/// v <- m v + g,   w <- w - rate v
/// ```
///
/// Its state: the velocity `v`; no state without momentum. Burn's SGD keeps its velocity private,
/// so that a checkpoint could not hold it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SgdRule {
    pub(crate) momentum: f64,
}

impl Rule for SgdRule {
    fn state_len(&self) -> usize {
        usize::from(self.momentum > 0.0)
    }

    fn step(
        &self,
        _step: usize,
        rate: f64,
        value: Tensor<1>,
        gradient: Tensor<1>,
        mut state: Vec<Tensor<1>>,
    ) -> (Tensor<1>, Vec<Tensor<1>>) {
        let Some(velocity) = state.pop() else {
            return (value - gradient.mul_scalar(rate), state);
        };
        let velocity = velocity.mul_scalar(self.momentum) + gradient;
        (value - velocity.clone().mul_scalar(rate), vec![velocity])
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn velocity_accumulates_gradients() {
        let device = Device::flex();
        let tensor = |x: f32| Tensor::<1>::from_floats([x], &device);
        let after = |momentum: f64| -> f32 {
            let rule = SgdRule { momentum };
            let mut state = vec![tensor(0.0); rule.state_len()];
            let mut value = tensor(1.0);
            for gradient in [1.0, 1.0, -2.0] {
                (value, state) = rule.step(0, 0.1, value, tensor(gradient), state);
            }
            value.into_scalar()
        };
        // Velocities 1, 1.5, -1.25 at a momentum of 0.5; at 0 the steps are the gradients.
        assert!((after(0.5) - 0.875).abs() < 1e-6, "{}", after(0.5));
        assert!((after(0.0) - 1.0).abs() < 1e-6, "{}", after(0.0));
    }
}
