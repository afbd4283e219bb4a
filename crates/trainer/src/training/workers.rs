//! One step on several devices: each computes the gradient of a part of the batch, and the
//! gradients are added.
//!
//! Burn's own workers run it ([`MultiDevicesTrainStep`], the engine of its multi-device strategy):
//! a thread per device, the weights sent to each and the gradients fetched from each at every step.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow, ensure};
use burn::data::dataloader::{DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Device, ExecutionError, Tensor};
use burn::train::train::MultiDevicesTrainStep;
use burn::train::{InferenceStep, ItemLazy, TrainOutput, TrainStep};
use hvae_data::images::Images;
use hvae_device::host::upload;
use hvae_model::{
    EpConfig, Losses, ModelError, PhaseOutcomes, PhaseSettings, Scalar, TrainingStep, Vae,
};

use crate::training::all_reduce::{AbortGuard, Communicator, Rank};
use crate::training::binarize::binarize;
use crate::training::draws::StepDraws;
use crate::training::phases::phases;

/// Several devices that compute the gradient of a batch together.
pub struct Workers {
    devices: Vec<Device>,
    /// All training images, on each device.
    images: Vec<Tensor<2>>,
    /// With the read policy of each device.
    phases: Vec<PhaseSettings>,
    engine: MultiDevicesTrainStep<Replica>,
}

impl std::fmt::Debug for Workers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workers").field("devices", &self.devices).finish_non_exhaustive()
    }
}

impl Workers {
    /// Workers on `devices`; the images of `train` are copied to each of them.
    ///
    /// # Errors
    ///
    /// When there is no device, or the settings of the phases are wrong.
    pub fn new(devices: Vec<Device>, train: &Images, ep: &EpConfig) -> Result<Self> {
        ensure!(!devices.is_empty(), "--devices: needs at least one device");
        let phases = devices.iter().map(|d| phases(ep, d)).collect::<Result<_>>()?;
        let images = devices.iter().map(|d| train.tensor().clone().to_device(d)).collect();
        Ok(Self { engine: MultiDevicesTrainStep::new(&devices), devices, images, phases })
    }

    /// The gradient of `model` on the training images `rows` with the random numbers `draws`, split
    /// evenly over the devices. Gradients are on the first device, losses on the host.
    ///
    /// # Errors
    ///
    /// When a number is not finite, or a device is lost; the message names it.
    pub fn step(
        &self,
        model: &Vae,
        rows: &[usize],
        draws: &StepDraws,
        kl_weight: f64,
    ) -> Result<TrainingStep> {
        let replica = Replica { model: model.clone() };
        let (outputs, _) = self
            .engine
            .step(&mut self.loaders(model, rows, draws, kl_weight), &replica)
            .map_err(|error| anyhow!("{error}"))
            .context("a device was lost; the last checkpoint is still good")?;
        let mut parts = Vec::with_capacity(outputs.len());
        for output in outputs {
            let TrainOutput { grads, item } = output.output;
            parts.push((item.rank, TrainingStep { gradients: grads, ..item.result? }));
        }
        // Workers finish in any order; sums must not depend on it.
        parts.sort_by_key(|(rank, _)| *rank);
        self.reduce(model, parts.into_iter().map(|(_, part)| part).collect())
    }

    /// A part of the batch for each device; no part where devices outnumber rows.
    fn loaders(
        &self,
        model: &Vae,
        rows: &[usize],
        draws: &StepDraws,
        kl_weight: f64,
    ) -> Vec<Box<dyn DataLoaderIterator<Part>>> {
        let (latent, pixels) = (model.latent(), model.pixels());
        let each = rows.len().div_ceil(self.devices.len());
        let parts: Vec<&[usize]> = rows.chunks(each).collect();
        let communicator = Arc::new(Communicator::new(parts.len()));
        let part = |(index, device): (usize, &Device)| {
            let Some(part) = parts.get(index) else { return OneBatch(None) };
            // This part's numbers, of which each row has `width`.
            let slice = |values: &[f32], width: usize| {
                values[index * each * width..][..part.len() * width].to_vec()
            };
            let indices = hvae_device::upload_rows(part, device);
            let images = self.images[index].clone().select(0, indices);
            let rank = Rank { communicator: Arc::clone(&communicator), index };
            OneBatch(Some(Part {
                images: match &draws.uniforms {
                    Some(uniforms) => binarize(images, slice(uniforms, pixels)),
                    None => images,
                },
                noise: upload(slice(&draws.noise, latent), latent, device),
                kl_weight,
                share: part.len() as f64 / rows.len() as f64,
                phases: self.phases[index]
                    .clone()
                    .numbered(draws.step)
                    .with_workers(Arc::new(rank.clone()), index),
                rank,
            }))
        };
        let parts = self.devices.iter().enumerate().map(part);
        parts.map(|part| Box::new(part) as Box<dyn DataLoaderIterator<Part>>).collect()
    }

