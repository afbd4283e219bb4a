//! The likelihood of an image, `p(x|z)`.

use burn::tensor::{Tensor, activation};
use serde::{Deserialize, Serialize};

use crate::error::{ModelError, require_shape};

/// The distribution of an image given its reconstruction `x^`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Likelihood {
    /// `N(x^, 1/w)` for every pixel, `w` the precision. The cost is the squared error
    /// `w/2 |x^ - x|^2`.
    Gaussian,
    /// Bernoulli with mean `x^` for every pixel. The cost is the binary cross-entropy; normalised
    /// where pixels are 0 or 1.
    Bernoulli,
}

/// What a batch of latents decodes to.
#[derive(Debug, Clone)]
pub struct Decoding {
    /// `x^`, `[batch, pixels]`.
    pub images: Tensor<2>,
    /// `a` in `x^ = sigmoid(a)`, `[batch, pixels]`; only with [`Likelihood::Bernoulli`], because
    /// the logarithms of an `x^` near 0 or 1 have few digits.
    pub logits: Option<Tensor<2>>,
}

impl Likelihood {
    /// See [`VaeConfig::log_likelihood`](crate::VaeConfig::log_likelihood); `w = precision`.
    pub(crate) fn log_density(
        self,
        decoding: &Decoding,
        images: &Tensor<2>,
        precision: f64,
    ) -> Result<Tensor<1>, ModelError> {
        let expected = decoding.images.dims();
        require_shape("the images", images, expected)?;
        Ok(match self {
            Self::Bernoulli => {
                let missing = "a bernoulli likelihood needs the logits of a bernoulli decoder";
                let logits = decoding.logits.as_ref();
                let logits = logits.ok_or_else(|| ModelError::Network(missing.to_owned()))?;
                require_shape("the logits", logits, expected)?;
                let terms =
                    logits.clone() * images.clone() - activation::softplus(logits.clone(), 1.0);
                terms.sum_dim(1).squeeze_dim(1)
            }
            Self::Gaussian => {
                let [_, pixels] = images.dims();
                let constant =
                    0.5 * pixels as f64 * (precision / (2.0 * std::f64::consts::PI)).ln();
                let error = squared_error(decoding.images.clone() - images.clone());
                error.mul_scalar(-0.5 * precision).add_scalar(constant)
            }
        })
    }
}

/// `sum (difference)^2` of every row, `[batch]`.
pub(crate) fn squared_error(difference: Tensor<2>) -> Tensor<1> {
    difference.square().sum_dim(1).squeeze_dim(1)
}
