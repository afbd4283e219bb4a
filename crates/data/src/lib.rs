#![doc = include_str!("../README.md")]

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
mod mirror;
mod npm;
mod packed;
pub mod published;
pub mod remote;
mod set;
mod shape;
pub mod synthetic;

pub use catalog::{FASHION_MNIST, MNIST, Published};
pub use set::{ImageItem, ImageSet, Split};
pub use shape::{ImageShape, ImageSize};
