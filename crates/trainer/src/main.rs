//! Entry point: parse, run, exit code.

use std::process::ExitCode;

use clap::Parser;
use hvae::commands::Cli;
use hvae::commands::context::Ended;
use hvae::config::Usage;
use hvae_device::fault;
use hvae_runtime::{interrupt, terminal};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
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

/// Prints why the command line is invalid, or what it asks for, such as help.
fn refuse(error: &clap::Error) -> ExitCode {
    // A closed stream is no reason for another message.
    let _ = error.print();
    let is_conflict = error.kind() == clap::error::ErrorKind::ArgumentConflict;
    if is_conflict && error.to_string().contains("--resume") {
        terminal::hint(
            "a resumed run keeps its settings; `hvae train --from RUN` trains its weights under \
             others, in a new run",
        );
    }
    if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS }
}
