//! One training step, as training takes it and `hvae train --dry-run` times it.

use anyhow::{Context, Result};
use burn::tensor::{Device, Int, Tensor};
use hvae_data::images::Images;
use hvae_device::upload;
use hvae_model::{
    Losses, PhaseOutcomes, PhaseSettings, PriorConfig, PriorKind, Scalar, TrainingStep, Vae,
};

use crate::config::RunConfig;
use crate::draws::{StepDraws, binarize};
use crate::optimizer::{Optimizer, averaged, read_norms};
use crate::run::Counts;
use crate::run::RunDir;
use crate::run::{Checkpoint, TrainingState};
use crate::training::model::{new_model, phases};
use crate::training::prior;
use crate::training::schedule;
use crate::training::workers::Workers;

/// Steps between two applications of the limits on the couplings.
const LIMIT_EVERY: usize = 10;

/// The training images of a step, by index.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    rows: &'a [usize],
    /// The same, `[rows]`, on the device.
    on_device: Tensor<1, Int>,
}

impl<'a> Batch<'a> {
    /// The images `rows` of `train`.
    pub(crate) fn new(train: &Images, rows: &'a [usize]) -> Self {
        Self { rows, on_device: train.index_tensor(rows) }
    }

    /// The images of an epoch in `order`, `size` at a time; their indices are uploaded once.
    pub(crate) fn all(train: &Images, order: &'a [usize], size: usize) -> Vec<Self> {
        let on_device = train.index_tensor(order);
        let batch = |(number, rows): (usize, &'a [usize])| Self {
            rows,
            on_device: on_device.clone().narrow(0, number * size, rows.len()),
        };
        order.chunks(size).enumerate().map(batch).collect()
    }
}

/// The result of a step. Losses and norm may still be on the device, see [`StepRunner::read`].
#[derive(Debug)]
pub(crate) struct StepReport {
    pub(crate) losses: Losses<Scalar>,
    pub(crate) counts: Counts,
    pub(crate) squared_norm: Scalar,
    pub(crate) learning_rate: f64,
    pub(crate) outcomes: PhaseOutcomes,
}

/// A model in training, and all that a step needs: draws, gradient, optimizer, limits, averages.
pub(crate) struct StepRunner {
    config: RunConfig,
    pub(super) steps_per_epoch: usize,
    /// Of the first device.
    pub(super) phases: PhaseSettings,
    /// With several devices.
    workers: Option<Workers>,
    /// Taken only while it is updated, in place.
    model: Option<Vae>,
    /// Averaged weights, if the configuration asks for them.
    average: Option<Vae>,
    optimizer: Optimizer,
    /// Steps taken when a learned prior began, if there is one.
    prior_begun: Option<usize>,
}

impl StepRunner {
    /// Initial weights on the first of `devices`; every batch of `train` is split over all.
    pub(crate) fn new(config: &RunConfig, train: &Images, devices: Vec<Device>) -> Result<Self> {
        let device = devices.first().context("training needs at least one device")?;
        let model = new_model(config, device)?;
        prior::require_images(&config.prior, train.len())?;
        let training = &config.training;
        let scales = model.learning_rate_scales(training.visible_rate);
        Ok(Self {
            steps_per_epoch: train.len().div_ceil(training.batch_size),
            phases: phases(&config.ep, device)?,
            average: training.averages().then(|| model.clone()),
            model: Some(model),
            optimizer: Optimizer::new(training.optimizer.rule(training.momentum), scales),
            config: config.clone(),
            prior_begun: None,
            workers: (devices.len() > 1)
                .then(|| Workers::new(devices, train, &config.ep))
                .transpose()?,
        })
    }

    fn model(&self) -> &Vae {
        self.model.as_ref().expect("it is taken only while it is updated")
    }

    /// Starts from these weights.
    pub(super) fn start_from(&mut self, mut model: Vae) {
        if self.config.prior.kind == PriorKind::Standard {
            model.prior = None;
        }
        self.average = self.average.as_ref().map(|_| model.clone());
        self.resume_prior(&model, model.prior.as_ref().map(|_| 0));
        self.model = Some(model);
    }

    /// Goes on with the learned prior of `model`, if it has one, which began after `begun` steps.
    fn resume_prior(&mut self, model: &Vae, begun: Option<usize>) {
        self.prior_begun = begun;
        if let Some(prior) = &model.prior {
            let ids = prior.ids().map(|(id, _)| id).into_iter();
            self.optimizer.add(ids, self.config.prior.rate, begun.unwrap_or_default());
        }
    }

    /// The model that is evaluated: averaged weights where the configuration asks for them.
    pub(crate) fn evaluated(&self) -> &Vae {
        self.average.as_ref().unwrap_or_else(|| self.model())
    }

