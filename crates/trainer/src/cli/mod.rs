//! The command line: what all commands share. The arguments of a command are in its own file, see
//! [`commands`](crate::commands).

pub mod global;
pub(crate) mod new_run;
pub(crate) mod scoring;
pub(crate) mod values;
