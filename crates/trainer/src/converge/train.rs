//! Training of the networks.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorData};
use hvae_model::chn_ham::{LayeredNetwork, Form, Gradient, Learning, Order};
use hvae_model::{Nudge, NudgeSize, Nudging, ReadPolicy, Unconverged};
use hvae_solver::{Outcome, StoppingRule, Termination};
use rand::seq::SliceRandom;

use crate::converge::paper;
use crate::converge::plan::{Recipe, training_solver};
use crate::converge::weights::{
    Epoch, MEMORY, Training, epoch_path, file_path, folder, load, resume, save_epoch,
};
use crate::optimizer::madam::{MadamRule, MadamSettings};
use crate::optimizer::Optimizer;
use hvae_data::CLASSES;
use hvae_data::images::Images;
use hvae_runtime::rng;
use hvae_runtime::rng::Stream;
use hvae_runtime::terminal;
use hvae_runtime::terminal::Progress;
use hvae_runtime::{files, interrupt};

/// Relative residual at which the free phase of a training step, and the adjoint one of a HAM, end before
/// their limits, to which the paper always runs. Deep networks contract slowly, and their adjoint is small in
/// the layers far from the output: at 1e-3 and 1e-2 those learn from a wrong direction.
const TOLERANCE: f64 = paper::TOLERANCE;
/// Strength and tolerance of the nudged phases of equilibrium propagation; they have the step limit
/// of the free phase.
const NUDGE: (f64, f64) = (0.02, 1e-5);
/// The learning rate of the last epoch, as a part of the first one's.
const LAST_RATE: f64 = 0.1;

/// Weights after the epochs that are needed, ascending; `None` when the user stopped.
pub type Weights = Option<(Vec<(u16, LayeredNetwork)>, Training)>;

/// Trains `recipe`, or reads what was trained before, and hands back the weights after each of the
/// epochs `needed`.
///
/// # Errors
///
/// When weights cannot be read or written, or training leaves the finite numbers.
pub fn train(
    recipe: &Recipe,
    needed: &[u16],
    images: &Images,
    out: &Path,
    fresh: bool,
) -> Result<Weights> {
    let device = images.select(&[0]).device();
    let folder = folder(out, recipe);
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot create {}", folder.display()))?;
    let _lock = files::lock_folder(&folder)?;
    files::remove_stale_scratch(&folder)?;
    let mut rng = rng::generator(recipe.seed, Stream::Weights, 0);
    let mut model = LayeredNetwork::new(&recipe.sizes, recipe.form, &mut rng, &device)?;
    let rule = MadamRule::new(MadamSettings::default())?;
    let mut madam = Optimizer::new(Box::new(rule), Vec::new());
    let mut training = Training::new(recipe);
    let last = needed.last().copied().unwrap_or(0);
    let found = if fresh { None } else { resume(&folder, recipe, needed)? };
    if let Some(found) = found {
        let done = found.epochs.len() as u16;
        if done < last {
            model = load(&epoch_path(&folder, done), model)?;
            let memory = |name| load(&file_path(&folder, name, done), model.clone());
            let steps = usize::from(done) * steps_per_epoch(recipe, images);
            madam.restore(&[memory(MEMORY[0])?, memory(MEMORY[1])?], steps)?;
        }
        terminal::line(&format!("{}: {done} epochs were done before", recipe.name()));
        training = found;
    }
    let learning = learning(recipe)?;
    for epoch in training.epochs.len()..usize::from(last) {
        let Some(done) = one_epoch(&mut model, &mut madam, &training, &learning, images)? else {
            return Ok(None);
        };
        terminal::line(&format!(
            "{}, epoch {}: loss {:.4}, {:.2} % right, {:.1} + {:.1} steps, {:.0} s",
            recipe.name(),
            epoch + 1,
            done.loss,
            done.accuracy,
            done.free_steps,
            done.second_steps,
            done.seconds
        ));
        training.epochs.push(done);
        save_epoch(&folder, &model, &madam, &training, needed)?;
    }
    let weights = needed.iter().map(|&epoch| {
        let fresh = LayeredNetwork::new(&recipe.sizes, recipe.form, &mut rng, &device)?;
        Ok((epoch, load(&epoch_path(&folder, epoch), fresh)?))
    });
    Ok(Some((weights.collect::<Result<_>>()?, training)))
}

