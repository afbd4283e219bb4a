//! Arguments of the commands about runs, and of those about the program itself.

use std::path::PathBuf;

use clap::Args;

use crate::evaluation::args::ScoreArgs;
use crate::run::Which;

use crate::cli::values::run_name;

/// Arguments of `hvae runs`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae runs
  hvae runs --runs elsewhere --json

Columns: epochs done and in all, train and test reconstruction error, KL divergence and ELBO of the
last epoch, seconds in all.")]
pub struct RunsArgs {
    /// Folder that holds the runs
    #[arg(long, value_name = "DIR", default_value = "checkpoints")]
    pub runs: PathBuf,
    /// One JSON object a line in place of a table
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `hvae compare`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae compare                                     train all five kinds, then score them
  hvae compare --epochs 1 --count 1000             a quick look
  hvae compare checkpoints/f-vae-001 checkpoints/th-vae-001
  hvae compare --features inception --out results

Without runs it trains compare-f-vae, compare-h-vae, ... under the presets of their kinds, or goes
on with those that are there, which must have the same settings; they may have fewer epochs. The
table goes to stdout and, as Markdown, CSV and JSON with a figure, to --out. Free and nudged sweeps
are means per image, encoder and decoder together.

Runs that are tested on different images are refused. Those that differ in their likelihood, in how
many test images they have or in what they have learnt from are compared, with a warning.")]
pub struct CompareArgs {
    /// Runs to compare [default: one of each kind, trained now]
    #[arg(value_name = "RUN")]
    pub names: Vec<PathBuf>,
    /// Folder for the runs that are trained
    #[arg(long, value_name = "DIR", default_value = "checkpoints", conflicts_with = "names")]
    pub runs: PathBuf,
    /// Epochs of the runs that are trained [default: as in their presets]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000), conflicts_with = "names")]
    pub epochs: Option<u32>,
    /// Change one key of the configuration of all runs that are trained
    #[arg(long, value_name = "SECTION.KEY=VALUE", conflicts_with = "names")]
    pub set: Vec<String>,
    /// Folder for table and figure
    #[arg(long, value_name = "DIR", default_value = "compare")]
    pub out: PathBuf,
    /// What to score each run by
    #[command(flatten)]
    pub scores: ScoreArgs,
}

/// Arguments of `hvae show`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae show checkpoints/h-vae-001
  hvae show checkpoints/h-vae-001 --json")]
pub struct ShowArgs {
    /// A run's folder
    pub run: PathBuf,
    /// One JSON object in place of text
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `hvae report`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae report checkpoints/h-vae-001
  hvae report checkpoints/h-vae-001 --out page.html

One HTML file with everything in it, pictures too; it opens without a network. Where the run's test
images cannot be read, what needs them is left out, and the page says so.")]
pub struct ReportArgs {
    /// A run's folder
    pub run: PathBuf,
    /// Where to [default: report.html in the run's folder]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Which checkpoint of the run
    #[arg(long, value_enum, default_value_t = Which::Latest)]
    pub checkpoint: Which,
}

/// Arguments of `hvae export`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae export checkpoints/h-vae-001 --out model.safetensors
  python3 scripts/load_in_pytorch.py model.safetensors

The file holds the weights under the names that docs/exchange.md lists, and in its metadata, as JSON
under `hvae`, the configuration, the layout of the networks and how they are used. Averaged weights
are exported where the run has them.")]
pub struct ExportArgs {
    /// A run's folder
    pub run: PathBuf,
    /// Where to
    #[arg(long, value_name = "FILE", default_value = "model.safetensors")]
    pub out: PathBuf,
    /// Which checkpoint of the run
    #[arg(long, value_enum, default_value_t = Which::Latest)]
    pub checkpoint: Which,
}

/// A run that is made: where, and under which configuration.
#[derive(Debug, Args)]
pub struct NewRunArgs {
    /// Folder that holds the runs
    #[arg(long, value_name = "DIR", default_value = "checkpoints")]
    pub runs: PathBuf,
    /// Name of the run's folder [default: the kind and the next free number, such as h-vae-001]
    #[arg(long, value_parser = run_name)]
    pub name: Option<String>,
    /// Configuration to start from, such as another run's config.toml
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Change one key of the configuration; may be given many times
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    pub set: Vec<String>,
}

/// Arguments of `hvae import`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae import model.safetensors
  hvae import model.safetensors --name from-elsewhere --set data.dataset=synthetic

Makes a run with these weights at step 0, which can be sampled, or trained with `hvae train
--resume`. The configuration comes from the file's metadata; --config and --set change it. Tensors
are told by their names (docs/exchange.md); every one must be there with its shape, and no other. A
file without metadata needs --config.")]
pub struct ImportArgs {
    /// A file that `hvae export` or another program wrote
    pub file: PathBuf,
    /// The run to make
    #[command(flatten)]
    pub new: NewRunArgs,
}

/// Arguments of `hvae completions`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae completions bash > ~/.local/share/bash-completion/completions/hvae
  hvae completions zsh > ~/.zfunc/_hvae
  hvae completions fish > ~/.config/fish/completions/hvae.fish")]
pub struct CompletionsArgs {
    /// For which shell
    pub shell: clap_complete::Shell,
}

/// Arguments of `hvae man`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hvae man --out ~/.local/share/man/man1
  hvae man --out man && man ./man/hvae-train.1")]
pub struct ManArgs {
    /// Folder for the pages, one for each command
    #[arg(long, value_name = "DIR", default_value = "man")]
    pub out: PathBuf,
}
