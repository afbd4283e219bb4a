//! One step on several devices, each with a part of the batch, whose gradients are added.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};

use anyhow::{Context, Result, ensure};
use burn::{
    module::{Module, ModuleVisitor, Param},
    optim::GradientsParams,
    tensor::{Device, Tensor},
};
use hvae_data::images::Images;
use hvae_device::{fault, upload, upload_rows};
use hvae_model::{
    AllReduce, EpConfig, Losses, ModelError, PhaseOutcomes, PhaseSettings, Scalar, Squares,
    TrainingStep, Vae,
};

use crate::{
    draws::{StepDraws, binarize},
    training::model::phases,
};

/// Several devices that compute the gradient of a batch together.
#[derive(Debug)]
pub struct Workers(Vec<Worker>);

/// A device and its thread, which stays the same: backends keep queues and memory by thread.
#[derive(Debug)]
struct Worker {
    device: Device,
    /// All training images, on the device.
    images: Tensor<2>,
    /// With the read policy of the device.
    phases: PhaseSettings,
    parts: Sender<Part>,
    steps: Receiver<Caught>,
}

/// A worker's step, or the panic that ended it.
type Caught = thread::Result<Result<TrainingStep, ModelError>>;

/// A worker's part of a batch.
struct Part {
    model: Vae,
    images: Tensor<2>,
    noise: Tensor<2>,
    kl_weight: f64,
    phases: PhaseSettings,
    rank: Rank,
}

impl Worker {
    fn start(device: Device, train: &Images, ep: &EpConfig) -> Result<Self> {
        let (phases, images) = (phases(ep, &device)?, train.tensor().clone().to_device(&device));
        let (parts, queue) = channel();
        let (done, steps) = channel();
        let own = device.clone();
        thread::spawn(move || queue.iter().all(|part: Part| done.send(part.step(&own)).is_ok()));
        Ok(Self { device, images, phases, parts, steps })
    }
}

impl Part {
    /// The gradient of the part; a failure also ends the step of the other workers.
    fn step(self, device: &Device) -> Caught {
        let Self { model, images, noise, kl_weight, phases, rank } = self;
        let step = || model.fork(device).training_step(images, noise, kl_weight, &phases);
        let step = catch_unwind(AssertUnwindSafe(step));
        if !matches!(step, Ok(Ok(_))) {
            rank.communicator.abort();
        }
        step
    }
}

impl Workers {
    /// Workers on `devices`; the images of `train` are copied to each of them.
    pub fn new(devices: Vec<Device>, train: &Images, ep: &EpConfig) -> Result<Self> {
        ensure!(!devices.is_empty(), "--devices: needs at least one device");
        let workers = devices.into_iter().map(|device| Worker::start(device, train, ep));
        Ok(Self(workers.collect::<Result<_>>()?))
    }

    /// The gradient of `model` on the training images `rows` with the random numbers `draws`, split
    /// evenly over the devices. Gradients are on the first device, losses on the host.
    pub fn step(
        &self,
        model: &Vae,
        rows: &[usize],
        draws: &StepDraws,
        kl_weight: f64,
    ) -> Result<TrainingStep> {
        let each = rows.len().div_ceil(self.0.len());
        let lost = "a device was lost; the last checkpoint is still good";
        // No part where devices outnumber rows.
        let parts: Vec<(&Worker, &[usize])> = self.0.iter().zip(rows.chunks(each)).collect();
        let communicator = Arc::new(Communicator::new(parts.len()));
        for (index, (worker, rows)) in parts.iter().enumerate() {
            // This part's numbers, of which each row has `width`.
            let slice = |values: &[f32], width: usize| {
                values[index * each * width..][..rows.len() * width].to_vec()
            };
            let images = worker.images.clone().select(0, upload_rows(rows, &worker.device));
            let rank = Rank { communicator: Arc::clone(&communicator), index };
            let part = Part {
                model: model.clone(),
                images: match &draws.uniforms {
                    Some(uniforms) => binarize(images, slice(uniforms, model.pixels())),
                    None => images,
                },
                noise: upload(slice(&draws.noise, model.latent()), model.latent(), &worker.device),
                kl_weight,
                phases: worker
                    .phases
                    .clone()
                    .numbered(draws.step)
                    .with_workers(Arc::new(rank.clone()), index),
                rank,
            };
            worker.parts.send(part).ok().context(lost)?;
        }
        // All are awaited, even after a failure: a step left behind would be taken for the next.
        let caught: Vec<_> = parts.iter().map(|(worker, _)| worker.steps.recv()).collect();
        let mut steps = Vec::with_capacity(parts.len());
        for step in caught {
            let step = step?.or_else(|panic| fault::guard(|| resume_unwind(panic)));
            steps.push(step.context(lost)?);
        }
        // A failure itself comes before those of the workers that waited for it.
        steps.sort_by_key(|step| matches!(step, Ok(_) | Err(ModelError::Worker(_))));
        let steps = steps.into_iter().collect::<Result<Vec<_>, _>>()?;
        let share = |(_, part): &(_, &[usize])| part.len() as f64 / rows.len() as f64;
        reduce(model, steps, parts.iter().map(share).collect(), &self.0[0].device)
    }
}