    /// The step of the whole batch, from those of its parts.
    fn reduce(&self, model: &Vae, parts: Vec<TrainingStep>) -> Result<TrainingStep> {
        let mut gradients = GradientsAccumulator::new();
        let mut sums = Losses { reconstruction: 0.0, log_likelihood: 0.0, divergence: 0.0 };
        let (mut counted, mut dropped) = (0, 0);
        let mut outcomes = PhaseOutcomes::default();
        for part in parts {
            gradients.accumulate(model, part.gradients.to_device(&self.devices[0], model));
            // A part in which no sample converged gives the losses of all of them, see
            // `TrainingStep::counted`. In an undivided batch they would count only if no sample of
            // the other parts had converged.
            let known = model.read_losses(&[&part.losses])?[0];
            sums = sums.zip(known, |sum, loss| sum + part.counted as f64 * loss);
            counted += part.counted;
            dropped += part.dropped;
            outcomes = outcomes.zip(part.outcomes, |sum, part| [sum, part].concat());
        }
        let losses = sums.map(|sum| Scalar::Host(sum / counted.max(1) as f64));
        let gradients = gradients.grads();
        Ok(TrainingStep { gradients, losses, counted, dropped, betas: None, outcomes })
    }
}

/// A model on a worker's device.
#[derive(Module, Debug)]
struct Replica {
    model: Vae,
}

/// A worker's part of a batch.
#[derive(Debug)]
struct Part {
    images: Tensor<2>,
    noise: Tensor<2>,
    kl_weight: f64,
    /// Share of the batch.
    share: f64,
    phases: PhaseSettings,
    rank: Rank,
}

/// What a worker returns besides gradients.
#[derive(Debug)]
struct PartResult {
    rank: usize,
    /// Without gradients, which Burn's engine returns separately.
    result: Result<TrainingStep, ModelError>,
}

impl TrainStep for Replica {
    type Input = Part;
    type Output = PartResult;

    /// The gradient of a part, times its share of the batch.
    fn step(&self, part: Part) -> TrainOutput<PartResult> {
        let guard = AbortGuard::new(&part.rank);
        let step = self.model.training_step(part.images, part.noise, part.kl_weight, &part.phases);
        let mut grads = GradientsParams::new();
        let result = step.map(|mut step| {
            guard.disarm();
            grads = scaled(&self.model, &std::mem::take(&mut step.gradients), part.share);
            step
        });
        TrainOutput { grads, item: PartResult { rank: part.rank.index, result } }
    }
}

impl InferenceStep for Replica {
    type Input = Part;
    type Output = PartResult;

    fn step(&self, part: Part) -> PartResult {
        TrainStep::step(self, part).item
    }
}

impl ItemLazy for PartResult {
    fn sync(self) -> Result<Self, ExecutionError> {
        Ok(self)
    }
}

/// All gradients times `factor`.
fn scaled(model: &Vae, gradients: &GradientsParams, factor: f64) -> GradientsParams {
    struct Scale<'a> {
        from: &'a GradientsParams,
        to: GradientsParams,
        factor: f64,
    }
    impl ModuleVisitor for Scale<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.from.get::<D>(param.id) {
                self.to.register::<D>(param.id, gradient.mul_scalar(self.factor));
            }
        }
    }
    let mut scale = Scale { from: gradients, to: GradientsParams::new(), factor };
    model.visit(&mut scale);
    scale.to
}

/// A loader of at most one batch.
struct OneBatch(Option<Part>);

impl Iterator for OneBatch {
    type Item = Result<Part, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.take().map(Ok)
    }
}

impl DataLoaderIterator<Part> for OneBatch {
    fn progress(&self) -> Progress {
        Progress::new(1, 1, None)
    }
}
