//! The program `hvae`: trains, samples and scores Hopfield variational autoencoders.
//!
//! It is a library so that tests can call what the program calls; its interface may change with the
//! program.
//!
//! | module | what it holds |
//! |---|---|
//! | [`config`] | the settings of a run: presets, TOML, overrides |
//! | [`run`] | the folder of a run: checkpoints, metrics, environment |
//! | `optimizer` | Adam, SGD, Madam |
//! | [`draws`] | random numbers of a training step, and images binarized with random numbers |
//! | [`training`] | the training loop and its step |
//! | [`observers`] | training callbacks |
//! | `latents`, `evaluation` | scores of a model, and latents to decode |
//! | `search` | hyperparameters, found by training |
//! | `converge`, `transition` | two studies of other papers |
//! | [`figures`], `report` | plots, and the HTML report of a run |
//! | [`api`] | what commands do, for them and for other programs |
//! | [`cli`], [`commands`] | the command line |
#![recursion_limit = "256"]
#![allow(missing_debug_implementations, reason = "a library for its own program and tests")]
#![allow(clippy::missing_errors_doc, reason = "errors are messages for the user of the program")]

pub mod api;
pub mod cli;
pub mod commands;
pub mod config;
pub(crate) mod converge;
pub mod draws;
pub(crate) mod evaluation;
pub mod figures;
pub(crate) mod latents;
pub mod observers;
pub(crate) mod optimizer;
pub(crate) mod report;
pub mod run;
pub(crate) mod search;
pub mod training;
pub(crate) mod transition;

/// The commit that this program was built from, or `unknown`.
pub const COMMIT: &str = env!("HVAE_COMMIT");

/// What `hvae --version` prints after the name: version, commit, cargo features.
pub const VERSION: &str = env!("HVAE_VERSION");