/// The step of the whole batch, with gradients on `device`, from its parts and their `shares`.
fn reduce(
    model: &Vae,
    parts: Vec<TrainingStep>,
    shares: Vec<f64>,
    device: &Device,
) -> Result<TrainingStep> {
    let mut sums = Losses { reconstruction: 0.0, log_likelihood: 0.0, divergence: 0.0 };
    let (mut counted, mut dropped) = (0, 0);
    let mut outcomes = PhaseOutcomes::default();
    let mut gradients = Vec::with_capacity(parts.len());
    for (part, share) in parts.into_iter().zip(shares) {
        gradients.push((part.gradients, share));
        // A part in which no sample converged gives the losses of all of them, see
        // `TrainingStep::counted`. In an undivided batch they would count only if no sample of the
        // other parts had converged.
        let known = model.read_losses(&[&part.losses])?[0];
        sums = sums.zip(known, |sum, loss| sum + part.counted as f64 * loss);
        counted += part.counted;
        dropped += part.dropped;
        outcomes = outcomes.zip(part.outcomes, |sum, part| [sum, part].concat());
    }
    let losses = sums.map(|sum| Scalar::Host(sum / counted.max(1) as f64));
    let mut mean = Mean { parts: &gradients, device, found: GradientsParams::new() };
    model.visit(&mut mean);
    Ok(TrainingStep { gradients: mean.found, losses, counted, dropped, betas: None, outcomes })
}

/// The mean of the gradients of parts, each with its share of the batch.
struct Mean<'a> {
    parts: &'a [(GradientsParams, f64)],
    device: &'a Device,
    found: GradientsParams,
}

impl ModuleVisitor for Mean<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let parts = self.parts.iter().filter_map(|(gradients, share)| {
            let gradient = gradients.get::<D>(param.id)?;
            Some(gradient.to_device(self.device).mul_scalar(*share))
        });
        if let Some(mean) = parts.reduce(|sum, part| sum + part) {
            self.found.register::<D>(param.id, mean);
        }
    }
}

/// What the workers of one step share: sums over all of them, each of which waits for all.
#[derive(Debug)]
struct Communicator {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Sums finished.
    round: usize,
    /// By rank, so that the sum does not depend on which worker comes first.
    given: Vec<Option<Squares>>,
    sum: Squares,
    aborted: bool,
}

impl Communicator {
    fn new(ranks: usize) -> Self {
        let state = State { given: vec![None; ranks], ..State::default() };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Wakes waiting workers with an error.
    fn abort(&self) {
        self.state().aborted = true;
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One worker's handle to a [`Communicator`].
#[derive(Debug, Clone)]
struct Rank {
    communicator: Arc<Communicator>,
    index: usize,
}

impl AllReduce for Rank {
    fn sum(&self, part: Squares) -> Result<Squares, ModelError> {
        let changed = &self.communicator.changed;
        let mut state = self.communicator.state();
        state.given[self.index] = Some(part);
        if state.given.iter().all(Option::is_some) {
            let add =
                |a: Squares, b: &Squares| Squares { sum: a.sum + b.sum, count: a.count + b.count };
            state.sum = state.given.iter().flatten().fold(Squares::default(), add);
            state.given.fill(None);
            state.round += 1;
            changed.notify_all();
            return Ok(state.sum);
        }
        let round = state.round;
        while state.round == round && !state.aborted {
            state = changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.round == round {
            return Err(ModelError::Worker("another device has failed".to_owned()));
        }
        Ok(state.sum)
    }
}
