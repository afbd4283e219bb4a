//! Arguments of `hvae converge`.

use std::path::PathBuf;

use clap::builder::RangedU64ValueParser;
use clap::{Args, ValueEnum};

use crate::cli::values;
use hvae_data::dataset::Dataset;

/// Units of a layer at most, as in a model that is trained.
const LARGEST_LAYER: u64 = 1 << 16;

/// How much is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// 1 seed, 3 epochs of 20,000 training images, the first 2,000 test images: for two CPU cores
    Small,
    /// 5 seeds, 10 epochs of all training images, all test images, as in the paper
    Full,
}

/// Which rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Forms {
    /// All rows
    Both,
    /// Continuous Hopfield networks
    Chn,
    /// Hierarchical associative memories
    Ham,
}

/// How weights are learnt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Learner {
    /// Recurrent backpropagation, as in the paper
    Rbp,
    /// Equilibrium propagation
    Ep,
}

/// Arguments of `hvae converge`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  hvae converge                                         the small preset, all three networks
  hvae converge --networks 3 --preset full              the 3-layer rows as in the paper
  hvae converge --networks 5 --seeds 1 --epochs 10 --train-images 60000 --test-images 10000
  hvae converge --networks 3 --learner ep               trained by equilibrium propagation
  hvae converge --dataset synthetic --networks 3        needs no download

The folder --out gets convergence.png and .svg, table.csv, samples.csv, curves.csv, report.json, and
the trained weights under weights/. Existing tables, pictures and reports are replaced; weights are
not: each training has a folder of its own, named by its settings. Weights of the same settings are
used again, and a training that was interrupted goes on after its last whole epoch; --fresh trains
anew in their place.")]
pub struct ConvergeArgs {
    /// Which networks, by their number of layers: 3, 5, 7
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "3,5,7", value_parser = values::layers)]
    pub networks: Vec<u8>,
    /// Which rows of the table
    #[arg(long, value_enum, default_value_t = Forms::Both)]
    pub forms: Forms,
    /// Defaults of the options below
    #[arg(long, value_enum, default_value_t = Preset::Small)]
    pub preset: Preset,
    /// Trainings of each network, with the seeds 1 to N [default: 1, or 5 in the full preset]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100))]
    pub seeds: Option<u64>,
    /// Passes over the training images [default: 3, or 10 in the full preset]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub epochs: Option<u16>,
    /// Use only the first N training images [default: 20,000, or all in the full preset]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(64..))]
    pub train_images: Option<u32>,
    /// Count on the first N test images [default: 2,000, or all in the full preset]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub test_images: Option<u32>,
    /// Images to train and count on: mnist, fashion-mnist, synthetic, or a folder or file
    #[arg(long, value_name = "SET", default_value = "mnist")]
    pub dataset: Dataset,
    /// How weights are learnt
    #[arg(long, value_enum, default_value_t = Learner::Rbp)]
    pub learner: Learner,
    /// Units of the hidden layers, in place of the paper's, e.g. 64 or 64,32,16 (one network only)
    #[arg(long, value_name = "N,...", value_delimiter = ',', value_parser = RangedU64ValueParser::<usize>::new().range(1..=LARGEST_LAYER))]
    pub hidden: Vec<usize>,
    /// In place of the table, time every row to the tolerance, so many times, on the first 64 and the
    /// first 1024 test images; see `scripts/bench_converge.py`
    #[arg(long, value_name = "ROUNDS", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub time: Option<u16>,
    /// Train anew even where weights are there
    #[arg(long)]
    pub fresh: bool,
    /// Folder for weights, pictures and numbers
    #[arg(long, value_name = "DIR", default_value = "converge")]
    pub out: PathBuf,
}
