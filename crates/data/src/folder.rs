//! Folders of pictures, with or without subfolders for classes.

use std::{collections::BTreeSet, ffi::OsStr, fs, path::Path, path::PathBuf};

use anyhow::{Context, Result, ensure};

use crate::convert::{Raw, Wanted, gather};
use crate::labels::{Labels, numbered};
use crate::{ImageSet, report::Report};

/// File name endings of pictures.
pub(crate) const ENDINGS: [&str; 6] = ["png", "jpg", "jpeg", "gif", "webp", "bmp"];
/// What file managers and archives leave in folders, besides hidden files.
const RUBBISH: [&str; 4] = ["Thumbs.db", "desktop.ini", "__MACOSX", "Icon\r"];
/// Names of the subfolders of each part.
const PARTS: [&[&str]; 3] = [&["train"], &["test"], &["valid", "val", "validation"]];

/// The files of a folder and its subfolders.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// The names of the subfolders with pictures, one for each class.
    classes: BTreeSet<String>,
    /// Pictures, each with its class if it is in a subfolder.
    pictures: Vec<(PathBuf, Option<String>)>,
    /// Files that are left out: those that are no pictures, and those that are no regular files.
    others: [Vec<String>; 2],
}

/// The subfolders `train`, `test` and `valid` of a folder that has them, otherwise the folder.
pub(crate) fn parts(folder: &Path) -> Result<[Option<PathBuf>; 3]> {
    let folders: Vec<PathBuf> = sorted(folder)?.into_iter().filter(|path| path.is_dir()).collect();
    let part = |names: &[&str]| {
        let is = |path: &&PathBuf| {
            let name = name_of(path).to_lowercase();
            names.contains(&name.as_str())
        };
        folders.iter().find(is).cloned()
    };
    let parts = PARTS.map(part);
    Ok(if parts[0].is_some() { parts } else { [Some(folder.to_owned()), None, None] })
}

/// Reads those of the pictures in `part`, one of `parts`, that are wanted.
pub(crate) fn read(
    part: &Path,
    parts: &[Option<PathBuf>; 3],
    wanted: &Wanted<'_>,
) -> Result<(ImageSet, Report)> {
    let listing = Listing::of(part)?;
    // Over all parts, so that a class has one number in each, even if one lacks it.
    let mut classes = listing.classes.clone();
    for other in parts.iter().flatten().filter(|other| *other != part) {
        classes.extend(Listing::of(other)?.classes);
    }
    let Listing { pictures, others, .. } = listing;
    ensure!(
        !pictures.is_empty(),
        "the folder {} holds no pictures ({})",
        part.display(),
        ENDINGS.join(", ")
    );
    let mut rows = pictures.iter().map(|(path, _)| Ok(Raw::File(path.clone())));
    let mut found = gather(wanted, pictures.len(), &mut rows)
        .with_context(|| format!("cannot use the folder {}", part.display()))?;
    for (left_out, what) in
        others.iter().zip(["not PNG, JPEG, GIF, WebP or BMP", "not regular files"])
    {
        if let Some(first) = left_out.first() {
            let more = if left_out.len() > 1 { ", ..." } else { "" };
            found.report.note(format!("{} left out, {what} ({first}{more})", left_out.len()));
        }
    }
    found.with(labels(&wanted.of(pictures), &classes))
}

fn labels(pictures: &[(PathBuf, Option<String>)], classes: &BTreeSet<String>) -> Labels {
    let of_pictures: Option<Vec<&str>> =
        pictures.iter().map(|(_, class)| class.as_deref()).collect();
    match of_pictures {
        Some(of_pictures) => numbered(&of_pictures, classes),
        None if classes.is_empty() => Labels::default(),
        None => Labels::none("some pictures are not in a class folder"),
    }
}

impl Listing {
    /// Lists a folder and its subfolders, each by the names of its files.
    fn of(folder: &Path) -> Result<Self> {
        let mut found = Self::default();
        let (classes, files): (Vec<_>, Vec<_>) =
            sorted(folder)?.into_iter().partition(|path| path.is_dir());
        for path in files {
            found.add(path, None);
        }
        for class in classes {
            for path in sorted(&class)? {
                ensure!(
                    !path.is_dir(),
                    "{} is too deep: a class folder holds pictures only",
                    path.display()
                );
                found.add(path, Some(name_of(&class)));
            }
        }
        found.classes = found.pictures.iter().filter_map(|(_, class)| class.clone()).collect();
        Ok(found)
    }

    fn add(&mut self, path: PathBuf, class: Option<String>) {
        let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase());
        if !fs::metadata(&path).is_ok_and(|found| found.is_file()) {
            self.others[1].push(name_of(&path));
        } else if ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str())) {
            self.pictures.push((path, class));
        } else {
            self.others[0].push(name_of(&path));
        }
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The entries of a folder by name, without hidden files and rubbish.
pub(crate) fn sorted(folder: &Path) -> Result<Vec<PathBuf>> {
    let list = || -> std::io::Result<Vec<PathBuf>> {
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
    };
    let mut paths =
        list().with_context(|| format!("cannot list the folder {}", folder.display()))?;
    let ignored = |name: &OsStr| {
        name.as_encoded_bytes().starts_with(b".") || RUBBISH.iter().any(|rubbish| name == *rubbish)
    };
    paths.retain(|path| !path.file_name().is_some_and(ignored));
    paths.sort();
    Ok(paths)
}
