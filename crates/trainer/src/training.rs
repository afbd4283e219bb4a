//! The training loop.

use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use burn::tensor::{Device, Tensor};
use hvae_model::{Kind, Phases, Vae};
use rand::seq::SliceRandom;

use crate::checkpoint::{Checkpoint, RunDir, TrainingState};
use crate::config::{RunConfig, TrainingConfig};
use crate::gradients;
use crate::images::{Images, binarised, download, upload};
use crate::metrics::{EpochMetrics, GradientCheck, LoopGains, Losses};
use crate::optimizer::AdamOptimizer;
use crate::report::{self, Progress};
use crate::rng::{self, Stream};
use crate::{interrupt, picture};

/// Images per batch where nothing is learnt.
pub const EVALUATION_BATCH: usize = 500;
/// Images of each grid, and how many stand side by side.
const GRID: (usize, usize) = (100, 10);
/// Size of a pixel in pictures.
pub const SCALE: u32 = 2;
/// Test images on which the loop gain is measured, and steps of its power iteration.
const LOOP_GAIN: (usize, usize) = (64, 30);
/// Test images on which gradients are compared each epoch, and sweeps differentiated through.
const GRADIENT_CHECK: (usize, usize) = (32, 40);
/// Steps between two looks at the strength of the couplings.
const LIMIT_EVERY: usize = 10;
/// One event a line, each an [`EpochMetrics`].
const METRICS: &str = "metrics.jsonl";

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
    optimizer: AdamOptimizer,
    state: TrainingState,
}

