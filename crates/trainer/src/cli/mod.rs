//! The command line.

pub mod pictures;
pub mod runs;
pub(crate) mod values;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::converge::args::ConvergeArgs;
use crate::evaluation::args::{ClassifierArgs, EvalArgs, FidArgs, WeightsArgs};
use crate::latents::sampler::LatentSource;
use crate::observers::tui::Ui;
use crate::run::Which;
use crate::transition::args::PhaseArgs;
use hvae_data::dataset::Dataset;

use pictures::{DenoiseArgs, InterpolateArgs, ManifoldArgs, RelaxArgs};
use runs::{
    CompareArgs, CompletionsArgs, ExportArgs, ImportArgs, ManArgs, NewRunArgs, ReportArgs,
    RunsArgs, ShowArgs,
};

/// Train, sample and inspect Hopfield variational autoencoders.
///
/// Encoder and decoder are symmetric Hopfield networks; they are trained by equilibrium
/// propagation, that is, from differences between two equilibria, without a backward pass.
#[derive(Debug, Parser)]
#[command(name = "hvae", version = crate::VERSION, propagate_version = true, max_term_width = 100)]
#[command(after_help = "Examples:
  hvae train                                    train on MNIST with the defaults
  hvae train --resume checkpoints/h-vae-001     go on where that run stopped
  hvae runs                                     list the runs with their last metrics
  hvae report checkpoints/h-vae-001             a page with curves and pictures
  hvae sample checkpoints/h-vae-001             draw a grid of samples
  hvae reconstruct checkpoints/h-vae-001        draw test images above their reconstructions

Results go to stdout, everything else to stderr. NO_COLOR is respected.
Exit codes: 0 done, 1 failed, 2 wrong usage (flags, or settings given by them), 130 interrupted.")]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
    /// Options of every command
    #[command(flatten)]
    pub global: Global,
}

/// Default of `--device`.
pub const DEFAULT_DEVICE: &str = "cpu";

/// Options of every command.
#[derive(Debug, Args)]
pub struct Global {
    /// Name of the device to compute on, see docs/devices.md.
    #[arg(help = "Device to compute on: auto, cpu, ndarray, wgpu[:i], vulkan[:i], cuda[:i] or \
        remote:<host>:<port>[/i]; `hvae devices` lists yours")]
    #[arg(long, global = true, value_name = "DEVICE", default_value = DEFAULT_DEVICE, value_parser = values::device)]
    pub device: String,
    /// Accept a GPU that is a program on the CPU, such as lavapipe: slow, for tests
    #[arg(long, global = true)]
    pub allow_software: bool,
    /// CPU threads [default: one per core]
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// Folder with the files of MNIST or Fashion-MNIST; they are fetched into it when missing
    /// [default: where they were when the run was trained, else datasets/mnist or
    /// datasets/fashion-mnist]
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// No progress and no messages, only results, warnings and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more: what is read and written, and how long it takes
    #[arg(short, long, global = true)]
    pub verbose: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train a model, or go on with a run
    Train(Box<TrainArgs>),
    /// Decode latents drawn from the prior
    Sample(SampleArgs),
    /// Encode and decode test images
    Reconstruct(ReconstructArgs),
    /// Decode latents on the way from one test image, or latent, to another
    Interpolate(InterpolateArgs),
    /// Decode a plane of latents
    Manifold(ManifoldArgs),
    /// Complete half-hidden or noisy test images
    Denoise(DenoiseArgs),
    /// Watch images relax to equilibrium
    Relax(RelaxArgs),
    /// List the runs with their last metrics
    Runs(RunsArgs),
    /// Show a run: configuration, results, checkpoints
    Show(ShowArgs),
    /// Write a page about a run, with curves and pictures
    Report(ReportArgs),
    /// Write the weights of a run into one file for other programs
    Export(ExportArgs),
    /// Make a run of weights from a file
    Import(ImportArgs),
    /// Compare the gradients of equilibrium propagation with those through the relaxation
    Gradcheck(GradcheckArgs),
    /// Count iterations to equilibrium of layered Hopfield networks, beside published ones
    Converge(Box<ConvergeArgs>),
    /// Observe the phases of modern Hopfield networks
    Phase(Box<PhaseArgs>),
    /// Write the completions of a shell to stdout
    Completions(CompletionsArgs),
    /// Write manual pages
    Man(ManArgs),
    /// Fréchet distance (FID) of two sets of images
    Fid(Box<FidArgs>),
    /// All scores of a run: reconstruction, likelihood, FID, KID, precision and recall
    Eval(Box<EvalArgs>),
    /// Train or load a model of each kind and put their scores side by side
    Compare(Box<CompareArgs>),
    /// The weights of Inception, which the usual FID needs
    Weights(WeightsArgs),
    /// Train or test a classifier of images, for features to score in
    Classifier(ClassifierArgs),
    /// List the devices of this build and this machine
    #[command(after_help = "Examples:
  hvae devices
  hvae train --device auto             on what the last line says
  hvae train --devices cuda:0,cuda:1   each batch over two of them")]
    Devices,
    /// Let other machines compute on devices of this one
    Serve(ServeArgs),
}