/// How a recipe's equilibria are found.
fn learning(recipe: &Recipe) -> Result<Learning> {
    let solver = training_solver(recipe);
    let order =
        if recipe.even_odd { Order::EvenOdd { inner: paper::INNER } } else { Order::Synchronous };
    let (layers, form) = (recipe.layers, recipe.form);
    let steps = paper::adjoint_limit(layers, form, solver);
    Ok(Learning {
        order,
        damping: paper::DAMPING,
        free: StoppingRule::new(TOLERANCE, paper::limit(layers, form, solver))?,
        adjoint: StoppingRule::new(TOLERANCE, steps)?,
        unroll_steps: steps,
    })
}

/// One pass over the training images; `None` when the user stopped.
fn one_epoch(
    model: &mut LayeredNetwork,
    madam: &mut Optimizer,
    training: &Training,
    learning: &Learning,
    images: &Images,
) -> Result<Option<Epoch>> {
    let (recipe, epoch) = (&training.recipe, training.epochs.len());
    let mut order: Vec<usize> = (0..images.len()).collect();
    order.shuffle(&mut rng::generator(recipe.seed, Stream::Order, epoch as u64));
    let rate = recipe.rate * decay(epoch, usize::from(recipe.epochs));
    let started = Instant::now();
    let mut sums = [0.0; 5];
    let steps = steps_per_epoch(recipe, images);
    let title = format!("{} epoch {}/{}", recipe.name(), epoch + 1, recipe.epochs);
    let mut progress = Progress::start(&title, steps, 0);
    let lost = |step: usize| {
        format!(
            "{}, step {step} of epoch {}: lower the learning rate, or train anew with --fresh",
            recipe.name(),
            epoch + 1
        )
    };
    for (step, rows) in order.chunks(recipe.batch).take(steps).enumerate() {
        let pixels = images.select(rows);
        let labels: Vec<u8> = rows.iter().map(|&r| images.set().labels()[r]).collect();
        let gradient = gradient(model, recipe, learning, pixels, &labels)?;
        let (loss, right) = score(&gradient.outputs, &labels)?;
        ensure!(loss.is_finite(), "{}: the loss is no longer a finite number", lost(step));
        let converged = |o: &&Outcome| o.termination == Termination::Converged;
        let converged = gradient.free.iter().filter(converged).count();
        let total = |o: &[Outcome]| o.iter().map(|o| o.steps).sum::<usize>() as f64;
        let phases = gradient.second.len() as f64 / rows.len() as f64;
        // A gradient that goes back through iterations takes all of them.
        let second = if gradient.second.is_empty() {
            (learning.unroll_steps * rows.len()) as f64
        } else {
            total(&gradient.second) / phases
        };
        let values = [loss, right as f64, total(&gradient.free), second, converged as f64];
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum += value;
        }
        let gradients = register(model, gradient);
        *model = madam
            .step(model.clone(), &gradients, rate, None, ReadPolicy::EveryStep)
            .with_context(|| lost(step))?
            .0;
        if interrupt::requested() {
            return Ok(None);
        }
        let seen = ((step + 1) * recipe.batch) as f64;
        progress.update(step + 1, || {
            format!("loss {:.4}, {:.1} % right", sums[0] / seen, 100.0 * sums[1] / seen)
        });
    }
    let seen = (steps * recipe.batch.min(order.len())) as f64;
    let [loss, right, free, second, converged] = sums.map(|s| s / seen);
    Ok(Some(Epoch {
        loss,
        accuracy: 100.0 * right,
        free_steps: free,
        second_steps: second,
        converged: 100.0 * converged,
        seconds: started.elapsed().as_secs_f64(),
    }))
}

/// Whole batches alone; one smaller batch where there is no whole one.
fn steps_per_epoch(recipe: &Recipe, images: &Images) -> usize {
    (images.len() / recipe.batch).max(1)
}

/// Falls linearly from 1 in the first epoch to [`LAST_RATE`] in the last.
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
    let mut targets = vec![0.0; labels.len() * usize::from(CLASSES)];
    for (row, &label) in labels.iter().enumerate() {
        targets[row * usize::from(CLASSES) + usize::from(label)] = 1.0_f32;
    }
    let shape = [labels.len(), usize::from(CLASSES)];
    let targets = Tensor::from_data(TensorData::new(targets, shape), &pixels.device());
    if !recipe.equilibrium_propagation {
        return Ok(model.backpropagate(pixels, targets, learning)?);
    }
    let (strength, tolerance) = NUDGE;
    let free = StoppingRule::new(tolerance, learning.free.max_steps())?;
    let nudge = Nudge {
        size: NudgeSize::new(strength),
        nudging: Nudging::Centred,
        damping: if recipe.form == Form::Chn { learning.damping } else { 0.0 },
        rule: free,
        unconverged: Unconverged::Use,
    };
    Ok(model.propagate(pixels, targets, &free, &nudge)?)
}

