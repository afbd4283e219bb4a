//! The command line: what all commands share. The arguments of a command are in its own file, see
//! [`commands`](crate::commands).

pub mod global;
pub(crate) mod new_run;
pub(crate) mod scoring;
pub(crate) mod values;

use anyhow::Result;
use clap::{CommandFactory, Parser};

use crate::cli::global::Global;
use crate::commands::Command;
use crate::commands::context::{Context, Ended, Run};

/// Train, sample and inspect Hopfield variational autoencoders.
///
/// Encoder and decoder are symmetric Hopfield networks. They are trained by equilibrium
/// propagation: gradients are differences between two equilibria, without a backward pass.
#[derive(Debug, Parser)]
#[command(name = "hvae", version = crate::VERSION, propagate_version = true, max_term_width = 100)]
#[command(after_help = "Examples:
  hvae train                                    train on MNIST with the defaults
  hvae train --resume checkpoints/h-vae-001     continue an interrupted run
  hvae runs                                     list the runs with their last metrics
  hvae report checkpoints/h-vae-001             an HTML page with curves and images
  hvae sample checkpoints/h-vae-001             draw a grid of samples
  hvae reconstruct checkpoints/h-vae-001        draw test images and their reconstructions

Results go to stdout, everything else to stderr. NO_COLOR is respected.
Exit codes: 0 success, 1 failure, 2 invalid usage (flags or their settings), 130 interrupted.")]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
    /// Options of every command
    #[command(flatten)]
    pub global: Global,
}

impl Cli {
    /// Runs the command.
    pub fn run(self) -> Result<Ended> {
        self.global.apply()?;
        self.command.run(&Context::new(self.global, Self::command))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }
}
