#![doc = include_str!("../README.md")]
#![allow(clippy::missing_errors_doc, reason = "the errors themselves say when and why")]

pub mod arrays;
mod catalog;
mod cifar;
pub mod config;
pub mod convert;
pub mod dataset;
mod decode;
mod fetch;
mod folder;
mod idx;
pub mod images;
pub mod in_memory;
mod known;
mod labels;
mod npm;
pub mod own;
mod packed;
pub mod published;
mod report;
mod set;
mod shape;
pub mod synthetic;

pub use catalog::{FASHION_MNIST, MNIST, Published};
pub use known::KnownFile;
pub use report::Report;
pub use set::{ImageItem, ImageSet, Split};
pub use shape::{ImageShape, ImageSize};
