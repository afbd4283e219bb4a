//! A network as encoder or decoder: what is clamped, what is read.

use burn::tensor::Tensor;

use crate::dynamics::relaxation::{Relaxation, Role};
use crate::dynamics::substrate::Substrate;
use crate::energy::layer::LayerId;
use crate::energy::network::HopfieldNetwork;
use crate::eqprop::gradient::EpGradient;
use crate::error::{ModelError, require_shape};

/// A network as encoder or decoder.
#[derive(Debug, Clone)]
pub(crate) struct Coding<'v> {
    pub(crate) network: &'v HopfieldNetwork,
    /// The layer that is clamped.
    pub(crate) input: LayerId,
    /// The layer that is read.
    pub(crate) output: LayerId,
    /// By what the input is multiplied where it is clamped.
    pub(crate) amplitude: f64,
    /// Another factor for each unit of the input, `[1, n]`.
    pub(crate) scale: Option<Tensor<2>>,
    /// The layer that takes no part.
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
        substrate: &'v dyn Substrate,
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
        Relaxation::on(self.network, roles, substrate)
    }

    /// The gradient of the cost in `input`, from the one in the clamped layer.
    pub(crate) fn backward(&self, gradient: &EpGradient, input: &Tensor<2>) -> CodingGradient {
        let amplified = self.amplified(gradient.input(self.network, self.input));
        let scale = self.scale.is_some().then(|| amplified.clone() * input.clone());
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
