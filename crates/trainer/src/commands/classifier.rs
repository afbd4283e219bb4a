use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, Subcommand};
use hvae_data::{ImageSet, ImageShape, Split, config::DataConfig, dataset::Dataset};
use hvae_runtime::{files, interrupt, terminal};
use hvae_scores::classifier::{self, CLASSES, Schedule};
use serde_json::json;

use crate::cli::scoring::BATCHES;
use crate::cli::values::{POSITIVE, count, file, number};
use crate::commands::context::{Context, Ended, Run};
use crate::commands::output::{JsonArgs, require};
use crate::evaluation::source::Source;

/// Train or test a feature classifier, a CNN whose features score images
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae classifier train --out mnist.safetensors
  hvae classifier test mnist.safetensors")]
pub struct Classifier {
    /// What to do
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Train a classifier for `--features`
    #[command(after_help = "Examples:
  hvae classifier train --out mnist.safetensors
  hvae classifier train --images train.npz --test-images test.npz --out mine.safetensors
  hvae fid RUN test.npz --features mine.safetensors

Own images need labels: a .npz with `images` and `labels`, or a folder with subfolders 0 to 9.")]
    Train(TrainArgs),
    /// Measure the accuracy of a classifier
    #[command(after_help = "Examples:
  hvae classifier test
  hvae classifier test mine.safetensors --test-images test.npz")]
    Test(TestArgs),
}

#[derive(Debug, Args)]
struct TrainArgs {
    /// Output: a .safetensors file with the weights
    #[arg(long, value_name = "FILE", value_parser = file(&["safetensors"]))]
    out: PathBuf,
    /// Images to train and test on: mnist, fashion-mnist, synthetic, or a folder or file with
    /// labels
    #[arg(long, value_name = "SET", default_value = "mnist")]
    dataset: Dataset,
    /// Labelled training images, instead of those of --dataset
    #[arg(long, value_name = "PATH", requires = "test_images")]
    images: Option<PathBuf>,
    /// Labelled test images, instead of those of --dataset
    #[arg(long, value_name = "PATH", requires = "images")]
    test_images: Option<PathBuf>,
    /// Passes over the training images
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = count(1..=1000))]
    epochs: usize,
    /// Images per step
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = count(BATCHES))]
    batch_size: usize,
    /// Peak learning rate of Adam
    #[arg(long, allow_negative_numbers = true, value_name = "RATE", default_value_t = 2e-3, value_parser = number(POSITIVE))]
    learning_rate: f64,
    /// Seed of initial weights, order and shifts
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    json: JsonArgs,
}

#[derive(Debug, Args)]
struct TestArgs {
    /// Weights of the classifier [default: the built-in one]
    path: Option<PathBuf>,
    /// Labelled test images, instead of those of --dataset
    #[arg(long, value_name = "PATH")]
    test_images: Option<PathBuf>,
    /// Images to test on: mnist, fashion-mnist, synthetic, or a folder or file with labels
    #[arg(long, value_name = "SET", default_value = "mnist")]
    dataset: Dataset,
    #[command(flatten)]
    json: JsonArgs,
}

impl Run for Classifier {
    fn run(self, cx: &Context) -> Result<Ended> {
        match self.action {
            Action::Train(train) => train.run(cx),
            Action::Test(test) => test.run(cx),
        }
    }
}

impl Run for TestArgs {
    fn run(self, cx: &Context) -> Result<Ended> {
        self.json.require()?;
        let set = load(self.test_images.as_deref(), &self.dataset, Split::Test, cx)?;
        let (network, hash) = match &self.path {
            Some(path) => classifier::load(path, cx.device()?)?,
            None => classifier::shipped(cx.device()?)?,
        };
        let accuracy = classifier::accuracy(&network, &set, cx.device()?)?;
        terminal::line(&format!("{} images, weights sha256 {hash}", set.len()));
        terminal::result(&format!("accuracy {accuracy:.4}"));
        self.json.write(&json!({ "accuracy": accuracy, "images": set.len(), "sha256": hash }))?;
        Ok(Ended::Done)
    }
}

impl Run for TrainArgs {
    fn run(self, cx: &Context) -> Result<Ended> {
        require(&self.out)?;
        self.json.require()?;
        let shown = self.out.display().to_string();
        let training = load(self.images.as_deref(), &self.dataset, Split::Train, cx)?;
        let test = load(self.test_images.as_deref(), &self.dataset, Split::Test, cx)?;
        interrupt::ask_first()?;
        let Self { epochs, batch_size, learning_rate, seed, .. } = self;
        let schedule = Schedule { epochs, batch_size, learning_rate, seed };
        let device = cx.device()?;
        let mut last = 0.0;
        let print = |epoch: usize, loss: f64, accuracy: f64| {
            last = accuracy;
            terminal::line(&format!(
                "epoch {epoch:>2}/{epochs}  loss {loss:.4}  test accuracy {accuracy:.4}"
            ));
        };
        let trained = classifier::train(&training, &test, schedule, device, print)?;
        let Some(network) = trained else {
            terminal::line("interrupted; nothing was written");
            return Ok(Ended::Interrupted);
        };
        let bytes = network.to_bytes()?;
        files::write(&self.out, &bytes)?;
        // The accuracy of the stored weights, which are rounded to half precision.
        let (stored, hash) = classifier::load(&self.out, device)?;
        let accuracy = classifier::accuracy(&stored, &test, device)?;
        terminal::line(&format!(
            "test accuracy {accuracy:.4} ({last:.4} before rounding), {} bytes, sha256 {hash}; use \
             it with --features {shown}",
            bytes.len()
        ));
        terminal::result(&shown);
        self.json.write(&json!({ "accuracy": accuracy, "file": shown, "sha256": hash }))?;
        Ok(Ended::Done)
    }
}

/// Labelled images: those at `path`, or else those of `dataset`.
fn load(path: Option<&Path>, dataset: &Dataset, split: Split, cx: &Context) -> Result<ImageSet> {
    let Some(path) = path else {
        let data = DataConfig { dataset: dataset.clone(), ..DataConfig::default() };
        let images = cx.images(&data, split)?;
        images.set().require_classes(CLASSES, dataset)?;
        return Ok(images.set().clone());
    };
    let shape = Some(ImageShape::MNIST);
    let set = Source::find(path)?.images(split, shape, cx.global.data_dir.as_deref())?;
    set.require_classes(CLASSES, path.display())?;
    Ok(set)
}
