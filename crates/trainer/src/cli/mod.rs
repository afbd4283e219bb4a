//! The command line: what all commands share. The arguments of a command are in its own file, see
//! [`commands`](crate::commands).

pub mod global;
pub(crate) mod new_run;
pub(crate) mod scoring;
pub(crate) mod values;

use std::{ffi::OsString, sync::OnceLock};

/// How the program was called.
pub(crate) static PROGRAM: OnceLock<OsString> = OnceLock::new();

/// How the program was called, for commands that messages propose.
pub(crate) fn program() -> String {
    PROGRAM.get().map_or("hvae".into(), |name| name.to_string_lossy().into_owned())
}
