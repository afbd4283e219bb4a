//! A network as encoder or decoder: what is clamped, what is read.

use burn::tensor::Tensor;

use crate::dynamics::{Relaxation, Role, Side};
use crate::energy::{HopfieldNetwork, LayerId};
use crate::eqprop::{EpGradient, PhaseSettings};
use crate::error::{ModelError, require_shape};

/// A network as encoder or decoder.
#[derive(Debug, Clone)]
pub(crate) struct Coding<'v> {
    pub(crate) network: &'v HopfieldNetwork,
    /// Whose weights these are.
    pub(crate) weights: Side,
    /// As which it is used.
    pub(crate) side: Side,
    pub(crate) input: LayerId,
    pub(crate) output: LayerId,
    /// By what the input is multiplied where it is clamped.
    pub(crate) amplitude: f64,
    /// Another factor for each unit of the input, `[1, n]`.
    pub(crate) scale: Option<Tensor<2>>,
    pub(crate) absent: Option<LayerId>,
}

/// The gradient of a cost in the input of a [`Coding`].
#[derive(Debug)]
pub(crate) struct CodingGradient {
    /// In the input, for every sample, `[batch, n]`.
    pub(crate) input: Tensor<2>,
    /// In [`Coding::scale`], if there is one, for every sample, `[batch, n]`.
    pub(crate) scale: Option<Tensor<2>>,
}

impl<'v> Coding<'v> {
    /// The dynamics with `input` (`[batch, n]`) clamped.
    pub(crate) fn forward(
        &self,
        input: Tensor<2>,
        phases: &'v PhaseSettings,
    ) -> Result<Relaxation<'v>, ModelError> {
        let spec = self.network.spec(self.input);
        let expected = [input.dims()[0], spec.size()];
        require_shape(format!("layer {}", spec.name), &input, expected)?;
        let input = self.amplified(self.scaled(input));
        let mut roles = vec![Role::Free; self.network.layers.len()];
        roles[self.input.0] = Role::Clamped(input);
        if let Some(layer) = self.absent {
            roles[layer.0] = Role::Absent;
        }
        phases.relaxation(self.weights, self.side, self.network, roles)
    }

    /// The gradient of the cost in the `input` of the dynamics `relaxation`, from theirs.
    pub(crate) fn backward(
        &self,
        relaxation: &Relaxation<'_>,
        gradient: &EpGradient,
        input: impl FnOnce() -> Tensor<2>,
    ) -> CodingGradient {
        let amplified = self.amplified(gradient.input(relaxation, self.input));
        let scale = self.scale.is_some().then(|| amplified.clone() * input());
        CodingGradient { input: self.scaled(amplified), scale }
    }

    fn scaled(&self, input: Tensor<2>) -> Tensor<2> {
        match &self.scale {
            Some(scale) => input * scale.clone(),
            None => input,
        }
    }

    fn amplified(&self, input: Tensor<2>) -> Tensor<2> {
        let is_one = (self.amplitude - 1.0).abs() < f64::EPSILON;
        if is_one { input } else { input.mul_scalar(self.amplitude) }
    }
}