    /// The learning rate of `step`.
    pub(crate) fn learning_rate(&self, step: usize) -> f64 {
        schedule::learning_rate(&self.config.training, step, self.steps_per_epoch)
    }

    /// Takes step number `step` (from 0 over all epochs) on a batch of `train`. After an error the
    /// model is as before.
    pub(crate) fn step(
        &mut self,
        step: usize,
        train: &Images,
        batch: &Batch<'_>,
    ) -> Result<StepReport> {
        rayon::scope(|_| self.step_in_pool(step, train, batch))
    }

    fn step_in_pool(
        &mut self,
        step: usize,
        train: &Images,
        batch: &Batch<'_>,
    ) -> Result<StepReport> {
        let images = batch.rows.len();
        self.begin_prior(step, train)?;
        let TrainingStep { gradients, losses, counted, dropped, outcomes, .. } =
            self.gradient(step, train, batch)?;
        let learning_rate = self.learning_rate(step);
        let training = &self.config.training;
        let squared_norm = self.optimizer.step(
            &mut self.model,
            &gradients,
            learning_rate,
            training.clip_norm,
            self.phases.read_policy(),
        )?;
        if step.is_multiple_of(LIMIT_EVERY) {
            self.model = self.model.take().map(Vae::limited);
        }
        if let Some(average) = self.average.take() {
            let decay = schedule::ema_decay(training.ema_decay, step);
            self.average = Some(averaged(average, self.model(), decay));
        }
        let counts = Counts { images, counted, dropped };
        Ok(StepReport { losses, counts, squared_norm, learning_rate, outcomes })
    }

    fn gradient(&self, step: usize, train: &Images, batch: &Batch<'_>) -> Result<TrainingStep> {
        let draws = StepDraws::new(&self.config, self.model(), step, batch.rows.len());
        let kl_weight = schedule::kl_weight(&self.config.training, step);
        if let Some(workers) = &self.workers {
            return workers.step(self.model(), batch.rows, &draws, kl_weight);
        }
        let noise = upload(draws.noise, self.model().latent(), &train.device());
        let images = train.gather(batch.on_device.clone());
        let images = match draws.uniforms {
            Some(uniforms) => binarize(images, uniforms),
            None => images,
        };
        let phases = self.phases.clone().numbered(draws.step);
        Ok(self.model().training_step(images, noise, kl_weight, &phases)?)
    }

    /// From step `prior.start` on the model has a learned prior, if it is to have one.
    fn begin_prior(&mut self, step: usize, train: &Images) -> Result<()> {
        let PriorConfig { kind, start, rate, .. } = self.config.prior;
        if kind != PriorKind::Hopfield || step < start || self.model().prior.is_some() {
            return Ok(());
        }
        let prior = prior::at_training_images(self.model(), train, &self.config, &self.phases)?;
        let begun = self.optimizer.steps();
        self.optimizer.add(prior.ids().map(|(id, _)| id).into_iter(), rate, begun);
        self.prior_begun = Some(begun);
        for model in self.model.iter_mut().chain(&mut self.average) {
            model.prior = Some(prior.clone());
        }
        Ok(())
    }

    /// Losses and gradient norm of each of `reports`, in two reads of the device at most.
    pub(crate) fn read(&self, reports: &[StepReport]) -> Result<Vec<(Losses, f64)>> {
        let losses: Vec<&Losses<Scalar>> = reports.iter().map(|report| &report.losses).collect();
        let losses = self.model().read_losses(&losses)?;
        let norms = read_norms(reports.iter().map(|report| &report.squared_norm))?;
        Ok(losses.into_iter().zip(norms).collect())
    }

    /// A checkpoint of the runner, at `state`.
    pub(super) fn checkpoint(&self, state: &TrainingState) -> Checkpoint {
        let (moments, optimizer_steps) = self.optimizer.state(self.model());
        Checkpoint {
            model: self.model().clone(),
            average: self.average.clone(),
            moments,
            state: TrainingState {
                optimizer_steps,
                prior_begun: self.prior_begun,
                ..state.clone()
            },
        }
    }

    /// The newest checkpoint of `run`, which must fit this runner.
    pub(super) fn load(&self, run: &RunDir) -> Result<Checkpoint> {
        run.load(self.model(), self.optimizer.state_len())
    }

    /// Continues from `checkpoint`; returns the state that it was saved at.
    pub(super) fn restore(&mut self, checkpoint: Checkpoint) -> Result<TrainingState> {
        let Checkpoint { model, average, moments, state } = checkpoint;
        self.optimizer.restore(&moments, state.optimizer_steps)?;
        self.resume_prior(&model, state.prior_begun);
        (self.model, self.average) = (Some(model), average);
        Ok(state)
    }
}
