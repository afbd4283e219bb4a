//! Training of the networks.

use std::{path::Path, time::Instant};

use anyhow::{Context, Result, ensure};
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData};
use hvae_data::images::Images;
use hvae_device::download;
use hvae_model::chn_ham::{Form, Gradient, LayeredNetwork, Learning};
use hvae_model::{Nudge, NudgeSize, Nudging, ReadPolicy, Unconverged};
use hvae_runtime::rng::{self, Stream};
use hvae_runtime::terminal::{self, Progress};
use hvae_runtime::{files, interrupt};
use hvae_solver::{Outcome, StoppingRule, Termination};
use rand::seq::SliceRandom;

use crate::converge::measure::largest;
use crate::converge::paper;
use crate::converge::plan::{CLASSES, Learner, Recipe};
use crate::converge::weights::{
    EpochStats, OPTIMIZER_STATE, Training, epoch_path, file_path, folder, load, resume, save_epoch,
};
use crate::optimizer::Optimizer;
use crate::optimizer::madam::MadamRule;

/// Relative residual at which free and adjoint phases end before their limits, which the paper
/// always uses up. The adjoint of deep networks is small in layers far from the output: at 1e-3 and
/// 1e-2 those learn from a wrong direction.
const TOLERANCE: f64 = paper::TOLERANCE;
/// Size of the nudge in equilibrium propagation.
const NUDGE: f64 = 0.02;
/// Relative residual at which its phases end. Their limit is that of the free phase.
const NUDGED_TOLERANCE: f64 = 1e-5;
/// The learning rate of the last epoch, relative to the first.
const LAST_RATE: f64 = 0.1;

#[derive(Debug)]
pub(crate) struct Trained {
    /// Weights after the epochs that are needed, ascending.
    pub(crate) snapshots: Vec<(u16, LayeredNetwork)>,
    pub(crate) training: Training,
}

/// Trains `recipe`, continuing from the files in `out` unless `fresh`, and returns the weights
/// after each of the epochs `needed`; `None` if interrupted.
pub(crate) fn train(
    recipe: &Recipe,
    needed: &[u16],
    images: &Images,
    out: &Path,
    fresh: bool,
) -> Result<Option<Trained>> {
    let device = images.select(&[0]).device();
    let folder = folder(out, recipe);
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot create {}", folder.display()))?;
    let _lock = files::lock_folder(&folder)?;
    files::remove_stale_scratch(&folder)?;
    let mut rng = rng::generator(recipe.seed, Stream::Weights, 0);
    let mut model = LayeredNetwork::new(&recipe.sizes, recipe.form, &mut rng, &device)?;
    let rule = MadamRule::default();
    let mut madam = Optimizer::new(Box::new(rule), Vec::new());
    let mut training = Training::new(recipe);
    let last = needed.last().copied().unwrap_or(0);
    let found = if fresh { None } else { resume(&folder, recipe, needed)? };
    if let Some(found) = found {
        let done = found.epochs.len() as u16;
        if done < last {
            model = load(&epoch_path(&folder, done), model)?;
            let state = |name| load(&file_path(&folder, name, done), model.clone());
            let steps = usize::from(done) * steps_per_epoch(recipe, images);
            madam.restore(&[state(OPTIMIZER_STATE[0])?, state(OPTIMIZER_STATE[1])?], steps)?;
        }
        terminal::line(&format!("{}: {done} epochs already trained", recipe.name()));
        training = found;
    }
    let learning = learning(recipe)?;
    for epoch in training.epochs.len()..usize::from(last) {
        let Some(done) = one_epoch(&mut model, &mut madam, &training, &learning, images)? else {
            return Ok(None);
        };
        terminal::line(&format!(
            "{}, epoch {}: loss {:.4}, accuracy {:.2} %, {:.1} + {:.1} iterations, {:.0} s",
            recipe.name(),
            epoch + 1,
            done.loss,
            done.accuracy,
            done.free_iterations,
            done.second_iterations,
            done.seconds
        ));
        training.epochs.push(done);
        save_epoch(&folder, &model, &madam, &training, needed)?;
    }
    let snapshots = needed.iter().map(|&epoch| {
        let blank = LayeredNetwork::new(&recipe.sizes, recipe.form, &mut rng, &device)?;
        Ok((epoch, load(&epoch_path(&folder, epoch), blank)?))
    });
    Ok(Some(Trained { snapshots: snapshots.collect::<Result<_>>()?, training }))
}

fn learning(recipe: &Recipe) -> Result<Learning> {
    let (layers, form, solver) = (recipe.layers, recipe.form, recipe.solver());
    let adjoint_limit = paper::adjoint_limit(layers, form, solver);
    Ok(Learning {
        order: solver.order(),
        damping: paper::DAMPING,
        free: StoppingRule::new(TOLERANCE, paper::limit(layers, form, solver))?,
        adjoint: StoppingRule::new(TOLERANCE, adjoint_limit)?,
        unroll_iterations: adjoint_limit,
    })
}

