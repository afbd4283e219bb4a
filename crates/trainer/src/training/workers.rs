//! One step on several devices: each takes a part of the batch, their gradients are added up.
//!
//! Burn's own workers run it ([`MultiDevicesTrainStep`], the engine of its multi-device strategy):
//! a thread per device, the weights sent to each and the gradients fetched from each at every step.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, anyhow, ensure};
use burn::data::dataloader::{DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Device, ExecutionError, Tensor};
use burn::train::train::MultiDevicesTrainStep;
use burn::train::{InferenceStep, ItemLazy, TrainOutput, TrainStep};
use hvae_model::{Agreement, EpConfig, ModelError, PhaseOutcomes, Phases, StepLosses, Vae};

use crate::device;
use crate::images::{Images, tossed, upload};

/// What is drawn for a step, row after row of its batch.
#[derive(Debug)]
pub struct Drawn {
    /// Of the posterior's samples, `rows * latent`.
    pub noise: Vec<f32>,
    /// Of pixels that are drawn as coins, `rows * pixels`.
    pub coins: Option<Vec<f32>>,
}

/// Several devices that take a step together.
pub struct Workers {
    devices: Vec<Device>,
    /// All training images, on each device.
    images: Vec<Tensor<2>>,
    /// As each device runs them best.
    phases: Vec<Phases>,
    engine: MultiDevicesTrainStep<Replica>,
}

impl std::fmt::Debug for Workers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workers").field("devices", &self.devices).finish_non_exhaustive()
    }
}

/// What a step on all devices came to.
#[derive(Debug)]
pub struct Together {
    /// The gradient of the whole batch's mean cost, on the first device.
    pub gradients: GradientsParams,
    /// Losses of the whole batch.
    pub losses: StepLosses,
    /// How many samples count in the losses, and how many were dropped from a gradient.
    pub samples: [usize; 2],
    /// How each sample's phases ended, in the order of the batch.
    pub outcomes: PhaseOutcomes,
}

impl Workers {
    /// Workers on `devices`; the images of `train` are sent to each of them.
    ///
    /// # Errors
    ///
    /// When a device cannot take the images.
    pub fn new(devices: Vec<Device>, train: &Images, ep: &EpConfig) -> Result<Self> {
        ensure!(!devices.is_empty(), "--devices: needs at least one device");
        let phases = devices.iter().map(|d| device::phases(ep, d)).collect::<Result<_>>()?;
        let images = devices.iter().map(|d| train.tensor().clone().to_device(d)).collect();
        Ok(Self { engine: MultiDevicesTrainStep::new(&devices), devices, images, phases })
    }

    /// The gradient of `model` on the training images `rows`, with what is `drawn` for them, split
    /// evenly over the devices.
    ///
    /// # Errors
    ///
    /// When a number is not finite, or a device is lost; the message names it.
    pub fn step(
        &self,
        model: &Vae,
        rows: &[usize],
        drawn: &Drawn,
        kl_weight: f64,
    ) -> Result<Together> {
        let (latent, pixels) = (model.latent(), model.pixels());
        let each = rows.len().div_ceil(self.devices.len());
        let parts: Vec<&[usize]> = rows.chunks(each).collect();
        let meeting = Arc::new(Meeting::new(parts.len()));
        let part = |(index, device): (usize, &Device)| {
            let Some(part) = parts.get(index) else { return OneBatch(None) };
            let numbers = hvae_device::upload_rows(part, device);
            let seat = Arc::new(Seat { meeting: Arc::clone(&meeting), index });
            // The part's numbers of those that are drawn `width` a row.
            let share = |values: &[f32], width: usize| {
                values[index * each * width..][..part.len() * width].to_vec()
            };
            let images = self.images[index].clone().select(0, numbers);
            OneBatch(Some(Part {
                index,
                images: match &drawn.coins {
                    Some(coins) => tossed(images, share(coins, pixels)),
                    None => images,
                },
                noise: upload(share(&drawn.noise, latent), latent, device),
                kl_weight,
                share: part.len() as f64 / rows.len() as f64,
                phases: self.phases[index].clone().agreed(seat.clone()),
                seat,
            }))
        };
        let mut loaders: Vec<Box<dyn DataLoaderIterator<Part>>> = Vec::new();
        for batch in self.devices.iter().enumerate().map(part) {
            loaders.push(Box::new(batch));
        }
        let replica = Replica { model: model.clone() };
        let (outputs, _) = self
            .engine
            .step(&mut loaders, &replica)
            .map_err(|error| anyhow!("{error}"))
            .context("a device was lost; the last checkpoint is still good")?;
        let mut done = Vec::with_capacity(outputs.len());
        for output in outputs {
            let TrainOutput { grads, item } = output.output;
            done.push((item.index, grads, item.result?));
        }
        // Workers finish in any order; sums must not depend on it.
        done.sort_by_key(|(index, ..)| *index);
        self.add_up(model, done)
    }

