//! Entry point: parse, run, report, exit code.

use std::process::ExitCode;

use clap::Parser;
use hvae::cli::Cli;
use hvae::commands::{self, Ended};
use hvae::{interrupt, report};

fn main() -> ExitCode {
    match commands::run(Cli::parse()) {
        Ok(Ended::Done) => ExitCode::SUCCESS,
        Ok(Ended::Interrupted) => ExitCode::from(interrupt::EXIT_CODE),
        Err(error) => {
            report::error(&error);
            ExitCode::FAILURE
        }
    }
}
