//! What `hvae fid` compares: sets of images, runs and stored statistics, named on the command line.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use hvae_data::{ImageSet, MNIST, Split, arrays, folder, idx, published};
use hvae_scores::Statistics;

/// One side of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A part of MNIST.
    Mnist(Split),
    /// A run, to draw samples from.
    Run(PathBuf),
    /// A folder of pictures.
    Folder(PathBuf),
    /// A `.npz` or `.npy` of images.
    Arrays(PathBuf),
    /// An IDX file of images.
    Idx(PathBuf),
    /// A `.npz` with `mu` and `sigma`.
    Statistics(PathBuf),
}

impl Source {
    /// The source that `text` names.
    pub(crate) fn find(text: &Path) -> Result<Self> {
        match text.to_str() {
            Some("mnist-train") => return Ok(Self::Mnist(Split::Train)),
            Some("mnist-test") => return Ok(Self::Mnist(Split::Test)),
            _ => {}
        }
        let path = text.to_owned();
        if path.is_dir() {
            let is_run = path.join("config.toml").is_file();
            return Ok(if is_run { Self::Run(path) } else { Self::Folder(path) });
        }
        ensure!(
            path.is_file(),
            "{} is neither a file nor a folder, nor mnist-train or mnist-test",
            path.display()
        );
        let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase());
        match ending.as_deref() {
            Some("npz") if Statistics::is_in(&path)? => Ok(Self::Statistics(path)),
            Some("npz" | "npy") => Ok(Self::Arrays(path)),
            Some("png" | "jpg" | "jpeg" | "gif") => {
                bail!("{} is a single picture; give the folder that holds it", path.display())
            }
            _ => Ok(Self::Idx(path)),
        }
    }

    /// The images of a set; a run and statistics have none. `data_dir` is MNIST's folder.
    pub(crate) fn images(&self, data_dir: Option<&Path>) -> Result<ImageSet> {
        let data_dir = data_dir.unwrap_or(Path::new(MNIST.folder));
        match self {
            Self::Mnist(split) => published::load(&MNIST, data_dir, *split),
            Self::Folder(path) => folder::read(path),
            Self::Arrays(path) => arrays::read(path),
            Self::Idx(path) => idx::read(path),
            Self::Run(path) | Self::Statistics(path) => {
                bail!("{} holds no images", path.display())
            }
        }
    }
}

/// For the protocol line of a score.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mnist(Split::Train) => write!(f, "mnist-train"),
            Self::Mnist(Split::Test) => write!(f, "mnist-test"),
            Self::Run(path) => write!(f, "run {}", path.display()),
            Self::Statistics(path) => write!(f, "statistics {}", path.display()),
            Self::Folder(path) | Self::Arrays(path) | Self::Idx(path) => {
                write!(f, "{}", path.display())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use hvae_runtime::npz::{self, Array};

    use super::*;

    #[test]
    fn sources_are_recognised_by_name_and_content() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        assert_eq!(Source::find(Path::new("mnist-test")).unwrap(), Source::Mnist(Split::Test));
        assert_eq!(Source::find(root.path()).unwrap(), Source::Folder(root.path().to_owned()));
        let one = |value| Array::F64(vec![1, 1], value);
        npz::save(&path("images.npz"), &[("x", one(&[0.5]))]).unwrap();
        npz::save(&path("stats.npz"), &[("mu", one(&[0.5])), ("sigma", one(&[1.0]))]).unwrap();
        std::fs::write(path("t10k-images-idx3-ubyte"), "x").unwrap();
        for (name, expected) in [
            ("images.npz", Source::Arrays(path("images.npz"))),
            ("stats.npz", Source::Statistics(path("stats.npz"))),
            ("t10k-images-idx3-ubyte", Source::Idx(path("t10k-images-idx3-ubyte"))),
        ] {
            assert_eq!(Source::find(&path(name)).unwrap(), expected);
        }
        std::fs::write(path("config.toml"), "").unwrap();
        assert_eq!(Source::find(root.path()).unwrap(), Source::Run(root.path().to_owned()));
        let error = |name: &str| Source::find(&path(name)).unwrap_err().to_string();
        assert!(error("nothing").contains("neither a file nor a folder"));
        std::fs::write(path("one.png"), "x").unwrap();
        assert!(error("one.png").contains("single picture"));
    }
}
