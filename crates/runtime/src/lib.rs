//! What touches the machine, apart from devices: files that appear whole or not at all, arrays and
//! tensors as files, the terminal, signals, and reproducible random streams.
#![recursion_limit = "256"]

pub mod files;
pub mod interrupt;
pub mod npz;
pub mod rng;
pub mod tensors;
pub mod terminal;
