//! Training callbacks: progress bar, terminal interface, TensorBoard, transfer counts.

pub mod tensorboard;
pub mod trace;
pub mod tui;
pub mod watch;
