//! The choice of a data set: one known by name, or own images.

use std::{fmt, path::Path, path::PathBuf, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::catalog::{FASHION_MNIST, MNIST};

/// A set of images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Dataset {
    /// Handwritten digits, 60,000 for training and 10,000 for testing.
    Mnist,
    /// Articles of clothing, in the same numbers.
    FashionMnist,
    /// Simple generated shapes, without a download.
    Synthetic,
    /// Own images: see [`OwnImages`](crate::own::OwnImages).
    Path(PathBuf),
}

impl Dataset {
    /// The folder of its files unless another one is given.
    pub fn default_folder(&self) -> &Path {
        Path::new(match self {
            Self::FashionMnist => FASHION_MNIST.folder,
            _ => MNIST.folder,
        })
    }

    /// The same data set with an absolute path.
    #[must_use]
    pub fn absolute(self) -> Self {
        match self {
            Self::Path(path) => Self::Path(std::path::absolute(&path).unwrap_or(path)),
            other => other,
        }
    }
}

impl fmt::Display for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mnist => f.write_str("mnist"),
            Self::FashionMnist => f.write_str("fashion-mnist"),
            Self::Synthetic => f.write_str("synthetic"),
            Self::Path(path) => path.display().fmt(f),
        }
    }
}

impl FromStr for Dataset {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let path = Path::new(text);
        let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase());
        let looks = text.contains(['/', '\\'])
            || text.starts_with('.')
            || ending.is_some_and(|ending| ending == "npz" || ending == "npy");
        match text {
            "mnist" => Ok(Self::Mnist),
            "fashion-mnist" => Ok(Self::FashionMnist),
            "synthetic" => Ok(Self::Synthetic),
            _ if looks => Ok(Self::Path(path.to_owned())),
            _ => Err(format!(
                "{text} is not one of mnist, fashion-mnist, synthetic; a folder of pictures is \
                 written with a slash, as ./{text}, and a file ends in .npz or .npy"
            )),
        }
    }
}

impl TryFrom<String> for Dataset {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Dataset> for String {
    fn from(dataset: Dataset) -> Self {
        dataset.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_paths_are_distinguished() {
        let path = |text: &str| Ok(Dataset::Path(PathBuf::from(text)));
        for (text, expected) in [
            ("mnist", Ok(Dataset::Mnist)),
            ("fashion-mnist", Ok(Dataset::FashionMnist)),
            ("./mnist", path("./mnist")),
            ("photos/", path("photos/")),
            ("set.NPZ", path("set.NPZ")),
        ] {
            assert_eq!(text.parse(), expected, "{text}");
        }
        assert!("imagenet".parse::<Dataset>().unwrap_err().contains("./imagenet"));
        assert_eq!("a/b".parse::<Dataset>().unwrap().to_string(), "a/b");
    }
}
