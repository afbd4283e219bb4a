//! Samples of a model as images to be scored.

use anyhow::{Result, ensure};
use burn::tensor::Device;
use hvae_model::{Phases, Vae};

use crate::latents::mixture;
use crate::latents::mixture::Mixture;
use crate::training::decode::decode_batches;
use crate::training::evaluate::EVALUATION_BATCH;
use hvae_data::images::Images;
use hvae_device::host::{download, upload};
use hvae_runtime::rng;
use hvae_runtime::rng::Stream;
use hvae_runtime::terminal;
use hvae_runtime::terminal::Progress;
use hvae_scores::extractor::Pictures;
use hvae_scores::stream::ImageStream;

/// A model, latents for it, and the size of its images.
#[derive(Debug)]
pub struct Samples<'a> {
    /// The model.
    pub model: &'a Vae,
    /// Its phases.
    pub phases: &'a Phases,
    /// Latents, one after another.
    pub latents: Vec<f32>,
    /// Height and width of its images.
    pub size: [usize; 2],
    /// Where it computes.
    pub device: Device,
}

/// `count` latents from the prior; `hvae sample` draws the same.
pub fn prior_latents(model: &Vae, count: usize, seed: u64) -> Vec<f32> {
    rng::normal(seed, Stream::Prior, 0, count * model.latent())
}

impl ImageStream for Samples<'_> {
    fn count(&self) -> usize {
        self.latents.len() / self.model.latent()
    }

    /// Pixels are rounded to bytes, as in pictures.
    fn stream(
        &self,
        count: usize,
        batch: usize,
        take: &mut dyn FnMut(Pictures<'_>) -> Result<()>,
    ) -> Result<()> {
        let [height, width] = self.size;
        let latents = &self.latents[..count * self.model.latent()];
        for values in decode_batches(self.model, latents, batch, self.phases, &self.device) {
            let values = values?;
            ensure!(
                values.iter().all(|value| value.is_finite()),
                "the model draws images that are not finite"
            );
            #[allow(clippy::cast_sign_loss, reason = "between 0 and 255")]
            let bytes: Vec<u8> =
                values.into_iter().map(|v| (v.clamp(0.0, 1.0) * 255.0).round() as u8).collect();
            take(Pictures { bytes: &bytes, height, width })?;
        }
        Ok(())
    }
}

/// A mixture of [`mixture::COMPONENTS`] Gaussians, fitted to a sample of the posterior of every
/// image.
///
/// # Errors
///
/// When the fit fails or the device cannot be read.
pub fn fit_mixture(model: &Vae, phases: &Phases, images: &Images, seed: u64) -> Result<Mixture> {
    let mut latents = Vec::with_capacity(images.len() * model.latent());
    terminal::stage(&format!("encoding {} training images", images.len()));
    let mut progress = Progress::start("encoding", images.len(), 0);
    for (index, batch) in images.batches(EVALUATION_BATCH).enumerate() {
        let [rows, _] = batch.dims();
        let count = rows * model.latent();
        let noise = rng::normal(seed, Stream::MixtureFit, index as u64, count);
        let noise = upload(noise, model.latent(), &batch.device());
        latents.extend(download(model.encode(batch, phases)?.0.sample(noise))?);
        progress.update(latents.len() / model.latent(), String::new);
    }
    drop(progress);
    terminal::line(&format!(
        "fitting a mixture of {} Gaussians to {} latents",
        mixture::COMPONENTS,
        images.len()
    ));
    mixture::fit(&latents, model.latent(), mixture::COMPONENTS, seed)
}
