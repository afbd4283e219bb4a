//! The program `hvae`: trains, samples and scores Hopfield variational autoencoders.
//!
//! This crate is the only one of the workspace that touches files, clock, terminal and random
//! seeds. It is a library so that tests can call what the program calls; its interface follows
//! the program's needs and may change with them.
#![recursion_limit = "256"]

pub mod checkpoint;
pub mod cli;
pub mod commands;
pub mod completion;
pub mod config;
pub mod converge;
pub mod data;
pub mod dataset;
pub mod device;
pub mod environment;
pub mod evaluation;
pub mod exchange;
pub mod files;
pub mod gradients;
pub mod images;
pub mod interrupt;
pub mod memory;
pub mod metrics;
pub mod npz;
pub mod optimizer;
pub mod page;
pub mod phase;
pub mod picture;
pub mod plot;
pub mod principal;
pub mod report;
pub mod rng;
pub mod run;
pub mod summary;
pub mod tensorboard;
pub mod tensors;
pub mod training;
pub mod tui;

/// The commit that this program was built from, or `unknown`.
pub const COMMIT: &str = env!("HVAE_COMMIT");

/// What `hvae --version` says behind the name: version, commit, cargo features.
pub const VERSION: &str = env!("HVAE_VERSION");
