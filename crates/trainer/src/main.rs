//! Entry point: parse, run, exit code.

use std::process::ExitCode;

use clap::Parser;
use hvae::commands::Cli;
use hvae::commands::context::Ended;
use hvae::config::Usage;
use hvae_device::fault;
use hvae_runtime::{interrupt, terminal};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let ended = fault::guard(|| {
        let ended = cli.run()?;
        terminal::lost_result().map_or(Ok(ended), |error| {
            Err(anyhow::Error::from(error).context("cannot write to standard output"))
        })
    });
    match ended {
        Ok(Ended::Done) => ExitCode::SUCCESS,
        Ok(Ended::Interrupted) => ExitCode::from(interrupt::EXIT_CODE),
        Err(error) if error.is::<interrupt::Stopped>() => {
            terminal::line(&error.to_string());
            ExitCode::from(interrupt::EXIT_CODE)
        }
        Err(error) => {
            terminal::error(&error);
            // The exit code of clap for an unknown flag.
            if error.is::<Usage>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}