/// Sums over the samples of an epoch.
#[derive(Default)]
struct Sums {
    samples: usize,
    loss: f64,
    correct: usize,
    free_iterations: f64,
    second_iterations: f64,
    converged: usize,
}

impl Sums {
    /// Adds a batch with its `labels`; `unrolled` is the number of unrolled iterations.
    fn add(&mut self, gradient: &Gradient, labels: &[u8], unrolled: usize) -> Result<f64> {
        let (loss, correct) = score(&gradient.outputs, labels)?;
        let iterations = |o: &[Outcome]| o.iter().map(|o| o.iterations).sum::<usize>() as f64;
        self.samples += labels.len();
        self.loss += loss;
        self.correct += correct;
        self.free_iterations += iterations(&gradient.free);
        self.second_iterations += if gradient.second.is_empty() {
            (unrolled * labels.len()) as f64
        } else {
            let phases = gradient.second.len() as f64 / labels.len() as f64;
            iterations(&gradient.second) / phases
        };
        let converged = |o: &&Outcome| o.termination == Termination::Converged;
        self.converged += gradient.free.iter().filter(converged).count();
        Ok(loss)
    }

    fn means(&self, seconds: f64) -> EpochStats {
        let samples = self.samples as f64;
        EpochStats {
            loss: self.loss / samples,
            accuracy: 100.0 * self.correct as f64 / samples,
            free_iterations: self.free_iterations / samples,
            second_iterations: self.second_iterations / samples,
            converged: 100.0 * self.converged as f64 / samples,
            seconds,
        }
    }
}

/// One pass over the training images; `None` if interrupted.
fn one_epoch(
    model: &mut LayeredNetwork,
    madam: &mut Optimizer,
    training: &Training,
    learning: &Learning,
    images: &Images,
) -> Result<Option<EpochStats>> {
    let (recipe, epoch) = (&training.recipe, training.epochs.len());
    let mut order: Vec<usize> = (0..images.len()).collect();
    order.shuffle(&mut rng::generator(recipe.seed, Stream::Order, epoch as u64));
    let rate = recipe.rate * decay(epoch, usize::from(recipe.epochs));
    let started = Instant::now();
    let mut sums = Sums::default();
    let steps = steps_per_epoch(recipe, images);
    let title = format!("{} epoch {}/{}", recipe.name(), epoch + 1, recipe.epochs);
    let mut progress = Progress::start(&title, steps, 0);
    for (step, rows) in order.chunks(recipe.batch).take(steps).enumerate() {
        let diverged =
            || format!("{title}, step {step}: training diverged; lower the learning rate");
        let labels: Vec<u8> = rows.iter().map(|&r| images.set().labels()[r]).collect();
        let gradient = gradient(model, recipe, learning, images.select(rows), &labels)?;
        let loss = sums.add(&gradient, &labels, learning.unroll_iterations)?;
        ensure!(loss.is_finite(), "{}: the loss is not finite", diverged());
        let gradients = register(model, gradient);
        let mut updated = Some(model.clone());
        let reads = ReadPolicy::EveryStep;
        madam.step(&mut updated, &gradients, rate, None, reads).with_context(diverged)?;
        *model = updated.expect("a step leaves a model");
        if interrupt::requested() {
            return Ok(None);
        }
        let so_far = sums.means(0.0);
        progress.update(step + 1, || {
            format!("loss {:.4}, accuracy {:.1} %", so_far.loss, so_far.accuracy)
        });
    }
    Ok(Some(sums.means(started.elapsed().as_secs_f64())))
}

/// Steps per epoch: the number of whole batches, at least one.
fn steps_per_epoch(recipe: &Recipe, images: &Images) -> usize {
    (images.len() / recipe.batch).max(1)
}

/// Learning-rate factor: decays linearly from 1 in the first epoch to [`LAST_RATE`] in the last.
fn decay(epoch: usize, epochs: usize) -> f64 {
    1.0 - (1.0 - LAST_RATE) * epoch as f64 / (epochs.max(2) - 1) as f64
}

fn gradient(
    model: &LayeredNetwork,
    recipe: &Recipe,
    learning: &Learning,
    pixels: Tensor<2>,
    labels: &[u8],
) -> Result<Gradient> {
    let mut targets = vec![0.0; labels.len() * CLASSES];
    for (row, &label) in labels.iter().enumerate() {
        targets[row * CLASSES + usize::from(label)] = 1.0_f32;
    }
    let shape = [labels.len(), CLASSES];
    let targets = Tensor::from_data(TensorData::new(targets, shape), &pixels.device());
    if recipe.learner == Learner::Rbp {
        return Ok(model.backpropagate(pixels, targets, learning)?);
    }
    let free = StoppingRule::new(NUDGED_TOLERANCE, learning.free.max_iterations())?;
    let nudge = Nudge {
        size: NudgeSize::new(NUDGE),
        nudging: Nudging::Centred,
        damping: if recipe.form == Form::Chn { learning.damping } else { 0.0 },
        rule: free,
        unconverged: Unconverged::Use,
    };
    Ok(model.propagate(pixels, targets, &free, &nudge)?)
}