/// Arguments of `hvae train`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae train
  hvae train --epochs 3 --name quick --set model.hidden=[256]
  hvae train --config checkpoints/h-vae-001/config.toml --seed 2
  hvae train --dataset synthetic --epochs 2      (needs no download)
  hvae train --dataset ./photos --epochs 50
  hvae train --resume checkpoints/h-vae-001 --epochs 20
  hvae train --dry-run --batch-size 256
  hvae train --patience 3 --epochs 100 --ui tui

Every key of a run's config.toml can be set with --set section.key=value; docs/settings.md lists
them. Ctrl-C finishes the step, saves, and says how to go on.")]
pub struct TrainArgs {
    /// Go on with this run from its newest checkpoint, under its own configuration
    #[arg(long, value_name = "RUN", conflicts_with_all = ["model", "runs", "name", "config", "set", "seed", "batch_size", "learning_rate", "dataset", "train_images", "test_images"])]
    pub resume: Option<PathBuf>,
    /// Member of the family; each starts from its own settings, those of `configs/KIND.toml`
    /// [default: h-vae]
    ///
    /// h-vae: two layered Hopfield networks. th-vae: one, used both ways. dh-vae: two dense
    /// networks, with couplings between all layers and within. tdh-vae: one of these, used both
    /// ways. f-vae: the layers of an h-vae without feedback, trained by backpropagation; the others
    /// by equilibrium propagation.
    #[arg(long, value_name = "KIND", value_parser = ["h-vae", "th-vae", "dh-vae", "tdh-vae", "f-vae"])]
    pub model: Option<String>,
    /// Split each batch over these devices instead, such as cuda:0,cuda:1; the first one also
    /// holds the weights
    #[arg(long, value_delimiter = ',', value_name = "DEVICE,...", conflicts_with = "device", value_parser = values::device)]
    pub devices: Vec<String>,
    /// Print how often the device was read and written, at the end of each epoch
    #[arg(long)]
    pub trace_device: bool,
    /// The run to make
    #[command(flatten)]
    pub new: NewRunArgs,
    /// Passes over the training images, in total [default: 10]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub epochs: Option<u32>,
    /// End after so many evaluations without a lower test loss [default: never]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub patience: Option<u32>,
    /// Images per step [default: 128]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub batch_size: Option<u32>,
    /// Learning rate at its highest [default: 0.008]
    #[arg(long, value_name = "RATE", allow_negative_numbers = true, value_parser = values::number(values::POSITIVE))]
    pub learning_rate: Option<f64>,
    /// Seed of weights, batch order and noise [default: 1]
    #[arg(long, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    pub seed: Option<u64>,
    /// Images to train and test on: mnist, fashion-mnist, synthetic (which needs no download), a
    /// folder of pictures (with a slash: ./photos), or a .npz or .npy file [default: mnist]
    #[arg(long, value_name = "SET")]
    pub dataset: Option<Dataset>,
    /// Use only the first N training images
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub train_images: Option<u32>,
    /// Use only the first N test images
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub test_images: Option<u32>,
    /// Print configuration, parameters, memory and time per epoch after timing a few steps, and
    /// write nothing
    #[arg(long, conflicts_with = "resume")]
    pub dry_run: bool,
    /// How progress is shown [default: a bar on a terminal, lines elsewhere]
    #[arg(long, value_enum)]
    pub ui: Option<Ui>,
    /// Write event files for TensorBoard into the run's folder `tensorboard`
    #[arg(long)]
    pub tensorboard: bool,
}

/// Arguments of `hvae serve`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae serve --port 3000                              the CPU
  hvae serve --port 3000 --devices cuda:0,cuda:1      two cards
  hvae train --device remote:gpu.local:3000           on the other machine
  hvae train --devices remote:a:3000,remote:b:3000    each batch over two machines

Traffic is not encrypted: serve on a network you trust, or through a tunnel. With HVAE_TOKEN set on
both sides, only clients that know it are let in. Ctrl-C ends the service.")]
pub struct ServeArgs {
    /// Port to listen on, on every address of this machine
    #[arg(long, default_value_t = 3000, value_parser = clap::value_parser!(u16).range(1..))]
    pub port: u16,
    /// Devices to serve, all of one kind; clients number them from 0 in this order
    #[arg(long, value_delimiter = ',', value_name = "DEVICE,...", default_value = "cpu", value_parser = values::device)]
    pub devices: Vec<String>,
}

