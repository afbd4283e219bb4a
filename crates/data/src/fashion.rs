//! Fashion-MNIST: articles of clothing.

use std::path::Path;

use crate::published;
use crate::published::{DataFile, Published};
use crate::{ImageSet, Split, Verbosity};

/// Articles of clothing in the format of MNIST (Xiao, Rasul, Vollgraf 2017, arXiv 1708.07747).
pub const FASHION_MNIST: Published = Published {
    name: "Fashion-MNIST",
    folder: "datasets/fashion-mnist",
    files: [
        DataFile {
            name: "train-images-idx3-ubyte",
            sha256: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            bytes: 47_040_016,
        },
        DataFile {
            name: "train-labels-idx1-ubyte",
            sha256: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            bytes: 60_008,
        },
        DataFile {
            name: "t10k-images-idx3-ubyte",
            sha256: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            bytes: 7_840_016,
        },
        DataFile {
            name: "t10k-labels-idx1-ubyte",
            sha256: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            bytes: 10_008,
        },
    ],
    mirrors: &[
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
    ],
    variable: "HVAE_FASHION_MNIST_MIRRORS",
    npm: false,
    system: Some(("/usr/share/datasets/fashion-mnist", "dataset-fashion-mnist")),
};

/// Loads one part of Fashion-MNIST from `data_dir`, as [`published::load`] does.
///
/// # Errors
///
/// When a file is altered or unreadable, or missing and nowhere to be had.
pub fn load(data_dir: &Path, split: Split, verbosity: Verbosity) -> anyhow::Result<ImageSet> {
    published::load(&FASHION_MNIST, data_dir, split, verbosity)
}