/// How training ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished {
    /// All epochs are done.
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
        Ok(Self {
            phases: Phases::new(&config.ep)?,
            optimizer: AdamOptimizer::new(model.learning_rate_scales(config.training.visible_rate)),
            state: TrainingState::new(config.clone()),
            run,
            config,
            device,
            train,
            test,
            model,
        })
    }

    /// Goes back to where the run's newest checkpoint left off.
    ///
    /// # Errors
    ///
    /// When it cannot be loaded or belongs to another configuration.
    pub fn restore(&mut self) -> Result<()> {
        let Checkpoint { model, moments: [first, second], state } = self.run.load(&self.model)?;
        if let Some(change) = self.config.change_since(&state.config)? {
            bail!(
                "{} has changed since the checkpoint was made: {change}. Change it back, or begin a new run",
                self.run.config_path().display()
            );
        }
        ensure!(
            self.config.training.epochs >= state.epoch,
            "--epochs {}: {} epochs are done already",
            self.config.training.epochs,
            state.epoch
        );
        if state.commit != crate::COMMIT {
            let (then, now) = (&state.commit, crate::COMMIT);
            report::line(&format!("note: the checkpoint was made by commit {then}, this is {now}"));
        }
        self.run.remove_after(state.step)?;
        self.optimizer.restore(&first, &second, state.optimizer_steps);
        self.model = model;
        self.state = TrainingState { config: self.config.clone(), ..state };
        self.cut_metrics()
    }

    /// Drops the metrics of steps after the checkpoint, which will be made again, and a last line
    /// that was cut off. Other lines stay, whatever version of this program wrote them.
    fn cut_metrics(&self) -> Result<()> {
        let path = self.run.path().join(METRICS);
        if !path.exists() {
            return Ok(());
        }
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("reading {}", path.display()))?;
        let known = |line: &&str| {
            let value: Option<serde_json::Value> = serde_json::from_str(line).ok();
            let step = value.and_then(|v| v.get("step")?.as_u64());
            step.is_some_and(|step| step <= self.state.step as u64)
        };
        let kept: String = text.lines().filter(known).flat_map(|l| [l, "\n"]).collect();
        self.run.write_text(METRICS, &kept)
    }

    /// Whether all epochs are done.
    pub fn is_complete(&self) -> bool {
        self.state.epoch >= self.config.training.epochs
    }

    /// The model as it stands.
    pub fn model(&self) -> &Vae {
        &self.model
    }

    /// Where training stands.
    pub fn state(&self) -> &TrainingState {
        &self.state
    }

    fn steps_per_epoch(&self) -> usize {
        self.train.len().div_ceil(self.config.training.batch_size)
    }

    /// Trains until all epochs are done or the user asks to stop.
    ///
    /// # Errors
    ///
    /// When a number is no longer finite, or a file cannot be written. The last checkpoint is
    /// then still good.
    pub fn train(&mut self) -> Result<Finished> {
        let steps = self.config.training.epochs * self.steps_per_epoch();
        let warmup = self.config.training.warmup_steps;
        if steps <= warmup {
            report::warning(&format!(
                "{steps} steps in all, within the {warmup} of training.warmup_steps: expect little"
            ));
        }
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
        let (epoch, steps) = (self.state.epoch, self.steps_per_epoch());
        let mut order: Vec<usize> = (0..self.train.len()).collect();
        let seed = self.config.training.seed;
        order.shuffle(&mut rng::generator(seed, Stream::Order, epoch as u64));
        let name = format!("epoch {}/{}", epoch + 1, self.config.training.epochs);
        let mut progress = Progress::start(&name, steps, self.state.step_in_epoch);
        let batches: Vec<&[usize]> = order.chunks(self.config.training.batch_size).collect();
        for batch in &batches[self.state.step_in_epoch..] {
            self.step(batch)?;
            let done = self.state.step_in_epoch;
            progress.update(done, || {
                let losses = self.state.sums.losses();
                format!(
                    "reconstruction {:.2} KL {:.2}",
                    losses.reconstruction_error, losses.divergence
                )
            });
            if interrupt::requested() && done < steps {
                return Ok(Finished::Interrupted);
            }
        }
        Ok(Finished::Complete)
    }

    fn step(&mut self, batch: &[usize]) -> Result<()> {
        let training = &self.config.training;
        let step = self.state.step;
        let mut images = self.train.select(batch);
        if self.config.data.binarise {
            images = binarised(images, training.seed, Stream::Binarisation, step as u64);
        }
        let noise = rng::normal(
            training.seed,
            Stream::Noise,
            step as u64,
            batch.len() * self.model.latent(),
        );
        let noise = upload(noise, self.model.latent(), &self.device);
        let kl_weight = kl_weight(training, step);
        let result = self
            .model
            .training_step(images, noise, kl_weight, &self.phases)
            .with_context(|| format!("step {step}; the last checkpoint is still good"))?;
        let rate = learning_rate(training, step, self.steps_per_epoch());
        let (model, norm) = self
            .optimizer
            .step(self.model.clone(), &result.gradients, rate, training.clip_norm)
            .with_context(|| format!("step {step}; the last checkpoint is still good"))?;
        self.model = if step.is_multiple_of(LIMIT_EVERY) { model.limited() } else { model };
        self.state.sums.add(batch.len(), norm, &result);
        self.state.step += 1;
        self.state.step_in_epoch += 1;
        Ok(())
    }

    fn end_epoch(&mut self, started: Instant, done_before: usize) -> Result<()> {
        let train_seconds = started.elapsed().as_secs_f64();
        let test = evaluate(&self.model, &self.test, &self.config, &self.phases)?;
        let sums = std::mem::take(&mut self.state.sums);
        let batch = self.config.training.batch_size;
        let trained_here = self.train.len() - (done_before * batch).min(self.train.len());
        self.state.epoch += 1;
        self.state.step_in_epoch = 0;
        self.draw_grids()?;
        let training = &self.config.training;
        let metrics = EpochMetrics {
            epoch: self.state.epoch,
            step: self.state.step,
            train: sums.losses(),
            test,
            phases: sums.phases(),
            loop_gains: self.loop_gains()?,
            gradient_check: self.gradient_check()?,
            gradient_norm: sums.gradient_norm(),
            learning_rate: learning_rate(training, self.state.step - 1, self.steps_per_epoch()),
            images_per_second: trained_here as f64 / train_seconds,
            seconds: started.elapsed().as_secs_f64(),
        };
        let summary = metrics.summary(training.epochs);
        let loss = -metrics.test.elbo;
        if self.state.best.is_none_or(|(best, _)| loss < best) {
            self.state.best = Some((loss, self.state.step));
        }
        self.append_metrics(&metrics)?;
        self.save()?;
        report::line(&summary);
        if let Some(warning) = metrics.warning() {
            report::warning(&warning);
        }
        Ok(())
    }

    fn append_metrics(&self, metrics: &EpochMetrics) -> Result<()> {
        use std::io::Write;
        let path = self.run.path().join(METRICS);
        let line = serde_json::to_string(metrics).context("writing metrics")? + "\n";
        let append = || {
            let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&path)?;
            file.write_all(line.as_bytes())?;
            file.sync_data()
        };
        append().with_context(|| format!("writing {}", path.display()))
    }

    /// Saves a checkpoint of the step just taken, or of a run that has not begun.
    ///
    /// # Errors
    ///
    /// When it cannot be written, or holds a number that is not finite.
    pub fn save(&mut self) -> Result<()> {
        let (first, second, steps) = self.optimizer.state(&self.model);
        self.state.optimizer_steps = steps;
        let checkpoint = Checkpoint {
            model: self.model.clone(),
            moments: [first, second],
            state: self.state.clone(),
        };
        self.run.save(checkpoint, self.config.training.keep_checkpoints)
    }

    fn loop_gains(&self) -> Result<Option<LoopGains>> {
        if self.model.kind() == Kind::FVae {
            return Ok(None);
        }
        let images = self.test.batches(LOOP_GAIN.0).next().context("the test set is empty")?;
        let (encoder, decoder) = self.model.loop_gains(images, &self.phases, LOOP_GAIN.1)?;
        let max = |gain: Tensor<1>| f64::from(gain.max().into_scalar::<f32>());
        Ok(Some(LoopGains { encoder: max(encoder), decoder: max(decoder) }))
    }

    /// The estimated gradient of a batch of test images beside that through the relaxation.
    fn gradient_check(&self) -> Result<Option<GradientCheck>> {
        if self.model.kind() == Kind::FVae {
            return Ok(None);
        }
        let (count, sweeps) = GRADIENT_CHECK;
        let mut images = self.test.batches(count).next().context("the test set is empty")?;
        let TrainingConfig { seed, kl_weight, .. } = self.config.training;
        if self.config.data.binarise {
            images = binarised(images, seed, Stream::EvaluationBinarisation, 0);
        }
        let [rows, _] = images.dims();
        let noise = rng::normal(seed, Stream::Evaluation, 0, rows * self.model.latent());
        let noise = upload(noise, self.model.latent(), &self.device);
        let exact =
            self.model.unrolled_gradient(images.clone(), noise.clone(), kl_weight, sweeps)?;
        let step = self.model.training_step(images, noise, kl_weight, &self.phases)?;
        let comparisons = gradients::compare(&self.model, &step.gradients, &exact)?;
        Ok(Some(gradients::summary(&comparisons)))
    }

    /// The same latents and the same test images every epoch, so that the pictures compare.
    fn draw_grids(&self) -> Result<()> {
        let (count, columns) = GRID;
        let (height, width) = (self.test.set().height(), self.test.set().width());
        let name = format!("epoch-{:04}.png", self.state.epoch);
        let seed = self.config.training.seed;
        let samples = sample(&self.model, count, seed, &self.phases, &self.device)?;
        let grid = picture::grid(&samples, height, width, columns, SCALE)?;
        picture::save_png(&self.run.path().join("samples").join(&name), &grid)?;
        let shown = self.test.batches(count / 2).next().context("the test set is empty")?;
        let outputs = self.model.reconstruct(shown.clone(), None, &self.phases)?.images;
        let (inputs, outputs) = (download(shown)?, download(outputs)?);
        let grid = picture::pairs(&inputs, &outputs, height, width, columns, SCALE)?;
        picture::save_png(&self.run.path().join("reconstructions").join(&name), &grid)
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

/// `count` images decoded from the prior, pixel after pixel, image after image.
///
/// # Errors
///
/// When the device cannot be read.
pub fn sample(
    model: &Vae,
    count: usize,
    seed: u64,
    phases: &Phases,
    device: &Device,
) -> Result<Vec<f32>> {
    let latents = rng::normal(seed, Stream::Prior, 0, count * model.latent());
    let mut progress = Progress::start("sampling", count, 0);
    let mut images = Vec::new();
    images
        .try_reserve_exact(count * model.pixels())
        .with_context(|| format!("{count} samples do not fit into memory"))?;
    for chunk in latents.chunks(EVALUATION_BATCH * model.latent()) {
        let latents = upload(chunk.to_vec(), model.latent(), device);
        images.extend(download(model.decode(latents, phases)?.0.images.clamp(0.0, 1.0))?);
        progress.update(images.len() / model.pixels(), String::new);
    }
    Ok(images)
}

/// Mean losses over `images`: reconstruction at the posterior mean, ELBO at one sample of it.
///
/// # Errors
///
/// When a loss is not finite or the device cannot be read.
pub fn evaluate(
    model: &Vae,
    images: &Images,
    config: &RunConfig,
    phases: &Phases,
) -> Result<Losses> {
    let (mut error, mut log_likelihood, mut divergence) = (0.0, 0.0, 0.0);
    let add = |sum: &mut f64, values: Tensor<1>| -> Result<()> {
        *sum += download(values)?.into_iter().map(f64::from).sum::<f64>();
        Ok(())
    };
    let seed = config.training.seed;
    for (index, mut batch) in images.batches(EVALUATION_BATCH).enumerate() {
        let (index, [rows, _]) = (index as u64, batch.dims());
        if config.data.binarise {
            batch = binarised(batch, seed, Stream::EvaluationBinarisation, index);
        }
        let reconstruction = model.reconstruct(batch.clone(), None, phases)?;
        add(&mut error, reconstruction.error)?;
        add(&mut divergence, reconstruction.posterior.divergence())?;
        let noise = rng::normal(seed, Stream::Evaluation, index, rows * model.latent());
        let noise = upload(noise, model.latent(), &batch.device());
        let latents = reconstruction.posterior.sample(noise);
        let (decoding, _) = model.decode(latents, phases)?;
        add(&mut log_likelihood, model.config.log_likelihood(&decoding, &batch))?;
    }
    let n = images.len() as f64;
    let losses = Losses {
        reconstruction_error: error / n,
        divergence: divergence / n,
        elbo: (log_likelihood - divergence) / n,
    };
    ensure!(
        losses.elbo.is_finite() && losses.reconstruction_error.is_finite(),
        "the test loss is not a finite number; lower training.learning_rate"
    );
    Ok(losses)
}

/// Linear warm-up, then a cosine from `learning_rate` to its final share after `decay_epochs`.
/// It does not depend on the number of epochs, so that a run can be made longer.
fn learning_rate(training: &TrainingConfig, step: usize, steps_per_epoch: usize) -> f64 {
    let total = training.decay_epochs as f64 * steps_per_epoch as f64;
    let warmup = training.warmup_steps as f64;
    let step = step as f64;
    if step < warmup {
        return training.learning_rate * (step + 1.0) / warmup;
    }
    let done = ((step - warmup) / (total - warmup).max(1.0)).min(1.0);
    let cosine = 0.5 * (1.0 + (std::f64::consts::PI * done).cos());
    let last = training.final_learning_rate;
    training.learning_rate * (last + (1.0 - last) * cosine)
}

/// Linear from 0 over the warm-up.
fn kl_weight(training: &TrainingConfig, step: usize) -> f64 {
    let warmup = training.kl_warmup_steps.max(1) as f64;
    training.kl_weight * ((step as f64 + 1.0) / warmup).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_learning_rate_rises_then_falls_to_its_final_share() {
        let training = TrainingConfig { warmup_steps: 10, ..TrainingConfig::default() };
        let at = |step| learning_rate(&training, step, 100) / training.learning_rate;
        assert!((at(0) - 0.1).abs() < 1e-12);
        assert!((at(9) - 1.0).abs() < 1e-12);
        assert!((at(505) - 0.55).abs() < 1e-12, "half way: {}", at(505));
        assert!((at(999) - 0.1).abs() < 1e-4, "end: {}", at(999));
    }

    #[test]
    fn the_kl_weight_warms_up() {
        let training =
            TrainingConfig { kl_warmup_steps: 4, kl_weight: 2.0, ..TrainingConfig::default() };
        let weights: Vec<f64> = (0..5).map(|s| kl_weight(&training, s)).collect();
        for (found, expected) in weights.iter().zip([0.5, 1.0, 1.5, 2.0, 2.0]) {
            assert!((found - expected).abs() < 1e-12, "{weights:?}");
        }
    }
}
