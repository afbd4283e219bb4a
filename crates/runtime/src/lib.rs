#![doc = include_str!("../README.md")]
#![recursion_limit = "256"]
#![allow(clippy::missing_errors_doc, reason = "the errors themselves say when and why")]

pub mod files;
pub mod interrupt;
pub mod memory;
pub mod npz;
pub mod npz_rows;
pub mod rng;
pub mod tensors;
pub mod terminal;
