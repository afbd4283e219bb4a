//! The training loop.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use burn::tensor::Device;
use hvae_data::images::Images;
use hvae_model::{PriorConfig, PriorKind, Vae};
use hvae_runtime::rng::{self, Stream};
use hvae_runtime::{interrupt, terminal};
use rand::seq::SliceRandom;

use crate::{
    config::RunConfig,
    evaluation::losses::{Evaluation, evaluate_epoch},
    observers::{Observer, PictureEvent, StepEvent, TrainingStart},
    run::{Environment, EpochMetrics, PriorUse, RunDir, TrainingState, history},
    training::{
        advice::advised,
        grids::{self, Moment},
        pending::PendingSteps,
        step::{Batch, StepRunner},
    },
};

/// How long the first epoch may take before pictures are drawn in its midst.
const FIRST_PICTURE: Duration = Duration::from_secs(15);

/// What training needs besides the folder of its run.
pub struct TrainingRequest {
    /// The configuration of the run.
    pub config: RunConfig,
    /// The training images, and those that the validation loss is measured on.
    pub images: [Images; 2],
    /// Devices; the first has the weights, and with more of them batches are split over all.
    pub devices: Vec<Device>,
    /// Program, machine and data of this process.
    pub environment: Environment,
    /// Called at every step and epoch.
    pub observers: Vec<Box<dyn Observer>>,
    /// First weights of a new run, in place of random ones.
    pub weights: Option<Vae>,
}

/// Training in progress.
pub struct Trainer {
    run: RunDir,
    train: Images,
    validation: Images,
    runner: StepRunner,
    pending: PendingSteps,
    state: TrainingState,
    /// Whether the newest checkpoint is of this step and epoch.
    saved: bool,
    observers: Vec<Box<dyn Observer>>,
    /// When this process began to train.
    started: Instant,
}

/// How training ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished {
    /// All epochs are done, or the patience is exhausted.
    Complete,
    /// Stopped early on request, after saving.
    Interrupted,
}

impl Trainer {
    /// Starts training in the new folder `run`, which is removed on an error. From the first
    /// checkpoint on, which this writes, the run can be resumed.
    pub fn create(run: RunDir, request: TrainingRequest) -> Result<Self> {
        let shown = run.path().display();
        ensure!(run.checkpoints()?.is_empty(), "{shown} has checkpoints already; resume it");
        let folder = run.clone();
        let create = || {
            let (environment, mut request) = (request.environment.clone(), request);
            let weights = request.weights.take();
            let mut trainer = Self::new(run, request)?;
            if let Some(weights) = weights {
                trainer.runner.start_from(weights);
            }
            trainer.save()?;
            environment.save(&trainer.run, &trainer.state.config.data.dataset)?;
            Ok(trainer)
        };
        create().inspect_err(|_| folder.discard())
    }

    /// Continues from the newest checkpoint of `run`. Configuration and environment of `request`
    /// become those of the run, unless it [is complete](Self::is_complete).
    pub fn resume(run: RunDir, request: TrainingRequest) -> Result<Self> {
        let environment = request.environment.clone();
        let has_moved = request.config.data.dataset != run.config()?.data.dataset;
        require_same_images(&run, &environment, has_moved)?;
        let mut trainer = Self::new(run, request)?;
        trainer.restore()?;
        if has_moved || !trainer.is_complete() {
            let toml = trainer.state.config.to_toml()?;
            trainer.run.write_text("config.toml", &toml)?;
            environment.save(&trainer.run, &trainer.state.config.data.dataset)?;
        }
        Ok(trainer)
    }

    fn new(run: RunDir, request: TrainingRequest) -> Result<Self> {
        let TrainingRequest { config, images: [train, validation], devices, observers, .. } =
            request;
        Ok(Self {
            run,
            runner: StepRunner::new(&config, &train, devices)?,
            train,
            validation,
            pending: PendingSteps::default(),
            state: TrainingState::new(config),
            saved: false,
            observers,
            started: Instant::now(),
        })
    }

    fn restore(&mut self) -> Result<()> {
        let config = self.state.config.clone();
        let checkpoint = self.runner.load(&self.run)?;
        let then = &checkpoint.state;
        self.run.require_unchanged(config.change_since(&then.config)?)?;
        let (epochs, done) = (config.training.epochs, then.epoch);
        ensure!(epochs >= done, "--epochs {epochs}: {done} epochs are done already");
        if then.commit != crate::COMMIT {
            let (then, now) = (&then.commit, crate::COMMIT);
            terminal::line(&format!(
                "note: the checkpoint was made by commit {then}, this is {now}"
            ));
        }
        self.run.point_at_best(then)?;
        self.run.remove_after(then.step)?;
        let state = self.runner.restore(checkpoint)?;
        self.saved = true;
        self.state = TrainingState { config, ..state };
        history::cut(&self.run, self.state.step)
    }

    /// Whether all epochs are done, or the patience is exhausted.
    pub fn is_complete(&self) -> bool {
        self.state.epoch >= self.state.config.training.epochs || self.is_out_of_patience()
    }

