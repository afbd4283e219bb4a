//! Training callbacks: progress bar, terminal interface, TensorBoard, transfer counts.

pub mod observer;
pub(crate) mod progress_bar;
pub(crate) mod tensorboard;
pub(crate) mod trace;
pub(crate) mod tui;