    fn add_up(&self, model: &Vae, done: Vec<(usize, GradientsParams, Report)>) -> Result<Together> {
        let mut accumulator = GradientsAccumulator::new();
        let mut losses = [0.0; 3];
        let mut samples = [0; 2];
        let mut outcomes = PhaseOutcomes::default();
        for (_, gradients, report) in done {
            accumulator.accumulate(model, gradients.to_device(&self.devices[0], model));
            // A part in which no sample converged gives the losses of all of them, see
            // `TrainingStep::counted`; had the batch been whole, they would count only if no other
            // had converged.
            let known = model.read_losses(&[&report.losses])?;
            for (sum, loss) in losses.iter_mut().zip(known[0]) {
                *sum += report.samples[0] as f64 * loss;
            }
            for (sum, count) in samples.iter_mut().zip(report.samples) {
                *sum += count;
            }
            outcomes.encoder_free.extend(report.outcomes.encoder_free);
            outcomes.decoder_free.extend(report.outcomes.decoder_free);
            outcomes.decoder_nudged.extend(report.outcomes.decoder_nudged);
            outcomes.encoder_nudged.extend(report.outcomes.encoder_nudged);
        }
        let losses = StepLosses::Known(losses.map(|sum| sum / samples[0].max(1) as f64));
        Ok(Together { gradients: accumulator.grads(), losses, samples, outcomes })
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
    index: usize,
    images: Tensor<2>,
    noise: Tensor<2>,
    kl_weight: f64,
    /// Of the batch.
    share: f64,
    phases: Phases,
    seat: Arc<Seat>,
}

/// What a worker hands back besides gradients.
#[derive(Debug)]
struct Done {
    index: usize,
    result: Result<Report, ModelError>,
}

#[derive(Debug)]
struct Report {
    losses: StepLosses,
    samples: [usize; 2],
    outcomes: PhaseOutcomes,
}

impl TrainStep for Replica {
    type Input = Part;
    type Output = Done;

    /// The gradient of a part, times its share of the batch.
    fn step(&self, part: Part) -> TrainOutput<Done> {
        let leave = LeaveOnDrop(&part.seat);
        let result =
            self.model.training_step(part.images, part.noise, part.kl_weight, &part.phases);
        let (grads, result) = match result {
            Ok(step) => {
                std::mem::forget(leave);
                let grads = scaled(&self.model, &step.gradients, part.share);
                let samples = [step.counted, step.dropped];
                let report = Report { losses: step.losses, samples, outcomes: step.outcomes };
                (grads, Ok(report))
            }
            Err(error) => (GradientsParams::new(), Err(error)),
        };
        TrainOutput { grads, item: Done { index: part.index, result } }
    }
}

impl InferenceStep for Replica {
    type Input = Part;
    type Output = Done;

    fn step(&self, part: Part) -> Done {
        TrainStep::step(self, part).item
    }
}

impl ItemLazy for Done {
    fn sync(self) -> Result<Self, ExecutionError> {
        Ok(self)
    }
}

/// All gradients times `factor`.
fn scaled(model: &Vae, gradients: &GradientsParams, factor: f64) -> GradientsParams {
    use burn::module::{ModuleVisitor, Param};

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

/// A loader of one batch, or none.
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

/// Where the workers of one step add up numbers, and wait for each other.
#[derive(Debug)]
struct Meeting {
    workers: usize,
    state: Mutex<Round>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Round {
    number: usize,
    /// By worker, so that the sum does not depend on who comes first.
    given: Vec<Option<[f64; 2]>>,
    sum: [f64; 2],
    broken: bool,
}

impl Meeting {
    fn new(workers: usize) -> Self {
        let round = Round { given: vec![None; workers], ..Round::default() };
        Self { workers, state: Mutex::new(round), changed: Condvar::new() }
    }

    fn round(&self) -> MutexGuard<'_, Round> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A worker's place at the meeting.
#[derive(Debug)]
struct Seat {
    meeting: Arc<Meeting>,
    index: usize,
}

impl Agreement for Seat {
    fn sum(&self, values: [f64; 2]) -> Result<[f64; 2], ModelError> {
        let mut round = self.meeting.round();
        round.given[self.index] = Some(values);
        if round.given.iter().flatten().count() == self.meeting.workers {
            round.sum = [0, 1].map(|k| round.given.iter().flatten().map(|v| v[k]).sum());
            round.given.fill(None);
            round.number += 1;
            self.meeting.changed.notify_all();
            return Ok(round.sum);
        }
        let number = round.number;
        while round.number == number && !round.broken {
            round = self.meeting.changed.wait(round).unwrap_or_else(PoisonError::into_inner);
        }
        if round.number == number {
            return Err(ModelError::Worker("another device has failed".to_owned()));
        }
        Ok(round.sum)
    }
}

/// Whoever leaves early, by an error or a panic, lets the others go.
struct LeaveOnDrop<'a>(&'a Seat);

impl Drop for LeaveOnDrop<'_> {
    fn drop(&mut self) {
        self.0.meeting.round().broken = true;
        self.0.meeting.changed.notify_all();
    }
}