/// Sum of the losses, and how many samples are classified right.
fn score(outputs: &Tensor<2>, labels: &[u8]) -> Result<(f64, usize)> {
    let values = hvae_device::host::download(outputs.clone())?;
    let (mut loss, mut right) = (0.0, 0);
    for (values, &label) in values.chunks_exact(usize::from(CLASSES)).zip(labels) {
        right += usize::from(super::count::largest(values) == usize::from(label));
        for (class, &value) in values.iter().enumerate() {
            let target = f64::from(u8::from(class == usize::from(label)));
            loss += 0.5 * (f64::from(value) - target).powi(2);
        }
    }
    Ok((loss, right))
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
    use super::*;
    use crate::converge::weights;
    use crate::converge::weights::{TRAINING, version};
    use burn::tensor::Device;
    use hvae_data::config::DataConfig;
    use hvae_data::dataset::Dataset;
    use hvae_data::{Split, Verbosity};

    #[test]
    fn the_rate_falls_linearly_to_a_tenth() {
        let rates: Vec<f64> = (0..10).map(|e| decay(e, 10)).collect();
        assert!((rates[0] - 1.0).abs() < 1e-12 && (rates[9] - 0.1).abs() < 1e-12);
        assert!((rates[3] - 0.7).abs() < 1e-12 && (decay(0, 1) - 1.0).abs() < 1e-12);
    }

    /// Stopping after an epoch and going on ends with the same bits as training straight through.
    #[test]
    fn a_training_that_goes_on_ends_where_an_uninterrupted_one_does() {
        let data = DataConfig {
            dataset: Dataset::Synthetic,
            train_images: Some(200),
            ..DataConfig::default()
        };
        let device = Device::flex();
        let images = Images::load(&data, Split::Train, None, Verbosity::Quiet, &device).unwrap();
        for form in [Form::Ham, Form::Chn] {
            let recipe = Recipe {
                layers: 3,
                sizes: vec![images.set().pixels(), 12, 10],
                form,
                even_odd: form == Form::Ham,
                equilibrium_propagation: false,
                rate: 0.01,
                epochs: 3,
                batch: 64,
                seed: 5,
                dataset: data.dataset.clone(),
                train_images: data.train_images,
            };
            let [stopped, straight] = [(); 2].map(|()| tempfile::tempdir().unwrap());
            let run = |folder: &Path, needed: &[u16]| {
                let weights = train(&recipe, needed, &images, folder, false).unwrap();
                let (weights, training) = weights.unwrap();
                assert_eq!(training.epochs.len(), 3.min(usize::from(*needed.last().unwrap())));
                let network = &weights.last().unwrap().1;
                let weights = network.weights.iter().map(|w| w.val().into_data());
                weights.chain(network.biases.iter().map(|b| b.val().into_data())).collect()
            };
            let one: Vec<TensorData> = run(stopped.path(), &[1]);
            let three = run(stopped.path(), &[1, 3]);
            // All of them, biases too: what begins at 0 stays there under Madam.
            let moved = one.iter().zip(&three).all(|(one, three)| one != three);
            assert!(moved, "something has not learnt");
            assert!(three == run(straight.path(), &[1, 3]), "{form:?}");
            // What an older version trained in another way is not taken up.
            let folder = straight.path().join("weights").join(recipe.folder());
            assert!(resume(&folder, &recipe, &[1, 3]).unwrap().is_some());
            let (path, now) = (folder.join(TRAINING), format!("\"format\": {}", version(form)));
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(text.contains(&now), "{text}");
            std::fs::write(&path, text.replace(&now, "\"format\": 1")).unwrap();
            assert!(resume(&folder, &recipe, &[1, 3]).unwrap().is_none());
            // Nothing is trained over what cannot be taken up.
            let error = |text: &str, recipe: &Recipe| {
                std::fs::write(&path, text).unwrap();
                format!(
                    "{:#}",
                    train(recipe, &[1, 3], &images, straight.path(), false).unwrap_err()
                )
            };
            let other = text.replace("\"rate\": 0.01", "\"rate\": 0.02");
            assert!(other != text, "{text}");
            for (text, part) in [
                (&text[..text.len() / 2], "training.json is damaged"),
                (text.replace(&now, "\"format\": 99").as_str(), "of format 99"),
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
            // Where older versions put the weights of all settings, those of these are found.
            let older = folder.with_file_name(recipe.name());
            std::fs::rename(&folder, &older).unwrap();
            assert_eq!(weights::path(straight.path(), &recipe, 3), epoch_path(&older, 3));
            let longer = Recipe { epochs: 4, ..recipe };
            assert!(!weights::path(straight.path(), &longer, 3).starts_with(&older));
        }
    }
}
