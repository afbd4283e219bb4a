//! The command line: what all commands share. The arguments of a command are in its own file, see
//! [`commands`](crate::commands).

pub mod global;
pub(crate) mod new_run;
pub(crate) mod scoring;
pub(crate) mod values;

use std::ffi::OsString;
use std::sync::OnceLock;

use anyhow::Result;
use clap::{CommandFactory, Parser};
use hvae_device::fault;
use hvae_runtime::{interrupt, terminal};

use crate::cli::global::Global;
use crate::commands::Command;
use crate::commands::context::{Context, Ended, Run};
use crate::config::Usage;

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

/// How the program was called.
static PROGRAM: OnceLock<OsString> = OnceLock::new();

/// How the program was called, for commands that messages propose.
pub(crate) fn program() -> String {
    PROGRAM.get().map_or("hvae".into(), |name| name.to_string_lossy().into_owned())
}

/// The whole program: parses `arguments`, of which the first is the program, and runs them. Returns
/// the exit code.
pub fn main(arguments: Vec<OsString>) -> u8 {
    PROGRAM.get_or_init(|| arguments.first().cloned().unwrap_or_else(|| "hvae".into()));
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // A closed pipe is not an error.
            _ = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(2);
        }
    };
    let ended = fault::guard(|| {
        let ended = cli.run()?;
        terminal::lost_result().map_or(Ok(ended), |error| {
            Err(anyhow::Error::from(error).context("cannot write to standard output"))
        })
    });
    match ended {
        Ok(Ended::Done) => 0,
        Ok(Ended::Interrupted) => interrupt::EXIT_CODE,
        Err(error) if error.is::<interrupt::Stopped>() => {
            terminal::line(&error.to_string());
            interrupt::EXIT_CODE
        }
        Err(error) => {
            terminal::error(&error);
            // The exit code of clap for an unknown flag.
            if error.is::<Usage>() { 2 } else { 1 }
        }
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
