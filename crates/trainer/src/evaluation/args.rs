//! Arguments of the commands that score.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::values::{POSITIVE, file, number, url};
use crate::latents::sampler::LatentSource;
use crate::run::Which;
use hvae_data::dataset::Dataset;
use hvae_scores::FeatureChoice;

/// Images per batch of a network; enough that it counts, few enough for any memory.
const BATCHES: std::ops::RangeInclusive<i64> = 1..=4096;

/// Which features, and how.
#[derive(Debug, Args)]
pub struct FeatureArgs {
    /// Features to compare in: mnist-classifier (comes with the program), inception (2048 features,
    /// the usual FID), inception-64, inception-192, inception-768, or a .safetensors file made by
    /// `hvae classifier train`
    #[arg(long, value_name = "NAME|FILE", default_value = "mnist-classifier")]
    pub features: FeatureChoice,
    /// A copy of pt_inception-2015-12-05-6726825d.pth [default: where `hvae weights fetch` puts it]
    #[arg(long, value_name = "PATH")]
    pub inception_weights: Option<PathBuf>,
    /// Images per batch of the feature network [default: what suits it]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(BATCHES))]
    pub batch: Option<u32>,
}

/// Arguments of `hvae fid`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae fid checkpoints/h-vae-001 mnist-test
  hvae fid checkpoints/h-vae-001 mnist-train --features inception --save-stats run.npz
  hvae fid samples/ test.npz --more
  hvae fid mnist-train mnist-test --features inception --inception-weights FILE

