//! A trained model, and what it can be used for. Images are pixel after pixel, image after image,
//! in `[0, 1]`; latents coordinate after coordinate.

use std::path::Path;

use anyhow::{Context, Result};
use burn::tensor::{Device, Tensor};
use hvae_data::{Split, images::Images};
use hvae_device::{download, upload};
use hvae_model::{EpConfig, HopfieldPrior, PhaseSettings, Vae};
use hvae_runtime::{interrupt, tensors, terminal::Progress};
use hvae_solver::StoppingRule;
use safetensors::SafeTensors;

use crate::config::RunConfig;
use crate::evaluation::gradients::{self, Reference};
use crate::evaluation::likelihood::{self, LikelihoodSettings};
use crate::latents::decode::{EVALUATION_BATCH, decode, decode_parts};
use crate::latents::sampler::{LatentSource, Samples};
use crate::run::choice::CheckpointChoice;
use crate::run::dir::RunDir;
use crate::run::environment;
use crate::training;

/// A trained model and what is needed to use it.
#[derive(Debug)]
pub struct Trained {
    /// Its run.
    pub run: RunDir,
    /// Which checkpoint was loaded.
    pub checkpoint: CheckpointChoice,
    /// Steps that it was trained for.
    pub step: usize,
    /// The model, with averaged weights if the run has them.
    pub model: Vae,
    /// The configuration of the run.
    pub config: RunConfig,
    /// How its phases are run.
    pub phases: PhaseSettings,
    /// The device that holds it.
    pub device: Device,
}

/// Posteriors of images, each `[images, latent]`.
#[derive(Debug, Default)]
pub struct Encoded {
    /// Means.
    pub means: Vec<f32>,
    /// Logarithms of the variances.
    pub log_variances: Vec<f32>,
}

/// Reconstructions of images, and their posteriors.
#[derive(Debug, Default)]
pub struct Reconstructed {
    /// The reconstructions, clamped to `[0, 1]`.
    pub images: Vec<f32>,
    /// The posteriors.
    pub posteriors: Encoded,
    /// Sum over pixels of the squared error, for each image.
    pub errors: Vec<f32>,
}

/// A parameter under its name in `hvae export`.
#[derive(Debug)]
pub struct WeightArray {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its numbers.
    pub values: Vec<f32>,
}

impl Trained {
    /// Loads the checkpoint `choice` of the run in the folder `run`.
    pub fn load(run: &Path, choice: CheckpointChoice, device: &Device) -> Result<Self> {
        let (run, device) = (RunDir::open(run)?, device.clone());
        let config = run.config()?;
        let phases = training::phases(&config.ep, &device)?;
        let untrained = training::new_model(&config, &device)?;
        let (model, state) = run.load_model(choice, &config, untrained)?;
        Ok(Self { run, checkpoint: choice, step: state.step, model, config, phases, device })
    }

    /// The prior of the model, which must be a learned one.
    pub(crate) fn learned_prior(&self) -> Result<&HopfieldPrior> {
        self.model.prior.as_ref().with_context(|| {
            let shown = self.run.path().display();
            format!("{shown} has no learned prior: train one with --set prior.kind=hopfield")
        })
    }

    /// The run's images, from `folder` or the one that it was trained from.
    pub fn images_from(&self, split: Split, folder: Option<&Path>) -> Result<Images> {
        environment::images(&self.run, &self.config.data, split, folder, &self.device)
    }

    /// The posteriors of `images`.
    pub fn encode(&self, images: &[f32]) -> Result<Encoded> {
        let mut found = Encoded::default();
        let mut progress = self.progress("encoding", images);
        for batch in self.batches(images) {
            found.add(self.model.encode(batch?, &self.phases)?.0)?;
            progress.update(found.means.len() / self.model.latent(), String::new);
        }
        Ok(found)
    }

    /// The images of `latents`, clamped to `[0, 1]`.
    pub fn decode(&self, latents: &[f32]) -> Result<Vec<f32>> {
        decode(&self.model, latents, &self.phases, &self.device)
    }

    /// Gives the images of [`Self::decode`] to `take`, a batch at a time.
    pub(crate) fn decode_parts(
        &self,
        latents: &[f32],
        take: &mut dyn FnMut(&[f32]) -> Result<()>,
    ) -> Result<()> {
        decode_parts(&self.model, latents, &self.phases, &self.device, take)
    }

    /// `count` latents from `source`; for the mixture the training images are read as by
    /// [`Self::images_from`].
    pub fn latents_from(
        &self,
        source: LatentSource,
        count: usize,
        seed: u64,
        folder: Option<&Path>,
    ) -> Result<Vec<f32>> {
        let images = || self.images_from(Split::Train, folder);
        source.latents(&self.model, &self.phases, count, seed, images)
    }

