//! A new model.

use burn::module::Param;
use burn::tensor::{Device, Tensor};
use rand::Rng;

use crate::energy::layer::Shape;
use crate::energy::network::HopfieldNetwork;
use crate::error::{ModelError, require};
use crate::vae::architecture::Architecture;
use crate::vae::config::VaeConfig;
use crate::vae::model::Vae;

impl Vae {
    /// A new model for images of this shape.
    ///
    /// Couplings from layer to layer start as [`HopfieldNetwork::new`] says; those of a weight-tied
    /// network at the geometric mean of what its two directions need. All others, which make a
    /// network dense, start at zero: it starts as the layered one.
    ///
    /// # Errors
    ///
    /// [`ModelError::Setting`] as [`VaeConfig::check`], or for an image without pixels.
    pub fn new(
        config: &VaeConfig,
        image: Shape,
        rng: &mut impl Rng,
        device: &Device,
    ) -> Result<Self, ModelError> {
        config.check()?;
        require(image.size() > 0, "pixels", image.size(), "an image needs at least one")?;
        let tied = config.kind.is_tied();
        let mut network = |architecture: Architecture| {
            let Architecture { layers, chain, extra } = architecture;
            let mut network = HopfieldNetwork::new(layers, &chain, rng, device)?;
            if tied {
                network.balance(|k| config.amplitude(k));
            }
            network.add_couplings(&extra, device)?;
            Ok::<_, ModelError>(network)
        };
        // The decoder first: the order of the random draws.
        let decoder = if tied { None } else { Some(network(config.decoder(image))?) };
        let mut encoder = network(config.encoder(image))?;
        if config.sigma.is_none() {
            let layer = encoder.layers.last_mut().expect("an encoder has layers");
            let start = config.initial_log_variance / layer.spec.gain;
            layer.bias = Some(Param::from_tensor(Tensor::full([config.latent], start, device)));
        }
        let ones = || Param::from_tensor(Tensor::ones([config.latent], device));
        let amplitudes = (config.learned_amplitudes && tied).then(ones);
        Ok(Self { encoder, decoder, amplitudes, config: config.clone() }.limited())
    }
}