    /// Whether the run has had as many evaluations without a lower validation loss as its patience.
    pub fn is_out_of_patience(&self) -> bool {
        let patience = self.state.config.training.patience;
        patience.is_some_and(|patience| self.state.stale >= patience)
    }

    /// The model as it is now: averaged weights where the run has them.
    pub fn model(&self) -> &Vae {
        self.runner.evaluated()
    }

    /// The folder of the run.
    pub fn run(&self) -> &RunDir {
        &self.run
    }

    /// The state of training.
    pub fn state(&self) -> &TrainingState {
        &self.state
    }

    /// Trains until all epochs are done, the patience is exhausted or the user asks to stop. After
    /// an error the last checkpoint is still good.
    pub fn train(&mut self) -> Result<Finished> {
        self.train_until(usize::MAX)
    }

    /// The same, but pauses once `epochs` are done: after the checkpoint, as a stop by the user
    /// would.
    pub fn train_until(&mut self, epochs: usize) -> Result<Finished> {
        let training = &self.state.config.training;
        let start = TrainingStart {
            epochs: training.epochs,
            steps_per_epoch: self.runner.steps_per_epoch,
            images: self.train.len(),
            averages: training.averages(),
            monitor: self.state.config.data.monitor(),
        };
        let (steps, warmup) = (start.epochs * start.steps_per_epoch, training.warmup_steps);
        if steps <= warmup {
            terminal::warning(&format!(
                "training ends within its warm-up: {steps} steps, training.warmup_steps = {warmup}; \
                 take more epochs or smaller batches, or --set training.warmup_steps={}",
                steps / 10
            ));
        }
        let PriorConfig { kind, start: begins, .. } = self.state.config.prior;
        if kind == PriorKind::Hopfield && steps <= begins {
            terminal::warning(&format!(
                "training ends before its prior begins: {steps} steps, prior.start = {begins}; \
                 take more epochs, or --set prior.start={}",
                steps / 10
            ));
        }
        self.observers.iter_mut().try_for_each(|observer| observer.start(&start))?;
        let finished = self.train_epochs(epochs);
        self.observers.iter_mut().for_each(|observer| observer.end());
        finished
    }

