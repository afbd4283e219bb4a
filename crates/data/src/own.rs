//! The one reader of images from outside: a folder of pictures, arrays in a `.npz` or `.npy` file,
//! files in the IDX format, or CIFAR.

use std::{collections::BTreeSet, path::Path, path::PathBuf, sync::Mutex};

use anyhow::{Context, Result, ensure};
use hvae_runtime::terminal;

use crate::convert::Wanted;
use crate::{ImageSet, ImageShape, Split, arrays, cifar, folder, idx, report::Report};

/// Images at a path, and the parts that they come in.
///
/// - A folder holds pictures, or a subfolder for each class. Subfolders `train`, `test` and `valid`
///   (or `val`, `validation`), each such a folder, are parts; a class has one number in all.
/// - A folder with files in the IDX format named as those of MNIST or EMNIST, plain or gzip, or one
///   such file.
/// - A folder with CIFAR-10 or CIFAR-100 in their binary version.
/// - A `.npz` file with arrays `x_train`, `x_test` and `x_valid` (with `y_train` and so on),
///   `train_images` and so on, `images` with `labels`, or one array of any name; or a `.npy` file.
///
/// Without parts, every tenth image is a test image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnImages {
    path: PathBuf,
    format: Format,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Format {
    Folder([Option<PathBuf>; 3]),
    Arrays([Option<arrays::Arrays>; 3]),
    Idx([Option<idx::Files>; 3]),
    Cifar([Option<cifar::Batches>; 3]),
}

/// Which images of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The training or the test images.
    Split(Split),
    /// Images held out for validation, if the set has such a part.
    Validation,
    /// All of a set without parts, or the first part.
    Whole,
}

impl OwnImages {
    /// Finds out what is at `path`. Images are not read yet.
    pub fn find(path: &Path) -> Result<Self> {
        let format = if path.is_dir() {
            match (idx::parts(path)?, cifar::parts(path)?) {
                (Some(parts), _) => Format::Idx(parts),
                (None, Some(parts)) => Format::Cifar(parts),
                (None, None) => Format::Folder(folder::parts(path)?),
            }
        } else {
            let found = std::fs::metadata(path)
                .with_context(|| format!("{}: there is no such folder or file", path.display()))?;
            let shown = path.display();
            ensure!(found.is_file(), "{shown} is neither a folder nor a regular file");
            let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase());
            let ending = ending.unwrap_or_default();
            ensure!(
                !folder::ENDINGS.contains(&ending.as_str()),
                "{shown} is a single picture; give the folder that holds it"
            );
            match ending.as_str() {
                "npz" | "npy" => Format::Arrays(arrays::parts(path)?),
                _ => Format::Idx(idx::parts_of_file(path)?),
            }
        };
        Ok(Self { path: path.to_owned(), format })
    }

    /// Which of the parts for training, testing and validation exist. A set without parts has one.
    fn parts(&self) -> [bool; 3] {
        match &self.format {
            Format::Folder(parts) => parts.each_ref().map(Option::is_some),
            Format::Arrays(parts) => parts.each_ref().map(Option::is_some),
            Format::Idx(parts) => parts.each_ref().map(Option::is_some),
            Format::Cifar(parts) => parts.each_ref().map(Option::is_some),
        }
    }

    /// Whether test images are a part of their own.
    pub fn has_test(&self) -> bool {
        self.parts()[1]
    }

    /// Whether images for validation are a part of their own.
    pub fn has_validation(&self) -> bool {
        self.parts()[2]
    }

    /// Reads a part, in the shape of the first image unless another is given, and prints in a line
    /// what was read, converted and left out, once for each part.
    pub fn read(&self, part: Part, shape: Option<ImageShape>) -> Result<(ImageSet, Report)> {
        let (index, split) = match part {
            Part::Split(Split::Test) if self.has_test() => (1, None),
            Part::Split(split) => (0, (!self.has_test()).then_some(split)),
            Part::Validation => (2, None),
            Part::Whole => (0, None),
        };
        let shown = self.path.display().to_string();
        let what = match part {
            Part::Split(Split::Train) => "training images",
            Part::Split(Split::Test) => "test images",
            Part::Validation => "validation images",
            Part::Whole => "images",
        };
        let wanted = Wanted { name: &shown, split, shape };
        let missing = || format!("{shown} has no {what}");
        let (set, mut report) = match &self.format {
            Format::Folder(parts) => {
                folder::read(parts[index].as_ref().with_context(missing)?, parts, &wanted)
            }
            Format::Arrays(parts) => {
                let part = parts[index].as_ref().with_context(missing)?;
                arrays::read(&self.path, part, parts, &wanted)
            }
            Format::Idx(parts) => idx::read(parts[index].as_ref().with_context(missing)?, &wanted),
            Format::Cifar(parts) => {
                cifar::read(parts[index].as_ref().with_context(missing)?, &wanted)
            }
        }?;
        if self.has_validation() && part == Part::Split(Split::Train) {
            report.note("without those for validation");
        }
        let more = if report.is_empty() { String::new() } else { format!(" ({report})") };
        print_once(&format!("{shown}: {} {what}{more}", set.len()));
        Ok((set, report))
    }
}

/// Prints a line unless this process has printed it already.
pub(crate) fn print_once(line: &str) {
    static PRINTED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let is_new = PRINTED.lock().is_ok_and(|mut printed| printed.insert(line.to_owned()));
    if is_new {
        terminal::line(line);
    }
}
