#![doc = include_str!("../README.md")]
#![recursion_limit = "256"]

pub mod files;
pub mod interrupt;
pub mod npz;
pub mod rng;
pub mod tensors;
pub mod terminal;