    /// The images of `latents` as a stream to be scored.
    pub(crate) fn samples(&self, latents: Vec<f32>) -> Samples<'_> {
        Samples {
            model: &self.model,
            phases: &self.phases,
            latents,
            shape: self.config.data.shape(),
            device: self.device.clone(),
        }
    }

    /// Reconstructs `images` at the means of their posteriors.
    pub fn reconstruct(&self, images: &[f32]) -> Result<Reconstructed> {
        let mut found = Reconstructed::default();
        let mut progress = self.progress("reconstructing", images);
        for batch in self.batches(images) {
            let reconstruction = self.model.reconstruct(batch?, None, &self.phases)?;
            found.posteriors.add(reconstruction.posterior)?;
            found.images.extend(download(reconstruction.images.clamp(0.0, 1.0))?);
            found.errors.extend(download(reconstruction.error)?);
            progress.update(found.errors.len(), String::new);
        }
        Ok(found)
    }

    /// `[ELBO, NLL]` of each of `images` from `samples` latents each, as `hvae eval` finds them.
    pub fn bounds(&self, images: &[f32], samples: usize, seed: u64) -> Result<Vec<[f64; 2]>> {
        let count = images.len() / self.model.pixels();
        let binarise = self.config.data.binarise;
        let settings = LikelihoodSettings { images: count, samples, binarise, seed };
        let found = likelihood::bounds(&self.model, &self.phases, images, settings, &self.device)?;
        Ok(found.iter().map(|both| [both.elbo, both.nll]).collect())
    }

    /// The encoder's energy at the equilibrium that it reaches with each of `images` clamped: a
    /// minimum of `E(x, s)` over the other layers.
    pub fn free_energies(&self, images: &[f32]) -> Result<Vec<f32>> {
        let EpConfig { tolerance, free_sweeps, check_every, damping, .. } = self.config.ep;
        let rule = StoppingRule::new(tolerance, free_sweeps)?.with_check_every(check_every)?;
        let mut found = Vec::new();
        for batch in self.batches(images) {
            let relaxation = self.model.encoder_phase(batch?, &self.phases)?;
            let free = relaxation.free_equilibrium(damping, &rule)?;
            let network = relaxation.network();
            let states: Vec<_> = network.ids().map(|k| free.state(k)).collect();
            found.extend(download(network.energy(&states)?)?);
        }
        Ok(found)
    }

    /// All parameters under the names that `hvae export` gives them.
    pub fn weights(&self) -> Result<Vec<WeightArray>> {
        let bytes = tensors::to_bytes(&self.model)?;
        let tensors = SafeTensors::deserialize(&bytes).context("collecting tensors")?;
        let array = |(name, view): (String, safetensors::tensor::TensorView<'_>)| {
            let (numbers, _) = view.data().as_chunks::<4>();
            let values = numbers.iter().map(|&number| f32::from_le_bytes(number)).collect();
            WeightArray { name, shape: view.shape().to_vec(), values }
        };
        let mut arrays: Vec<_> = tensors.tensors().into_iter().map(array).collect();
        arrays.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(arrays)
    }

    /// Compares the EP gradient on `images` with the one unrolled over `sweeps` sweeps, with nudges
    /// of size `nudge` or those of the run: for each parameter, and for `all parameters`, the cosine
    /// between the two and the ratio of their norms.
    pub fn gradcheck(
        &self,
        images: &[f32],
        nudge: Option<f64>,
        sweeps: usize,
    ) -> Result<Vec<(String, f64, f64)>> {
        let ep = &self.config.ep;
        let ep = EpConfig { nudge: nudge.unwrap_or(ep.nudge), ..ep.clone() };
        let phases = training::phases(&ep, &self.device).context("ep")?;
        let images = self.upload(images);
        let reference = Reference::new(&self.model, images, &self.config.training, sweeps)?;
        let found = reference.check(&phases)?.1;
        let all = gradients::summary(&found);
        let each = found.into_iter().map(|one| (one.name, one.cosine, one.norm_ratio));
        let all = ("all parameters".to_owned(), all.cosine, all.norm_ratio);
        Ok(each.chain([all]).collect())
    }

    /// `images` on the device, batch by batch, until the caller asks to stop.
    fn batches<'a>(&'a self, images: &'a [f32]) -> impl Iterator<Item = Result<Tensor<2>>> + 'a {
        images.chunks(EVALUATION_BATCH * self.model.pixels()).map(|batch| {
            interrupt::check()?;
            Ok(self.upload(batch))
        })
    }

    fn progress(&self, name: &str, images: &[f32]) -> Progress {
        Progress::start(name, images.len() / self.model.pixels(), 0)
    }

    /// `images` on the device, `[images, pixels]`.
    pub(crate) fn upload(&self, images: &[f32]) -> Tensor<2> {
        upload(images.to_vec(), self.model.pixels(), &self.device)
    }
}

impl Encoded {
    fn add(&mut self, posterior: hvae_model::Posterior) -> Result<()> {
        self.means.extend(download(posterior.mean)?);
        self.log_variances.extend(download(posterior.log_variance)?);
        Ok(())
    }
}
