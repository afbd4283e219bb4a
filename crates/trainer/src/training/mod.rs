//! The training loop.

pub mod average;
pub mod binarize;
pub mod evaluate;
mod grids;
pub mod memory;
pub mod phases;
mod waiting;
pub mod workers;

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use burn::tensor::{Device, Int, Tensor};
use hvae_model::{Phases, Vae};
use rand::seq::SliceRandom;

use crate::config::RunConfig;
use crate::optimizer::Optimizer;
use crate::run::RunDir;
use crate::run::checkpoint::{Checkpoint, TrainingState};
use crate::run::metrics::EpochMetrics;
use crate::training::binarize::tossed;
use hvae_data::images::Images;
use hvae_device::host::upload;
use hvae_runtime::rng;
use hvae_runtime::rng::Stream;
use hvae_runtime::{interrupt, terminal};

use crate::observers::watch::{Begin, StepReport, Watch};
pub use evaluate::evaluate;
pub(crate) use grids::decode_batches;
pub use grids::{decode, sample};
use waiting::{Taken, Waiting};
use workers::{Drawn, Together, Workers};

/// Steps between two looks at the strength of the couplings.
const LIMIT_EVERY: usize = 10;

/// A run under way.
#[derive(Debug)]
pub struct Trainer {
    run: RunDir,
    config: RunConfig,
    phases: Phases,
    device: Device,
    train: Images,
    test: Images,
    model: Vae,
    /// Averaged weights, if the configuration asks for them.
    average: Option<Vae>,
    optimizer: Optimizer,
    state: TrainingState,
    /// Step of the newest checkpoint of this process.
    saved: Option<(usize, usize)>,
    watchers: Vec<Box<dyn Watch>>,
    /// Whether the device is read as rarely as can be.
    quiet: bool,
    /// Steps not yet in the sums.
    waiting: Waiting,
    /// Further devices, if a batch is split over several.
    workers: Option<Workers>,
}

/// The training images of a step, by number.
struct Batch<'a> {
    rows: &'a [usize],
    /// The same, `[rows]`, on the device.
    on_device: Tensor<1, Int>,
}

/// How training ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished {
    /// All epochs are done, or patience is at an end.
    Complete,
    /// Stopped early on request, after saving.
    Interrupted,
}

impl Trainer {
    /// A trainer at the beginning of a run.
    ///
    /// # Errors
    ///
    /// When the configuration cannot work.
    pub fn new(
        run: RunDir,
        config: RunConfig,
        images: [Images; 2],
        device: Device,
    ) -> Result<Self> {
        let [train, test] = images;
        let model = new_model(&config, train.set().pixels(), &device)?;
        let training = &config.training;
        let scales = model.learning_rate_scales(training.visible_rate);
        Ok(Self {
            phases: phases::phases(&config.ep, &device)?,
            quiet: !hvae_device::is_host(&device),
            optimizer: Optimizer::new(training.optimizer.rule(training.momentum), scales),
            state: TrainingState::new(config.clone()),
            average: training.averages().then(|| model.clone()),
            run,
            config,
            device,
            train,
            test,
            model,
            saved: None,
            watchers: Vec::new(),
            waiting: Waiting::default(),
            workers: None,
        })
    }

    /// Splits every batch over `devices` from now on; the weights stay where they are.
    ///
    /// # Errors
    ///
    /// When a device cannot take the training images.
    pub fn split_over(&mut self, devices: Vec<Device>) -> Result<()> {
        self.workers = Some(Workers::new(devices, &self.train, &self.config.ep)?);
        Ok(())
    }

    /// Shows every step and epoch from now on to `watcher`, too.
    pub fn watch(&mut self, watcher: Box<dyn Watch>) {
        self.watchers.push(watcher);
    }

    /// Goes back to where the run's newest checkpoint left off.
    ///
    /// # Errors
    ///
    /// When it cannot be loaded or belongs to another configuration.
    pub fn restore(&mut self) -> Result<()> {
        let Checkpoint { model, average, moments, state } =
            self.run.load(&self.model, self.optimizer.state_len())?;
        self.run.require_unchanged(self.config.change_since(&state.config)?)?;
        ensure!(
            self.config.training.epochs >= state.epoch,
            "--epochs {}: {} epochs are done already",
            self.config.training.epochs,
            state.epoch
        );
        if state.commit != crate::COMMIT {
            let (then, now) = (&state.commit, crate::COMMIT);
            terminal::line(&format!(
                "note: the checkpoint was made by commit {then}, this is {now}"
            ));
        }
        self.run.point_at_best(&state)?;
        self.run.remove_after(state.step)?;
        self.optimizer.restore(&moments, state.optimizer_steps)?;
        self.model = model;
        self.average = average;
        self.saved = Some((state.step, state.epoch));
        self.state = TrainingState { config: self.config.clone(), ..state };
        crate::run::history::cut(&self.run, self.state.step)
    }

    /// Whether all epochs are done, or patience is at an end.
    pub fn is_complete(&self) -> bool {
        self.state.epoch >= self.config.training.epochs || self.is_out_of_patience()
    }

