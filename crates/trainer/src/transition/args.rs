//! Arguments of `hvae phase`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::values::{COSINE, NOT_NEGATIVE, POSITIVE, number};

/// What the patterns are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Equidistant, summing to 0
    Simplex,
    /// Equidistant and orthogonal
    Orthogonal,
    /// Equidistant with the cosine --cosine
    Equidistant,
    /// Directions drawn at random
    Random,
    /// The first training images of MNIST
    Mnist,
    /// Drawn signs, which need no download
    Synthetic,
}

/// Arguments of `hvae phase`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  hvae phase                                            10 orthogonal patterns
  hvae phase --count 100 --table 3,5,10,20,50,100,1000  and thresholds for other numbers
  hvae phase --patterns equidistant --cosine 0.5 --dimension 64 --norm 2
  hvae phase --patterns mnist --count 100 --out mnist-phase
  hvae phase --count 1000 --starts 1000 --betas 200

The folder --out gets minima, hysteresis, collapse and stability as pictures (.png and .svg), the
numbers behind them as .csv, and report.json. Existing files of these names are replaced.

Values of --from and --to, and all thresholds, are beta_eff = beta D^2 / 2, where D is the (root
mean square) distance between two patterns.")]
pub struct PhaseArgs {
    /// What the patterns are
    #[arg(long, value_enum, default_value_t = Kind::Orthogonal)]
    pub patterns: Kind,
    /// Number of patterns
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub count: u32,
    /// Dimension of the patterns [default: N; images have their own]
    #[arg(long, value_name = "D", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub dimension: Option<u32>,
    /// Norm of each pattern; images keep their own
    #[arg(long, allow_negative_numbers = true, value_name = "M", default_value_t = 1.0, value_parser = number(POSITIVE))]
    pub norm: f64,
    /// Cosine between any two patterns, from -1/(N-1) to 1
    #[arg(long, value_name = "C", allow_negative_numbers = true, value_parser = number(COSINE))]
    pub cosine: Option<f64>,
    /// Number of values of beta, spaced evenly in its logarithm
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(2..=100_000))]
    pub betas: u32,
    /// Smallest `beta_eff` [default: half of b1]
    #[arg(long, allow_negative_numbers = true, value_name = "BETA", value_parser = number(POSITIVE))]
    pub from: Option<f64>,
    /// Largest `beta_eff` [default: twice b3]
    #[arg(long, allow_negative_numbers = true, value_name = "BETA", value_parser = number(POSITIVE))]
    pub to: Option<f64>,
    /// Starts for each beta, shared by the families: at patterns, near the mean, at random
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u32).range(3..=1_000_000))]
    pub starts: u32,
    /// Updates for each start at most; those that meet this limit are counted
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_steps: u32,
    /// A start has converged when an update changes its weights by less than this, relatively
    #[arg(long, allow_negative_numbers = true, value_name = "TOLERANCE", default_value_t = 1e-5, value_parser = number(NOT_NEGATIVE))]
    pub tolerance: f64,
    /// States closer than this share of the distance between patterns are one minimum
    #[arg(long, allow_negative_numbers = true, value_name = "SHARE", default_value_t = 0.02, value_parser = number(NOT_NEGATIVE))]
    pub same: f64,
    /// Measure the thresholds of these numbers of patterns too
    #[arg(long, value_name = "N,...", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(2..=5_000))]
    pub table: Vec<u32>,
    /// Seed of patterns and starts
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Folder for pictures and numbers
    #[arg(long, value_name = "DIR", default_value = "phase")]
    pub out: PathBuf,
}