A and B are each: a run's folder (samples are drawn from it), a folder of pictures, a .npz, .npy or
IDX file of images, a .npz of statistics as pytorch-fid writes it (mu, sigma), mnist-train or
mnist-test. Only --features inception gives numbers that compare with published FIDs.")]
pub struct FidArgs {
    /// What to score
    pub a: PathBuf,
    /// What to compare it with
    pub b: PathBuf,
    /// Which features
    #[command(flatten)]
    pub features: FeatureArgs,
    /// Images of each side, from the first [default: all of a set, 10000 samples of a run]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=10_000_000))]
    pub count: Option<u32>,
    /// Seed of the samples of a run
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Where the latents of a run's samples come from
    #[arg(long, value_enum, default_value_t = LatentSource::Prior)]
    pub from: LatentSource,
    /// Which checkpoint of a run
    #[arg(long, value_enum, default_value_t = Which::Latest)]
    pub checkpoint: Which,
    /// Also KID, precision, recall, density and coverage (B is what is real; both need images)
    #[arg(long)]
    pub more: bool,
    /// Save the statistics of A as .npz with `mu` and `sigma`, for later comparisons
    #[arg(long, value_name = "FILE", value_parser = file(&["npz"]))]
    pub save_stats: Option<PathBuf>,
    /// Write all scores as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// Samples for each distance unless the user says otherwise.
pub const COUNT: u32 = 10_000;
/// Test images whose likelihood is estimated.
pub const NLL_IMAGES: u32 = 500;
/// Latents for each of them.
pub const NLL_SAMPLES: u32 = 200;

/// What a run is scored by.
#[derive(Debug, Args)]
pub struct ScoreArgs {
    /// Which features
    #[command(flatten)]
    pub features: FeatureArgs,
    /// Samples to draw for each distance, and real images at most
    #[arg(long, value_name = "N", default_value_t = COUNT, value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    pub count: u32,
    /// Test images whose likelihood is estimated, from the first
    #[arg(long, value_name = "N", default_value_t = NLL_IMAGES, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub nll_images: u32,
    /// Latents per image of that estimate (K)
    #[arg(long, value_name = "K", default_value_t = NLL_SAMPLES, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub nll_samples: u32,
}

/// Arguments of `hvae eval`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae eval checkpoints/h-vae-001
  hvae eval checkpoints/h-vae-001 --features inception
  hvae eval checkpoints/h-vae-001 --nll-images 10000 --nll-samples 1000 --json scores.json
  hvae eval checkpoints/h-vae-001 --count 500 --nll-images 20      (a quick look)

A table goes to the terminal, everything to RUN/evaluation.json, or, with other flags than the usual
ones, to a file whose name tells them, such as RUN/evaluation-count500-nll20x200.json. The real
images are the run's own test set; the mixture is fitted to its training images.")]
pub struct EvalArgs {
    /// A run's folder
    pub run: PathBuf,
    /// What to score it by
    #[command(flatten)]
    pub scores: ScoreArgs,
    /// Seed of all that is drawn
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Which checkpoint of the run
    #[arg(long, value_enum, default_value_t = Which::Latest)]
    pub checkpoint: Which,
    /// Where to write the scores [default: in the run, under a name that tells what is not as usual]
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// Arguments of `hvae weights`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae weights fetch
  hvae weights check weights.pth")]
pub struct WeightsArgs {
    /// What to do
    #[command(subcommand)]
    pub command: WeightsCommand,
}

/// The commands of `hvae weights`.
#[derive(Debug, Subcommand)]
pub enum WeightsCommand {
    /// Download the weights of Inception (96 MB) and check them
    #[command(after_help = "Examples:
  hvae weights fetch
  hvae weights fetch --out pt_inception.pth --url https://mirror.example/pt_inception.pth

The file appears only once its length and SHA-256 are right.")]
    Fetch {
        /// Where to put the file [default: the cache, where other commands look for it]
        #[arg(long, value_name = "PATH")]
        out: Option<PathBuf>,
        /// Where to get it [default: the pytorch-fid project's release]
        #[arg(long, value_parser = url)]
        url: Option<String>,
    },
    /// Check a copy of the weights, and load it
    #[command(after_help = "Examples:
  hvae weights check
  hvae weights check pt_inception-2015-12-05-6726825d.pth")]
    Check {
        /// The file [default: the one in the cache]
        path: Option<PathBuf>,
    },
}

/// Arguments of `hvae classifier`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae classifier train --out mnist.safetensors
  hvae classifier test mnist.safetensors")]
pub struct ClassifierArgs {
    /// What to do
    #[command(subcommand)]
    pub command: ClassifierCommand,
}

/// The commands of `hvae classifier`.
#[derive(Debug, Subcommand)]
pub enum ClassifierCommand {
    /// Train a classifier whose features sets can be compared in
    #[command(after_help = "Examples:
  hvae classifier train --out mnist.safetensors
  hvae classifier train --images train.npz --test-images test.npz --out mine.safetensors
  hvae fid RUN test.npz --features mine.safetensors

Own images come with labels: a .npz with `images` and `labels`, or a folder with subfolders 0 to 9.")]
    Train(ClassifierTrainArgs),
    /// The accuracy of a classifier
    #[command(after_help = "Examples:
  hvae classifier test
  hvae classifier test mine.safetensors --test-images test.npz")]
    Test {
        /// Its file [default: the one that comes with the program]
        path: Option<PathBuf>,
        /// Images with labels [default: those of --dataset]
        #[arg(long, value_name = "PATH")]
        test_images: Option<PathBuf>,
        /// Images to test on: mnist, fashion-mnist, synthetic, or a folder or file with labels
        #[arg(long, value_name = "SET", default_value = "mnist")]
        dataset: Dataset,
    },
}

/// Arguments of `hvae classifier train`.
#[derive(Debug, Args)]
pub struct ClassifierTrainArgs {
    /// Where to put the weights, a .safetensors file
    #[arg(long, value_name = "FILE", value_parser = file(&["safetensors"]))]
    pub out: PathBuf,
    /// Images to learn from and to test on: mnist, fashion-mnist, synthetic, or a folder or file with
    /// labels
    #[arg(long, value_name = "SET", default_value = "mnist")]
    pub dataset: Dataset,
    /// Labelled images to learn from instead
    #[arg(long, value_name = "PATH", requires = "test_images")]
    pub images: Option<PathBuf>,
    /// Labelled images to test on instead
    #[arg(long, value_name = "PATH", requires = "images")]
    pub test_images: Option<PathBuf>,
    /// Passes over the training images
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub epochs: u32,
    /// Images per step
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(BATCHES))]
    pub batch_size: u32,
    /// Adam's learning rate at its highest
    #[arg(long, allow_negative_numbers = true, value_name = "RATE", default_value_t = 2e-3, value_parser = number(POSITIVE))]
    pub learning_rate: f64,
    /// Seed of weights, order and shifts
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}