    /// Whether the test loss has not fallen for as many evaluations as the run has patience.
    pub fn is_out_of_patience(&self) -> bool {
        self.config.training.patience.is_some_and(|patience| self.state.stale >= patience)
    }

    /// The model as it stands: averaged weights where the run has them.
    pub fn model(&self) -> &Vae {
        self.average.as_ref().unwrap_or(&self.model)
    }

    /// What training is watched on, see [`DataConfig::watched`](hvae_data::config::DataConfig::watched).
    pub fn watched(&self) -> &'static str {
        self.config.data.watched()
    }

    /// Where training stands.
    pub fn state(&self) -> &TrainingState {
        &self.state
    }

    /// Steps of an epoch.
    pub fn steps_per_epoch(&self) -> usize {
        self.train.len().div_ceil(self.config.training.batch_size)
    }

    /// Trains until all epochs are done, patience is at an end or the user asks to stop.
    ///
    /// # Errors
    ///
    /// When a number is no longer finite, or a file cannot be written. The last checkpoint is
    /// then still good.
    pub fn train(&mut self) -> Result<Finished> {
        let begin = Begin {
            epochs: self.config.training.epochs,
            steps_per_epoch: self.steps_per_epoch(),
            images: self.train.len(),
            watched: self.config.data.watched(),
        };
        let warmup = self.config.training.warmup_steps;
        let steps = begin.epochs * begin.steps_per_epoch;
        if steps <= warmup {
            terminal::warning(&format!(
                "{steps} steps in all, within the {warmup} of training.warmup_steps: expect little"
            ));
        }
        for watcher in &mut self.watchers {
            watcher.begin(&begin)?;
        }
        let finished = self.train_epochs();
        for watcher in &mut self.watchers {
            watcher.end();
        }
        finished
    }

    fn train_epochs(&mut self) -> Result<Finished> {
        while !self.is_complete() {
            let (started, done_before) = (Instant::now(), self.state.step_in_epoch);
            if self.train_epoch()? == Finished::Interrupted {
                self.save()?;
                return Ok(Finished::Interrupted);
            }
            self.end_epoch(started, done_before)?;
            if interrupt::requested() && !self.is_complete() {
                return Ok(Finished::Interrupted);
            }
        }
        Ok(Finished::Complete)
    }

    fn train_epoch(&mut self) -> Result<Finished> {
        let steps = self.steps_per_epoch();
        let order = self.order(self.state.epoch);
        let batch = self.config.training.batch_size;
        let on_device = self.train.index_tensor(&order);
        let batches: Vec<&[usize]> = order.chunks(batch).collect();
        for watcher in &mut self.watchers {
            watcher.begin_epoch(self.state.epoch, self.state.step_in_epoch);
        }
        for (number, rows) in batches.iter().enumerate().skip(self.state.step_in_epoch) {
            let learning_rate = self.step(Batch {
                rows,
                on_device: on_device.clone().narrow(0, number * batch, rows.len()),
            })?;
            let norm = self.waiting.norm();
            let state = &self.state;
            let report = StepReport {
                epoch: state.epoch,
                step: state.step,
                step_in_epoch: state.step_in_epoch,
                gradient_norm: norm,
                learning_rate,
                sums: &state.sums,
            };
            for watcher in &mut self.watchers {
                watcher.step(&report)?;
            }
            if self.state.step_in_epoch < steps {
                let every = self.config.training.checkpoint_every;
                if interrupt::requested() {
                    self.settle()?;
                    return Ok(Finished::Interrupted);
                }
                if every.is_some_and(|every| self.state.step.is_multiple_of(every)) {
                    self.save()?;
                }
            }
        }
        self.settle()?;
        Ok(Finished::Complete)
    }

    /// The order of the training images in `epoch`.
    fn order(&self, epoch: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.train.len()).collect();
        order.shuffle(&mut rng::generator(self.config.training.seed, Stream::Order, epoch as u64));
        order
    }

    /// One step; its learning rate.
    fn step(&mut self, batch: Batch<'_>) -> Result<f64> {
        let step = self.state.step;
        let rate = self.try_step(batch);
        rate.with_context(|| format!("step {step}; the last checkpoint is still good"))
    }

    fn try_step(&mut self, batch: Batch<'_>) -> Result<f64> {
        let training = &self.config.training;
        let (step, images) = (self.state.step, batch.rows.len());
        let drawn = self.draw(images);
        let kl_weight = crate::config::schedule::kl_weight(training, step);
        let result = if let Some(workers) = &self.workers {
            workers.step(&self.model, batch.rows, &drawn, kl_weight)?
        } else {
            let noise = upload(drawn.noise, self.model.latent(), &self.device);
            let images = self.train.gather(batch.on_device);
            let images = match drawn.coins {
                Some(coins) => tossed(images, coins),
                None => images,
            };
            let done = self.model.training_step(images, noise, kl_weight, &self.phases)?;
            Together {
                gradients: done.gradients,
                losses: done.losses,
                samples: [done.counted, done.dropped],
                outcomes: done.outcomes,
            }
        };
        let rate = crate::config::schedule::learning_rate(training, step, self.steps_per_epoch());
        let (model, clip, quiet) = (self.model.clone(), training.clip_norm, self.quiet);
        let (model, norm) = self.optimizer.step(model, &result.gradients, rate, clip, quiet)?;
        self.model = if step.is_multiple_of(LIMIT_EVERY) { model.limited() } else { model };
        if let Some(average) = self.average.take() {
            let decay = crate::config::schedule::ema_decay(training.ema_decay, step);
            self.average = Some(average::advance(average, &self.model, decay));
        }
        let Together { losses, samples, outcomes, .. } = result;
        self.waiting.push(Taken { images, samples, losses, norm, outcomes });
        if self.waiting.is_due() {
            self.waiting.settle(&self.model, &mut self.state.sums)?;
        }
        self.state.step += 1;
        self.state.step_in_epoch += 1;
        Ok(rate)
    }

    /// What is drawn for a step on `images` images. It depends on nothing but seed and step.
    fn draw(&self, images: usize) -> Drawn {
        let (seed, step) = (self.config.training.seed, self.state.step as u64);
        let noise = rng::normal(seed, Stream::Noise, step, images * self.model.latent());
        let coins =
            self.config.data.binarise.then(|| {
                rng::uniform(seed, Stream::Binarization, step, images * self.model.pixels())
            });
        Drawn { noise, coins }
    }

    /// Brings the sums up to date.
    fn settle(&mut self) -> Result<()> {
        let step = self.state.step;
        let settled = self.waiting.settle(&self.model, &mut self.state.sums);
        settled.with_context(|| format!("before step {step}; the last checkpoint is still good"))
    }

    fn end_epoch(&mut self, started: Instant, done_before: usize) -> Result<()> {
        let train_seconds = started.elapsed().as_secs_f64();
        let sums = std::mem::take(&mut self.state.sums);
        let batch = self.config.training.batch_size;
        let trained_here = self.train.len() - (done_before * batch).min(self.train.len());
        self.state.epoch += 1;
        self.state.step_in_epoch = 0;
        let training = &self.config.training;
        let due = self.state.epoch.is_multiple_of(training.evaluate_every)
            || self.state.epoch == training.epochs;
        let (mut test, mut loop_gains, mut gradient_check) = (None, None, None);
        if due {
            let model = self.model();
            test = Some(evaluate(model, &self.test, &self.config, &self.phases)?);
            loop_gains = evaluate::loop_gains(model, &self.test, &self.phases)?;
            gradient_check =
                evaluate::gradient_check(model, &self.test, &self.config, &self.phases)?;
            let name = format!("epoch-{:04}.png", self.state.epoch);
            grids::draw(self.run.path(), &name, model, &self.test, training.seed, &self.phases)?;
        }
        let last = self.state.step - 1;
        let metrics = EpochMetrics {
            epoch: self.state.epoch,
            step: self.state.step,
            train: sums.losses(),
            test,
            phases: sums.phases(),
            dropped: sums.dropped,
            loop_gains,
            gradient_check,
            gradient_norm: sums.gradient_norm(),
            learning_rate: crate::config::schedule::learning_rate(
                training,
                last,
                self.steps_per_epoch(),
            ),
            images_per_second: trained_here as f64 / train_seconds,
            seconds: started.elapsed().as_secs_f64(),
        };
        if let Some(test) = metrics.test {
            self.state.rank(-test.elbo, self.config.training.keep_best);
        }
        crate::run::history::append(&self.run, &metrics)?;
        self.save()?;
        for watcher in &mut self.watchers {
            watcher.epoch(&metrics)?;
        }
        if let Some(warning) = metrics.warning() {
            terminal::warning(&warning);
        }
        Ok(())
    }

    /// Saves a checkpoint of the step just taken, or of a run that has not begun.
    ///
    /// # Errors
    ///
    /// When it cannot be written, or holds a number that is not finite.
    pub fn save(&mut self) -> Result<()> {
        let place = (self.state.step, self.state.epoch);
        if self.saved == Some(place) {
            return Ok(());
        }
        let started = Instant::now();
        self.settle()?;
        let (moments, steps) = self.optimizer.state(&self.model);
        self.state.optimizer_steps = steps;
        let checkpoint = Checkpoint {
            model: self.model.clone(),
            average: self.average.clone(),
            moments,
            state: self.state.clone(),
        };
        self.run.save(checkpoint, self.config.training.keep_checkpoints)?;
        self.saved = Some(place);
        let milliseconds = 1e3 * started.elapsed().as_secs_f64();
        terminal::detail(&format!("checkpoint of step {}, saved in {milliseconds:.0} ms", place.0));
        Ok(())
    }
}

/// A model with fresh weights of the run's seed.
///
/// # Errors
///
/// When the configuration cannot work.
pub fn new_model(config: &RunConfig, pixels: usize, device: &Device) -> Result<Vae> {
    let mut rng = rng::generator(config.training.seed, Stream::Weights, 0);
    Ok(Vae::new(&config.model, pixels, &mut rng, device)?)
}
