//! Training: Adam on the cross-entropy, with images shifted at random by a few pixels.

use anyhow::{Result, ensure};
use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Int, Tensor, TensorData};
use hvae_data::ImageSet;
use hvae_device::download;
use hvae_runtime::{interrupt, rng, rng::Stream, terminal::Progress};
use rand::{RngExt, seq::SliceRandom};

use crate::classifier::network::{BATCH, CLASSES, Classifier, SIDE, check_shape, images};

/// Steps over which the learning rate rises linearly from 0.
const WARMUP: f64 = 100.0;
/// Pixels by which a training image may be shifted along each axis.
const SHIFT: i32 = 2;

/// Hyperparameters of the training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// Passes over the training images.
    pub epochs: usize,
    /// Images per step.
    pub batch_size: usize,
    /// Adam's peak learning rate, with linear warm-up and cosine decay to 0.
    pub learning_rate: f64,
    /// Seed of initial weights, order and shifts.
    pub seed: u64,
}

/// Trains a classifier; `None` if the user interrupted it. After each epoch `report` gets its
/// number, its mean loss and the accuracy on `test`. A loss that is not finite is an error.
pub fn train(
    train: &ImageSet,
    test: &ImageSet,
    schedule: Schedule,
    device: &Device,
    mut report: impl FnMut(usize, f64, f64),
) -> Result<Option<Classifier>> {
    for set in [train, test] {
        ensure!(!set.is_empty(), "the training or test set is empty");
        check_shape(set.shape())?;
    }
    let learning = device.clone().autodiff();
    let mut weights = rng::generator(schedule.seed, Stream::Weights, 0);
    let mut network = Classifier::new(&mut weights, &learning);
    let mut optimizer = AdamConfig::new().with_epsilon(1e-8).init();
    let loss = CrossEntropyLossConfig::new().init(&learning);
    let steps = train.len().div_ceil(schedule.batch_size);
    let total = (steps * schedule.epochs) as f64;
    let mut step = 0_u64;
    for epoch in 0..schedule.epochs {
        let mut order: Vec<usize> = (0..train.len()).collect();
        order.shuffle(&mut rng::generator(schedule.seed, Stream::Order, epoch as u64));
        let mut progress =
            Progress::start(&format!("epoch {}/{}", epoch + 1, schedule.epochs), steps, 0);
        let mut sum = 0.0;
        for (done, rows) in order.chunks(schedule.batch_size).enumerate() {
            if interrupt::requested() {
                return Ok(None);
            }
            let mut shifts = rng::generator(schedule.seed, Stream::Augmentation, step);
            let mut draw = || shifts.random_range(-SHIFT..=SHIFT);
            let pixels = rows.iter().flat_map(|&row| shifted(train.image(row), draw(), draw()));
            let images = images(pixels, &learning);
            let labels = rows.iter().map(|&row| i64::from(train.labels()[row])).collect();
            let labels: Tensor<1, Int> =
                Tensor::from_data(TensorData::new::<i64, _>(labels, [rows.len()]), &learning);
            let cost = loss.forward(network.logits(images), labels);
            let value = f64::from(cost.clone().into_scalar::<f32>());
            ensure!(value.is_finite(), "the loss is not finite; lower --learning-rate");
            sum += value * rows.len() as f64;
            let gradients = GradientsParams::from_grads(cost.backward(), &network);
            let cosine = 0.5 * (1.0 + (std::f64::consts::PI * (step as f64 / total)).cos());
            let rate = schedule.learning_rate * cosine * ((step + 1) as f64 / WARMUP).min(1.0);
            network = optimizer.step(rate, network, gradients);
            step += 1;
            let mean = sum / (done * schedule.batch_size + rows.len()) as f64;
            progress.update(done + 1, || format!("loss {mean:.4}"));
        }
        drop(progress);
        let accuracy = accuracy(&network.clone().valid(), test, device)?;
        report(epoch + 1, sum / train.len() as f64, accuracy);
    }
    Ok(Some(network.valid()))
}

/// The share of images of `set` that the network classifies correctly.
pub fn accuracy(network: &Classifier, set: &ImageSet, device: &Device) -> Result<f64> {
    let mut correct = 0;
    let batches = set.bytes().chunks(BATCH * set.pixels());
    for (bytes, labels) in batches.zip(set.labels().chunks(BATCH)) {
        let pixels = bytes.iter().map(|&byte| f32::from(byte) / 255.0);
        let logits = download(network.logits(images(pixels, device)))?;
        for (row, &label) in logits.chunks(CLASSES).zip(labels) {
            let best = (0..CLASSES).max_by(|&a, &b| row[a].total_cmp(&row[b]));
            correct += usize::from(best == Some(usize::from(label)));
        }
    }
    Ok(correct as f64 / set.len() as f64)
}

/// The image shifted down and to the right, filled up with black, in `[0, 1]`.
fn shifted(image: &[u8], down: i32, right: i32) -> impl Iterator<Item = f32> + '_ {
    let side = SIDE as i32;
    (0..side * side).map(move |at| {
        let (row, column) = (at / side - down, at % side - right);
        let inside = (0..side).contains(&row) && (0..side).contains(&column);
        #[allow(clippy::cast_sign_loss, reason = "inside the image")]
        let byte = if inside { image[(row * side + column) as usize] } else { 0 };
        f32::from(byte) / 255.0
    })
}

#[cfg(test)]
mod tests {
    use hvae_data::{Split, synthetic};

    use super::*;

    #[test]
    fn training_learns_the_synthetic_classes_and_is_deterministic() {
        let train_set = synthetic::synthetic(600, 1, Split::Train);
        let test_set = synthetic::synthetic(200, 1, Split::Test);
        let schedule = Schedule { epochs: 4, batch_size: 50, learning_rate: 3e-3, seed: 2 };
        let run = || {
            let mut last = 0.0;
            let trained =
                train(&train_set, &test_set, schedule, &Device::flex(), |_, _, accuracy| {
                    last = accuracy;
                });
            (trained.unwrap().unwrap().to_bytes().unwrap(), last)
        };
        let (first, accuracy) = run();
        assert!(accuracy > 0.8, "{accuracy}");
        assert!(first == run().0, "two trainings differ");
    }

    #[test]
    fn shifts_move_the_ink() {
        let mut image = vec![0; SIDE * SIDE];
        image[3 * SIDE + 4] = 255;
        let moved: Vec<f32> = shifted(&image, 2, -1).collect();
        let ink: Vec<usize> = (0..moved.len()).filter(|&at| moved[at] > 0.0).collect();
        assert_eq!(ink, [5 * SIDE + 3]);
    }
}
