//! Tests of the program as a user runs it. One binary, since linking takes longer than most tests.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::float_cmp,
    clippy::many_single_char_names,
    clippy::too_many_lines,
    reason = "a test may panic, compare exactly, and follow the symbols of its formulas"
)]

#[path = "../common/mod.rs"]
mod common;

mod cli;
mod compare;
mod converge;
mod damaged;
mod docs;
mod evaluation;
mod exchange;
mod phase;
mod pictures;
mod prior;
mod reading;
mod resume;
mod runs;
mod search;
mod settings;
mod tools;
mod usage;
mod writing;
