//! The feature classifier: a small convolutional network of 28x28 images, whose penultimate layer
//! gives features, and its training. One trained on MNIST is part of the crate.

pub(crate) mod network;
mod training;

pub use network::{CLASSES, Classifier, check_shape, load, shipped};
pub use training::{Schedule, accuracy, train};