/// Sum of the losses, and number of samples classified correctly.
fn score(outputs: &Tensor<2>, labels: &[u8]) -> Result<(f64, usize)> {
    let values = download(outputs.clone())?;
    let (mut loss, mut correct) = (0.0, 0);
    for (values, &label) in values.chunks_exact(CLASSES).zip(labels) {
        correct += usize::from(largest(values) == usize::from(label));
        for (class, &value) in values.iter().enumerate() {
            let target = f64::from(u8::from(class == usize::from(label)));
            loss += 0.5 * (f64::from(value) - target).powi(2);
        }
    }
    Ok((loss, correct))
}

fn register(model: &LayeredNetwork, gradient: Gradient) -> GradientsParams {
    let mut gradients = GradientsParams::new();
    for (weight, gradient) in model.weights.iter().zip(gradient.weights) {
        gradients.register::<2>(weight.id, gradient);
    }
    for (bias, gradient) in model.biases.iter().zip(gradient.biases) {
        gradients.register::<1>(bias.id, gradient);
    }
    gradients
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use burn::tensor::Device;
    use hvae_data::Split;

    use super::*;
    use crate::converge::plan::tests::plan;
    use crate::converge::weights::{FORMAT, TRAINING};

    #[test]
    fn the_learning_rate_decays_linearly_to_a_tenth() {
        let rates: Vec<f64> = (0..10).map(|e| decay(e, 10)).collect();
        assert!((rates[0] - 1.0).abs() < 1e-12 && (rates[9] - 0.1).abs() < 1e-12);
        assert!((rates[3] - 0.7).abs() < 1e-12 && (decay(0, 1) - 1.0).abs() < 1e-12);
    }

    /// Interrupting and resuming gives the same bits as uninterrupted training.
    #[test]
    fn a_resumed_training_ends_with_the_same_bits() {
        let plan = plan("--dataset synthetic --train-images 200 --hidden 12 --epochs 3");
        let images = Images::load(&plan.data, Split::Train, None, &Device::flex()).unwrap();
        let recipes =
            plan.trainings(5, images.set().pixels()).into_iter().map(|(recipe, _)| recipe);
        for recipe in recipes.filter(|recipe| recipe.even_odd == (recipe.form == Form::Ham)) {
            let [interrupted, straight] = [(); 2].map(|()| tempfile::tempdir().unwrap());
            let run = |folder: &Path, needed: &[u16]| {
                let trained = train(&recipe, needed, &images, folder, false).unwrap().unwrap();
                let epochs = usize::from(*needed.last().unwrap());
                assert_eq!(trained.training.epochs.len(), epochs);
                let network = &trained.snapshots.last().unwrap().1;
                let weights = network.weights.iter().map(|w| w.val().into_data());
                weights.chain(network.biases.iter().map(|b| b.val().into_data())).collect()
            };
            let one: Vec<TensorData> = run(interrupted.path(), &[1]);
            let three = run(interrupted.path(), &[1, 3]);
            // All parameters, including biases: Madam would not move those that start at 0.
            let moved = one.iter().zip(&three).all(|(one, three)| one != three);
            assert!(moved, "a parameter has not moved");
            assert!(three == run(straight.path(), &[1, 3]), "{:?}", recipe.form);
            let folder = straight.path().join("weights").join(recipe.folder());
            assert!(resume(&folder, &recipe, &[1, 3]).unwrap().is_some());
            let (path, now) = (folder.join(TRAINING), format!("\"format\": {FORMAT}"));
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.contains(&now), "{text}");
            // Files that cannot be resumed are not overwritten.
            let error = |text: &str, recipe: &Recipe| {
                std::fs::write(&path, text).unwrap();
                let found = train(recipe, &[1, 3], &images, straight.path(), false);
                format!("{:#}", found.unwrap_err())
            };
            let other = text.replace("\"rate\": 0.01", "\"rate\": 0.02");
            assert!(other != text, "{text}");
            for (text, part) in [
                (&text[..text.len() / 2], "training.json is corrupt"),
                (text.replace(&now, "\"format\": 99").as_str(), "has format 99"),
                (other.as_str(), "with rate = 0.02, not 0.01"),
            ] {
                let message = error(text, &recipe);
                assert!(message.contains(part) && message.contains("--fresh"), "{message}");
                assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
            }
            std::fs::remove_file(epoch_path(&folder, 1)).unwrap();
            assert!(error(&text, &recipe).contains("epoch-01.safetensors is missing"));
            let lock = files::lock_folder(&folder).unwrap();
            assert!(error(&text, &recipe).contains("another process"));
            drop(lock);
        }
    }
}
