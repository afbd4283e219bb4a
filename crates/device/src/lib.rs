//! Counted transfers between host and device for Burn tensors.
//!
//! A read of the device waits for every kernel queued before it, which on a GPU costs more than
//! many small kernels. [`read`], [`upload`] and [`upload_rows`] count what they do, so that a test
//! or a trace can say how many transfers a step takes: see [`transfers`].
//!
//! This crate knows tensors and devices. It knows nothing of solvers, networks or files.
#![recursion_limit = "256"]

/// The example of the README is a test like any other.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

mod transfer;

pub use transfer::{Transfers, read, transfers, upload, upload_rows};
