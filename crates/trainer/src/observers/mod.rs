//! Training callbacks: progress bar, terminal interface, TensorBoard, transfer counts.

pub mod observer;
pub mod progress_bar;
pub mod tensorboard;
pub mod trace;
pub mod tui;
