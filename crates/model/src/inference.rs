//! Latents from what is known of an image, by equilibrium propagation.

use burn::tensor::Tensor;

use crate::eqprop::{Cost, Force, Readout};
use crate::error::require_shape;
use crate::{Likelihood, ModelError, Phases, Vae};

/// A gradient in the latents, and where it was taken.
#[derive(Debug)]
pub struct LatentGradient {
    /// `dC/dz`, `[batch, latent]`.
    pub gradient: Tensor<2>,
    /// `x^` at these latents, `[batch, pixels]`.
    pub images: Tensor<2>,
}

impl Vae {
    /// The gradient in the latents `z` (`[batch, latent]`) of
    ///
    /// ```text
    /// C(z) = - sum_i k_i ln p(x_i | z) + 1/2 |z|^2
    /// ```
    ///
    /// the negative log posterior, up to a constant, when the pixels `x_i` of `images` are known with
    /// the weights `k_i` of `weight`, both `[batch, pixels]`. A weight of 0 hides a pixel, whatever
    /// its value, which need not be a number.
    ///
    /// The decoder relaxes, is nudged at the known pixels alone, and relaxes again: `dC/dz` follows from how far
    /// that takes it, as in training, without a backward pass. The strength of the
    /// nudge follows from the mean square of the forces on all samples ([`Strength::Size`]), so a
    /// sample's gradient depends on the rest of its batch, in its error of order `beta^2` (of order
    /// `beta` with a one-sided nudge).
    ///
    /// # Errors
    ///
    /// As [`Self::decoder_phase`]; [`ModelError::Shape`] also when images or weights have another
    /// shape, [`ModelError::NotFinite`] for known pixels that are not finite. [Quiet](Phases::quiet)
    /// phases do not look: one such pixel makes `beta`, and with it the gradients of all samples, not
    /// a number.
    ///
    /// [`Strength::Size`]: crate::Strength::Size
    pub fn latent_gradient(
        &self,
        images: &Tensor<2>,
        weight: &Tensor<2>,
        latents: Tensor<2>,
        phases: &Phases,
    ) -> Result<LatentGradient, ModelError> {
        self.require_equilibria()?;
        let expected = [latents.dims()[0], self.pixels()];
        require_shape("the images", images, expected)?;
        require_shape("the weights of the pixels", weight, expected)?;
        let decoding = self.decoding();
        let layer = decoding.output;
        let phase = self.decoder_phase(latents.clone())?;
        let free = phases.free(&phase)?;
        let decoded = self.decoded(&free.states).images;
        let error = (decoded.clone() - images.clone()) * weight.clone();
        // 0 times NaN is NaN.
        let error = error.mask_fill(weight.clone().equal_elem(0.0), 0.0);
        let estimate = match self.config.likelihood {
            Likelihood::Gaussian => {
                let force = Force { layer, force: error.mul_scalar(self.config.precision) };
                phases.gradient(&phase, &free, Cost::Forces(&[force]))?
            }
            Likelihood::Bernoulli => {
                let readout = Readout { layer, error };
                phases.gradient(&phase, &free, Cost::Readout(&readout))?
            }
        };
        let gradient = decoding.input_gradient(decoding.scaled_gradient(&estimate)) + latents;
        Ok(LatentGradient { gradient, images: decoded })
    }
}
