//! The program `hvae`: trains, samples and scores Hopfield variational autoencoders.
//!
//! This crate is the only one of the workspace that touches files, clock, terminal and random
//! seeds. It is a library so that tests can call what the program calls; its interface follows
//! the program's needs and may change with them.
#![recursion_limit = "256"]

pub mod cli;
pub mod commands;
pub mod config;
pub mod converge;
pub mod evaluation;
pub mod figures;
pub mod latents;
pub mod observers;
pub mod optimizer;
pub mod report;
pub mod run;
pub mod training;
pub mod transition;

/// The commit that this program was built from, or `unknown`.
pub const COMMIT: &str = env!("HVAE_COMMIT");

/// What `hvae --version` says behind the name: version, commit, cargo features.
pub const VERSION: &str = env!("HVAE_VERSION");
