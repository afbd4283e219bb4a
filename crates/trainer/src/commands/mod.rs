//! One file per command: its arguments with their help, and what it does. To add a command, write
//! its file and name it in `commands!`.

pub mod context;
mod output;
mod trained;

mod classifier;
mod compare;
mod completions;
mod converge;
mod decode;
mod denoise;
mod devices;
mod encode;
mod eval;
mod export;
mod fid;
mod gradcheck;
mod import;
mod interpolate;
mod man;
mod manifold;
mod phase;
mod prototypes;
mod reconstruct;
mod relax;
mod report;
mod runs;
mod sample;
mod search;
mod serve;
mod show;
mod train;
mod weights;

use std::ffi::OsString;

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};
use hvae_device::fault;
use hvae_runtime::{interrupt, terminal};

use crate::cli::PROGRAM;
use crate::cli::global::Global;
use crate::config::Usage;
use crate::figures::signed;
use context::{Context, Ended, Run};

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

/// The whole program: parses `arguments`, of which the first is the program, and runs them. Returns
/// the exit code.
pub fn main(arguments: Vec<OsString>) -> u8 {
    signed::sign(&arguments);
    PROGRAM.get_or_init(|| arguments.first().cloned().unwrap_or_else(|| "hvae".into()));
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
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

/// Prints why the command line is invalid, or what it asks for, such as help.
fn refuse(error: &clap::Error) -> u8 {
    // A closed stream is no reason for another message.
    _ = error.print();
    let is_conflict = error.kind() == clap::error::ErrorKind::ArgumentConflict;
    if is_conflict && error.to_string().contains("--resume") {
        terminal::hint(
            "a resumed run keeps its settings; `hvae train --from RUN` trains its weights under \
             others, in a new run",
        );
    }
    if error.use_stderr() { 2 } else { 0 }
}

/// Makes the commands known to the command line, in the order of `hvae --help`.
macro_rules! commands {
    ($($module:ident::$name:ident),* $(,)?) => {
        /// The commands.
        #[derive(Debug, Subcommand)]
        #[allow(missing_docs, reason = "each command is described where it is defined")]
        pub enum Command {
            $($name(Box<$module::$name>)),*
        }

        impl Run for Command {
            fn run(self, cx: &Context) -> Result<Ended> {
                match self {
                    $(Self::$name(command) => command.run(cx)),*
                }
            }
        }
    };
}

commands![
    train::Train,
    search::Search,
    sample::Sample,
    encode::Encode,
    decode::Decode,
    reconstruct::Reconstruct,
    interpolate::Interpolate,
    manifold::Manifold,
    denoise::Denoise,
    relax::Relax,
    runs::Runs,
    show::Show,
    report::Report,
    export::Export,
    import::Import,
    gradcheck::Gradcheck,
    converge::Converge,
    phase::Phase,
    prototypes::Prototypes,
    completions::Completions,
    man::Man,
    fid::Fid,
    eval::Eval,
    compare::Compare,
    weights::Weights,
    classifier::Classifier,
    devices::Devices,
    serve::Serve,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }
}
