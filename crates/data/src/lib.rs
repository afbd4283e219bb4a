#![doc = include_str!("../README.md")]
#![allow(clippy::missing_errors_doc, reason = "the errors themselves say when and why")]

pub mod arrays;
mod catalog;
pub mod config;
mod convert;
pub mod custom;
pub mod dataset;
mod fetch;
pub mod folder;
pub mod idx;
pub mod images;
pub mod in_memory;
mod known;
mod npm;
mod packed;
pub mod published;
mod set;
mod shape;
pub mod synthetic;

pub use catalog::{FASHION_MNIST, MNIST, Published};
pub use known::KnownFile;
pub use set::{ImageItem, ImageSet, Split};
pub use shape::{ImageShape, ImageSize};
