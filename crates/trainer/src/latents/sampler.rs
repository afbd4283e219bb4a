//! Latents of samples, and the samples as a stream of images to be scored.

use anyhow::{Result, ensure};
use burn::tensor::Device;
use hvae_data::{ImageShape, images::Images};
use hvae_device::{download, upload};
use hvae_model::{PhaseSettings, Vae};
use hvae_runtime::rng::{self, Stream};
use hvae_runtime::terminal::{self, Progress};
use hvae_scores::{ImageBatch, ImageStream};

use crate::latents::{
    decode::{EVALUATION_BATCH, decode_batches, prior_latents},
    mixture::{self, COMPONENTS},
};

/// The distribution of the latents that samples are decoded from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LatentSource {
    /// The prior of the model, a standard normal distribution.
    Prior,
    /// Ex-post density estimation (Ghosh et al. 2020): a Gaussian mixture of 10 components fitted
    /// to the latents of the run's training images.
    Mixture,
}

impl LatentSource {
    /// Its name in protocols.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Prior => "prior".to_owned(),
            Self::Mixture => format!("GMM prior ({COMPONENTS} components)"),
        }
    }

    /// `count` latents, `[count, latent]`. `training_images` are loaded for the mixture only.
    pub(crate) fn latents(
        self,
        model: &Vae,
        phases: &PhaseSettings,
        count: usize,
        seed: u64,
        training_images: impl FnOnce() -> Result<Images>,
    ) -> Result<Vec<f32>> {
        match self {
            Self::Prior => Ok(prior_latents(model, count, seed)),
            Self::Mixture => mixture_latents(model, phases, &training_images()?, count, seed),
        }
    }
}

/// `count` latents, `[count, latent]`, drawn from a mixture of [`COMPONENTS`] Gaussians that is
/// fitted to one posterior sample for each of `images`.
pub(crate) fn mixture_latents(
    model: &Vae,
    phases: &PhaseSettings,
    images: &Images,
    count: usize,
    seed: u64,
) -> Result<Vec<f32>> {
    let total = images.len();
    let mut latents = Vec::with_capacity(total * model.latent());
    terminal::stage(&format!("encoding {total} training images"));
    let mut progress = Progress::start("encoding", total, 0);
    for (index, batch) in images.batches(EVALUATION_BATCH).enumerate() {
        let [rows, _] = batch.dims();
        let noise = rng::normal(seed, Stream::MixtureFit, index as u64, rows * model.latent());
        let noise = upload(noise, model.latent(), &batch.device());
        latents.extend(download(model.encode(batch, phases)?.0.sample(noise))?);
        progress.update(latents.len() / model.latent(), String::new);
    }
    drop(progress);
    terminal::line(&format!("fitting a mixture of {COMPONENTS} Gaussians to {total} latents"));
    Ok(mixture::fit(&latents, model.latent(), COMPONENTS, seed)?.sample(count, seed))
}

/// The samples of a model, decoded batch by batch while they are scored.
#[derive(Debug)]
pub(crate) struct Samples<'a> {
    pub(crate) model: &'a Vae,
    pub(crate) phases: &'a PhaseSettings,
    /// The latents, `[samples, latent]`.
    pub(crate) latents: Vec<f32>,
    pub(crate) shape: ImageShape,
    pub(crate) device: Device,
}

impl ImageStream for Samples<'_> {
    fn count(&self) -> usize {
        self.latents.len() / self.model.latent()
    }

    /// Pixels are rounded to bytes, as in PNG files.
    fn stream(
        &self,
        count: usize,
        batch: usize,
        take: &mut dyn FnMut(ImageBatch<'_>) -> Result<()>,
    ) -> Result<()> {
        let latents = &self.latents[..count * self.model.latent()];
        for values in decode_batches(self.model, latents, batch, self.phases, &self.device) {
            let values = values?;
            ensure!(
                values.iter().all(|value| value.is_finite()),
                "the decoder's output is not finite"
            );
            #[allow(clippy::cast_sign_loss, reason = "between 0 and 255")]
            let bytes: Vec<u8> =
                values.into_iter().map(|v| (v.clamp(0.0, 1.0) * 255.0).round() as u8).collect();
            take(ImageBatch { bytes: &bytes, shape: self.shape })?;
        }
        Ok(())
    }
}
