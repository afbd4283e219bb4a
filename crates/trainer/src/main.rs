//! Entry point.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(hvae::commands::main(std::env::args_os().collect()))
}
