//! Gradients in the latents, to complete images from their known pixels.

use burn::tensor::Tensor;

use crate::eqprop::PhaseSettings;
use crate::error::{ModelError, require_shape};
use crate::vae::model::Vae;

/// A gradient in the latents, and what these decode to.
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
    /// C(z) = - sum_i k_i ln p(x_i | z) - ln p(z)
    /// ```
    ///
    /// the negative log posterior, up to a constant, when the pixels `x_i` of `images` are known
    /// with the weights `k_i` of `weight`, both `[batch, pixels]`. A weight of 0 hides a pixel,
    /// whatever its value, which may be NaN.
    ///
    /// The decoder relaxes and is nudged at the known pixels; how far that takes it gives `dC/dz`,
    /// as in training, without a backward pass. `beta` follows from the mean square of the forces
    /// on all samples ([`NudgeSize`](crate::NudgeSize)), so a sample's gradient depends on the rest
    /// of its batch, in its error of order `beta^2` (of order `beta` with a one-sided nudge).
    ///
    /// # Errors
    ///
    /// As [`Self::decoder_phase`], for images or weights of another shape, and for known pixels
    /// that are not finite. With [`ReadPolicy::Deferred`](crate::ReadPolicy::Deferred) one such
    /// pixel makes `beta`, and with it the gradients of all samples, NaN.
    pub fn latent_gradient(
        &self,
        images: &Tensor<2>,
        weight: &Tensor<2>,
        latents: Tensor<2>,
        phases: &PhaseSettings,
    ) -> Result<LatentGradient, ModelError> {
        self.require_equilibria()?;
        let expected = [latents.dims()[0], self.pixels()];
        require_shape("the images", images, expected)?;
        require_shape("the weights of the pixels", weight, expected)?;
        let phase = self.decoder_phase(latents.clone(), phases)?;
        let free = phases.free(&phase)?;
        let decoded = self.decoded(&free.states, &phase.wiring).images;
        let error = (decoded.clone() - images.clone()) * weight.clone();
        // 0 times NaN is NaN.
        let error = error.mask_fill(weight.clone().equal_elem(0.0), 0.0);
        let found = self.reconstruction_gradient(error, &phase, &free, phases)?;
        let backward = self.decoding().backward(&phase, &found, || latents.clone());
        let gradient = backward.input - self.prior().score(latents);
        Ok(LatentGradient { gradient, images: decoded })
    }
}
