//! What `hvae fid` compares: sets of images, runs and stored statistics, named on the command line.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};

use hvae_data::own::{OwnImages, Part};
use hvae_data::{ImageSet, ImageShape, MNIST, Split, convert, published};
use hvae_scores::Statistics;

/// One side of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A part of MNIST.
    Mnist(Split),
    /// A run, to draw samples from.
    Run(PathBuf),
    /// The training or test images of the run that is the other side.
    OfRun(PathBuf, Split),
    /// Own images.
    Own(PathBuf, OwnImages),
    /// A `.npz` with `mu` and `sigma`.
    Statistics(PathBuf),
}

impl Source {
    /// The two sides that the arguments name. Beside a run, `train` and `test` are its images.
    pub(crate) fn pair(a: &Path, b: &Path) -> Result<[Self; 2]> {
        let side = |text: &Path, other: &Path| match text.to_str() {
            Some("train") if is_run(other) => Ok(Self::OfRun(other.to_owned(), Split::Train)),
            Some("test") if is_run(other) => Ok(Self::OfRun(other.to_owned(), Split::Test)),
            _ => Self::find(text),
        };
        Ok([side(a, b)?, side(b, a)?])
    }

    /// The source that `text` names.
    pub(crate) fn find(text: &Path) -> Result<Self> {
        match text.to_str() {
            Some("mnist-train") => return Ok(Self::Mnist(Split::Train)),
            Some("mnist-test") => return Ok(Self::Mnist(Split::Test)),
            _ => {}
        }
        let path = text.to_owned();
        if is_run(&path) {
            return Ok(Self::Run(path));
        }
        ensure!(
            path.exists(),
            "{} is neither a file nor a folder, nor mnist-train or mnist-test",
            path.display()
        );
        let is_archive = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("npz"));
        if is_archive && Statistics::is_in(&path)? {
            return Ok(Self::Statistics(path));
        }
        let images = OwnImages::find(&path)?;
        Ok(Self::Own(path, images))
    }

    /// The images of a set, converted to `shape` if one is given; of a set that comes in parts,
    /// those of `split`. Runs and statistics have none. MNIST is read from `data_dir`, or from its
    /// default folder.
    pub(crate) fn images(
        &self,
        split: Split,
        shape: Option<ImageShape>,
        data_dir: Option<&Path>,
    ) -> Result<ImageSet> {
        let data_dir = data_dir.unwrap_or(Path::new(MNIST.folder));
        match self {
            Self::Mnist(split) => {
                let set = published::load(&MNIST, data_dir, *split)?;
                let shape = shape.unwrap_or(set.shape());
                Ok(convert::reshape(set, shape)?.0)
            }
            Self::Own(_, images) => {
                let part = if images.has_test() { Part::Split(split) } else { Part::Whole };
                Ok(images.read(part, shape)?.0)
            }
            Self::Run(path) | Self::OfRun(path, _) | Self::Statistics(path) => {
                bail!("{} holds no images", path.display())
            }
        }
    }
}

fn is_run(path: &Path) -> bool {
    path.join("config.toml").is_file()
}

/// For the protocol line of a score.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mnist(Split::Train) => write!(f, "mnist-train"),
            Self::Mnist(Split::Test) => write!(f, "mnist-test"),
            Self::Run(path) => write!(f, "run {}", path.display()),
            Self::OfRun(path, Split::Train) => write!(f, "training images of {}", path.display()),
            Self::OfRun(path, Split::Test) => write!(f, "test images of {}", path.display()),
            Self::Statistics(path) => write!(f, "statistics {}", path.display()),
            Self::Own(path, images) if images.has_test() => {
                write!(f, "test part of {}", path.display())
            }
            Self::Own(path, _) => write!(f, "{}", path.display()),
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
        let one = |value| Array::F64(vec![1, 1], value);
        npz::save(&path("images.npz"), &[("x", one(&[0.5]))]).unwrap();
        npz::save(&path("stats.npz"), &[("mu", one(&[0.5])), ("sigma", one(&[1.0]))]).unwrap();
        std::fs::write(path("t10k-images-idx3-ubyte"), "x").unwrap();
        let kind = |name: &str| match Source::find(&path(name)).unwrap() {
            Source::Own(..) => "images",
            Source::Statistics(_) => "statistics",
            other => panic!("{other}"),
        };
        assert_eq!(kind("."), "images");
        assert_eq!(kind("images.npz"), "images");
        assert_eq!(kind("stats.npz"), "statistics");
        assert_eq!(kind("t10k-images-idx3-ubyte"), "images");
        std::fs::write(path("config.toml"), "").unwrap();
        assert_eq!(Source::find(root.path()).unwrap(), Source::Run(root.path().to_owned()));
        let [run, images] = Source::pair(root.path(), Path::new("test")).unwrap();
        assert_eq!(run, Source::Run(root.path().to_owned()));
        assert_eq!(images, Source::OfRun(root.path().to_owned(), Split::Test));
        let error = |name: &str| Source::find(&path(name)).unwrap_err().to_string();
        assert!(error("nothing").contains("neither a file nor a folder"));
        std::fs::write(path("one.png"), "x").unwrap();
        assert!(error("one.png").contains("single picture"));
    }
}