/// Arguments of `hvae sample`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae sample checkpoints/h-vae-001
  hvae sample checkpoints/h-vae-001 --grid 5x20 --seed 7 --out grid.png
  hvae sample checkpoints/h-vae-001 --count 10000 --out samples.npz
  hvae sample checkpoints/h-vae-001 --count 64 --out samples/
  hvae sample checkpoints/h-vae-001 --from mixture

Equal RUN, checkpoint, count and seed give equal samples.")]
pub struct SampleArgs {
    /// A run's folder
    pub run: PathBuf,
    /// Number of samples [default: as many as the grid holds]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub count: Option<u32>,
    /// Seed of the latents
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Where the latents come from; the mixture needs the run's training images
    #[arg(long, value_enum, default_value_t = LatentSource::Prior)]
    pub from: LatentSource,
    /// Rows and columns of a picture
    #[arg(long, value_name = "ROWSxCOLUMNS", default_value = "10x10", value_parser = parse_grid)]
    pub grid: (usize, usize),
    /// Where to: a .png for a grid, a .npz for float32 [N, height, width] named `images`, or else a
    /// folder for one picture each
    #[arg(long, value_name = "PATH", default_value = "samples.png", value_parser = values::file_or_folder(&["png", "npz"]))]
    pub out: PathBuf,
    /// Which checkpoint of the run
    #[arg(long, value_enum, default_value_t = Which::Latest)]
    pub checkpoint: Which,
}

/// Arguments of `hvae reconstruct`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae reconstruct checkpoints/h-vae-001 --out reconstructions.png
  hvae reconstruct checkpoints/h-vae-001 --count 10000 --out reconstructions.npz

In a picture each row of test images stands above the row of their reconstructions.
A .npz holds `inputs` and `images`, float32 [N, height, width], `labels`, uint8 [N], and `means` and
`log_variances` of the posterior, float32 [N, latent].")]
pub struct ReconstructArgs {
    /// A run's folder
    pub run: PathBuf,
    /// Number of test images, from the first [default: 50, or all if they are fewer]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub count: Option<u32>,
    /// Where to: a .png or a .npz
    #[arg(long, value_name = "PATH", default_value = "reconstructions.png", value_parser = values::file(&["png", "npz"]))]
    pub out: PathBuf,
    /// Relative residual at which an equilibrium is reached [default: the run's ep.tolerance]
    #[arg(long, allow_negative_numbers = true, value_name = "X", value_parser = values::number(values::NOT_NEGATIVE))]
    pub tolerance: Option<f64>,
    /// Which checkpoint of the run
    #[arg(long, value_enum, default_value_t = Which::Latest)]
    pub checkpoint: Which,
}

/// Arguments of `hvae gradcheck`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae gradcheck                                    a new model of the default configuration
  hvae gradcheck checkpoints/h-vae-001              a trained one, at its own settings
  hvae gradcheck checkpoints/h-vae-001 --nudge 0.5,0.02,1e-4 --set ep.nudging=centred

The reference differentiates automatically through --sweeps sweeps of every free phase. A cosine
of 1 and a norm ratio of 1 mean an exact estimate. The column `sweeps` holds the decoder's, free
and nudged, mean over the samples.")]
pub struct GradcheckArgs {
    /// A run's folder; without it, a new model
    pub run: Option<PathBuf>,
    /// Sizes of the nudge to try [default: that of the configuration]
    #[arg(long, value_delimiter = ',', value_name = "SIZE,...", allow_negative_numbers = true, value_parser = values::number(values::POSITIVE))]
    pub nudge: Vec<f64>,
    /// Change one key of the configuration; may be given many times
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    pub set: Vec<String>,
    /// Number of test images
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub images: u32,
    /// Sweeps of the reference
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    pub sweeps: u32,
}

/// Largest number of rows or columns of a grid: pictures stay within what viewers open.
const MAX_GRID: usize = 100;

pub(crate) fn parse_grid(text: &str) -> Result<(usize, usize), String> {
    let parse = |part: &str| part.parse().ok().filter(|n| (1..=MAX_GRID).contains(n));
    text.split_once('x')
        .and_then(|(rows, columns)| Some((parse(rows)?, parse(columns)?)))
        .ok_or_else(|| format!("expected ROWSxCOLUMNS such as 10x10, each from 1 to {MAX_GRID}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn grids_are_rows_by_columns() {
        assert_eq!(parse_grid("3x20"), Ok((3, 20)));
        for wrong in ["", "3", "0x3", "3x", "3x101", "-1x2", "3x4x5"] {
            assert!(parse_grid(wrong).is_err(), "{wrong}");
        }
    }
}