    fn train_epochs(&mut self, until: usize) -> Result<Finished> {
        while !self.is_complete() && self.state.epoch < until {
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
        let (seed, epoch) = (self.state.config.training.seed, self.state.epoch);
        let mut order: Vec<usize> = (0..self.train.len()).collect();
        order.shuffle(&mut rng::generator(seed, Stream::Order, epoch as u64));
        let batches = Batch::all(&self.train, &order, self.state.config.training.batch_size);
        let done = self.state.step_in_epoch;
        self.observers.iter_mut().for_each(|observer| observer.start_epoch(epoch, done));
        for batch in batches.iter().skip(done) {
            self.step(batch)?;
            self.draw_first()?;
            if self.state.step_in_epoch < batches.len() {
                if interrupt::requested() {
                    self.flush()?;
                    return Ok(Finished::Interrupted);
                }
                let every = self.state.config.training.checkpoint_every;
                if every.is_some_and(|every| self.state.step.is_multiple_of(every)) {
                    self.save()?;
                }
            }
        }
        self.flush()?;
        Ok(Finished::Complete)
    }

    /// Takes one step and calls the observers.
    fn step(&mut self, batch: &Batch<'_>) -> Result<()> {
        let step = self.state.step;
        let learning_rate = self
            .try_step(batch)
            .map_err(|error| advised(error, step))
            .with_context(|| format!("step {step}; the last checkpoint is still good"))?;
        let event = StepEvent {
            step: self.state.step,
            step_in_epoch: self.state.step_in_epoch,
            losses: self.pending.losses,
            gradient_norm: self.pending.gradient_norm,
            learning_rate,
            sums: &self.state.sums,
        };
        self.observers.iter_mut().try_for_each(|observer| observer.step(&event))
    }

    fn try_step(&mut self, batch: &Batch<'_>) -> Result<f64> {
        let report = self.runner.step(self.state.step, &self.train, batch)?;
        let learning_rate = report.learning_rate;
        self.pending.steps.push(report);
        if self.pending.is_due() {
            self.pending.flush(&self.runner, &mut self.state.sums)?;
        }
        self.saved = false;
        self.state.step += 1;
        self.state.step_in_epoch += 1;
        Ok(learning_rate)
    }

    /// Brings the sums up to date.
    fn flush(&mut self) -> Result<()> {
        let step = self.state.step;
        let flushed = self.pending.flush(&self.runner, &mut self.state.sums);
        flushed.with_context(|| format!("before step {step}; the last checkpoint is still good"))
    }

    fn end_epoch(&mut self, started: Instant, done_before: usize) -> Result<()> {
        let train_seconds = started.elapsed().as_secs_f64();
        let sums = std::mem::take(&mut self.state.sums);
        let training = &self.state.config.training;
        let trained_before = (done_before * training.batch_size).min(self.train.len());
        self.saved = false;
        self.state.epoch += 1;
        self.state.step_in_epoch = 0;
        let due = self.state.epoch.is_multiple_of(training.evaluate_every)
            || self.state.epoch == training.epochs;
        let evaluation = due.then(|| self.evaluate()).transpose()?;
        let metrics = EpochMetrics {
            epoch: self.state.epoch,
            step: self.state.step,
            train: sums.losses(),
            test: evaluation.as_ref().map(|e| e.losses),
            phases: sums.phases(),
            dropped: sums.dropped,
            loop_gains: evaluation.as_ref().and_then(|e| e.loop_gains),
            gradient_check: evaluation.as_ref().and_then(|e| e.gradient_check),
            latents: evaluation.map(|e| e.latents),
            prior: due.then(|| PriorUse::of(self.model())).flatten(),
            gradient_norm: sums.gradient_norm(),
            learning_rate: self.runner.learning_rate(self.state.step - 1),
            images_per_second: (self.train.len() - trained_before) as f64 / train_seconds,
            seconds: started.elapsed().as_secs_f64(),
        };
        if let Some(losses) = metrics.test {
            self.state.rank(-losses.elbo, self.state.config.training.keep_best);
        }
        self.run.in_place(|run, again| {
            if again {
                history::cut(run, metrics.step - 1)?;
            }
            history::append(run, &metrics)
        })?;
        self.save()?;
        self.observers.iter_mut().try_for_each(|observer| observer.epoch(&metrics))?;
        if let Some(warning) = metrics.warning() {
            terminal::warning(&warning);
        }
        Ok(())
    }

    /// Draws the first pictures of a run whose first epoch takes long.
    fn draw_first(&mut self) -> Result<()> {
        let due = self.state.epoch == 0 && self.started.elapsed() > FIRST_PICTURE;
        if !due || self.run.path().join("samples").exists() {
            return Ok(());
        }
        self.draw("first.png", &format!("step {}", self.state.step))?;
        let (step, shown) = (self.state.step, self.run.path().display());
        terminal::line(&format!("first samples, after {step} steps: {shown}/samples/first.png"));
        Ok(())
    }

    /// Evaluates the model, and draws its samples and reconstructions.
    fn evaluate(&mut self) -> Result<Evaluation> {
        let (config, phases) = (&self.state.config, &self.runner.phases);
        let evaluation = evaluate_epoch(self.model(), &self.validation, config, phases)?;
        let epoch = self.state.epoch;
        self.draw(&format!("epoch-{epoch:04}.png"), &format!("epoch {epoch}"))?;
        Ok(evaluation)
    }

    /// Draws samples and reconstructions of the model, as it is at the time `shown`, into pictures
    /// called `file`.
    fn draw(&mut self, file: &str, shown: &str) -> Result<()> {
        let (model, phases) = (self.runner.evaluated(), &self.runner.phases);
        let (step, seed) = (self.state.step, self.state.config.training.seed);
        let (images, moment) = (&self.validation, Moment { file, shown, step, seed });
        let mut pictures = Vec::new();
        self.run.in_place(|run, _| {
            pictures = grids::draw(run.path(), moment, model, images, phases)?.into();
            Ok(())
        })?;
        let event = PictureEvent { step, pictures: &pictures };
        self.observers.iter_mut().try_for_each(|observer| observer.pictures(&event))
    }

    /// Saves a checkpoint, unless this step has one.
    fn save(&mut self) -> Result<()> {
        if self.saved {
            return Ok(());
        }
        let started = Instant::now();
        self.flush()?;
        let (state, runner) = (&self.state, &self.runner);
        let saved = self.run.in_place(|run, again| {
            if again && state.step > 0 {
                run.remove_after(state.step - 1)?;
            }
            run.save(runner.checkpoint(state), state.config.training.keep_checkpoints)
        });
        saved.with_context(|| {
            let shown = self.run.path().display();
            format!(
                "the checkpoint of step {} could not be saved; once the cause is fixed, \
                     `hvae train --resume {shown}` continues from the previous checkpoint",
                self.state.step
            )
        })?;
        self.saved = true;
        let milliseconds = 1e3 * started.elapsed().as_secs_f64();
        let step = self.state.step;
        terminal::detail(&format!("checkpoint of step {step}, saved in {milliseconds:.0} ms"));
        Ok(())
    }
}

/// Refuses to resume a run with other images than it was started with.
fn require_same_images(run: &RunDir, now: &Environment, has_moved: bool) -> Result<()> {
    let (then, shown) = (Environment::of(run)?, run.path().display());
    ensure!(
        then.is_some() || !has_moved,
        "{shown} has no environment.json, so that its images cannot be told from others"
    );
    ensure!(
        then.is_none_or(|then| then.has_images_of(now)),
        "the images of {shown} have changed since it was started: restore them, or train its \
         weights on others in a new run, with `hvae train --from {shown} --dataset PATH`"
    );
    Ok(())
}
