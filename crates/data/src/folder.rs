//! Folders of pictures (PNG, JPEG or GIF), with or without subfolders for classes.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use image::DynamicImage;

use crate::convert::{Changes, Converted, convert, gather, require_grey};
use crate::set::ImageSet;
use crate::shape::ImageShape;

/// File name endings of pictures.
pub(crate) const ENDINGS: [&str; 4] = ["png", "jpg", "jpeg", "gif"];

/// What a folder may hold, and what becomes of its pictures.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rules<'a> {
    /// Nothing but pictures, either all in the folder itself or all in subfolders named by the
    /// numbers of their classes. Pictures must be grey and of one size.
    Strict,
    /// Other files are skipped and pictures are converted to `shape`. A label is the index of the
    /// subfolder's name in `classes`.
    Lenient { classes: &'a [OsString], shape: ImageShape },
}

/// The pictures of a folder with their labels.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) pictures: Vec<(PathBuf, Option<u8>)>,
    skipped: usize,
}

/// Reads all pictures of a folder, in the order of their names, unchanged.
///
/// Pictures are in the folder itself and have no labels, or in subfolders named by the numbers of
/// their classes. Hidden files are ignored; every other file must be a picture. A colour picture
/// is accepted if all its pixels are grey.
///
/// # Errors
///
/// When there is no picture, or a file is not a picture, damaged, coloured, transparent or of
/// another size than the first; the message names the file.
pub fn read(folder: &Path) -> Result<ImageSet> {
    let listing = list(folder, Rules::Strict)?;
    ensure!(
        !listing.pictures.is_empty(),
        "the folder {} holds no pictures: put {} files into it, or into subfolders 0, 1, 2 ...",
        folder.display(),
        ENDINGS.join(", ")
    );
    let (set, _) = listing.read(Rules::Strict)?;
    Ok(set)
}

/// Lists the pictures of a folder and its subfolders.
pub(crate) fn list(folder: &Path, rules: Rules<'_>) -> Result<Listing> {
    let (classes, files): (Vec<_>, Vec<_>) = sorted(folder)?.into_iter().partition(|p| p.is_dir());
    let is_mixed = !files.is_empty() && !classes.is_empty();
    ensure!(
        !(is_mixed && matches!(rules, Rules::Strict)),
        "{} holds both files and folders: keep either pictures or class folders",
        folder.display()
    );
    let mut listing = Listing::default();
    listing.add(files, None, rules)?;
    for class in classes {
        let label = label(&class, rules)?;
        let files = sorted(&class)?;
        if let Some(deep) = files.iter().find(|path| path.is_dir()) {
            bail!("{} is too deep: a class folder holds pictures only", deep.display());
        }
        listing.add(files, label, rules)?;
    }
    Ok(listing)
}

/// The label of the pictures in a class folder.
fn label(folder: &Path, rules: Rules<'_>) -> Result<Option<u8>> {
    let name = folder.file_name();
    match rules {
        Rules::Strict => {
            let label = name.and_then(|name| name.to_str()?.parse().ok());
            label.map(Some).with_context(|| {
                format!("{} is not a class: class folders are named 0 to 255", folder.display())
            })
        }
        Rules::Lenient { classes, .. } => {
            let index = classes.iter().position(|class| Some(class.as_os_str()) == name);
            Ok(index.and_then(|index| u8::try_from(index).ok()))
        }
    }
}

impl Listing {
    fn add(&mut self, files: Vec<PathBuf>, label: Option<u8>, rules: Rules<'_>) -> Result<()> {
        for path in files {
            if is_picture(&path) {
                self.pictures.push((path, label));
                continue;
            }
            ensure!(
                matches!(rules, Rules::Lenient { .. }),
                "{} is not a picture: its name should end in {}; move it out of the folder",
                path.display(),
                ENDINGS.map(|ending| format!(".{ending}")).join(", ")
            );
            self.skipped += 1;
        }
        Ok(())
    }

    /// Decodes the pictures, of which there must be at least one.
    pub(crate) fn read(&self, rules: Rules<'_>) -> Result<(ImageSet, Changes)> {
        let (first, _) = self.pictures.first().context("there are no pictures")?;
        let shape = match rules {
            Rules::Lenient { shape, .. } => shape,
            Rules::Strict => {
                let (width, height) = decode(first, require_grey)?.dimensions();
                ImageShape::grey(height as usize, width as usize)
            }
        };
        let (images, mut changes) = gather(self.pictures.len(), shape, |index| {
            let (path, _) = &self.pictures[index];
            match rules {
                Rules::Lenient { .. } => decode(path, |picture| Ok(convert(picture, shape))),
                Rules::Strict => unchanged(path, first, shape),
            }
        })?;
        changes.skipped = self.skipped;
        let labels: Option<Vec<u8>> = self.pictures.iter().map(|(_, label)| *label).collect();
        let set = match labels {
            Some(labels) => ImageSet::new(images, labels, shape)?,
            None => ImageSet::unlabelled(images, shape)?,
        };
        Ok((set, changes))
    }
}

/// The pixels of a grey picture, which must be of the size of the first.
fn unchanged(path: &Path, first: &Path, shape: ImageShape) -> Result<Converted> {
    let picture = decode(path, require_grey)?;
    let (width, height) = picture.dimensions();
    ensure!(
        (width as usize, height as usize) == (shape.width, shape.height),
        "{} has {width}x{height} pixels, but {} has {}x{}: all pictures must have one size",
        path.display(),
        first.display(),
        shape.width,
        shape.height
    );
    Ok(Converted { pixels: picture.into_raw(), resized: false, coloured: false })
}

/// Decodes a picture by its content, as endings may be wrong.
fn decode<T>(path: &Path, convert: impl Fn(DynamicImage) -> Result<T>) -> Result<T> {
    let read = || convert(image::load_from_memory(&fs::read(path)?)?);
    read().with_context(|| format!("cannot use the picture {}", path.display()))
}

/// Whether the file name has the ending of a picture.
pub(crate) fn is_picture(path: &Path) -> bool {
    let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase());
    ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str()))
}

/// The entries of a folder by name, without hidden files.
pub(crate) fn sorted(folder: &Path) -> Result<Vec<PathBuf>> {
    let list = || -> std::io::Result<Vec<PathBuf>> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if !entry.file_name().as_encoded_bytes().starts_with(b".") {
                paths.push(entry.path());
            }
        }
        Ok(paths)
    };
    let mut paths =
        list().with_context(|| format!("cannot list the folder {}", folder.display()))?;
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use image::{GrayImage, RgbImage};

    use super::*;

    fn shade(width: u32, height: u32, shade: u8) -> GrayImage {
        let mut image = GrayImage::from_pixel(width, height, image::Luma([shade]));
        image.put_pixel(0, 0, image::Luma([shade / 2]));
        image
    }

    fn error(folder: &Path) -> String {
        format!("{:#}", read(folder).unwrap_err())
    }

    #[test]
    fn pictures_come_in_the_order_of_their_names() {
        let root = tempfile::tempdir().unwrap();
        for (name, value) in [("b.png", 20), ("a.png", 10), ("c.png", 200)] {
            shade(3, 2, value).save(root.path().join(name)).unwrap();
        }
        fs::write(root.path().join(".hidden"), "x").unwrap();
        let set = read(root.path()).unwrap();
        assert_eq!((set.len(), set.shape()), (3, ImageShape::grey(2, 3)));
        assert_eq!(set.image(0), [5, 10, 10, 10, 10, 10]);
        assert_eq!(set.image(1), [10, 20, 20, 20, 20, 20]);
        assert_eq!(set.image(2), [100, 200, 200, 200, 200, 200]);
        assert_eq!(set.labels(), [0, 0, 0]);
    }

    #[test]
    fn class_folders_give_labels() {
        let root = tempfile::tempdir().unwrap();
        for (class, value) in [("7", 30), ("1", 40)] {
            fs::create_dir(root.path().join(class)).unwrap();
            shade(2, 2, value).save(root.path().join(class).join("x.png")).unwrap();
        }
        let set = read(root.path()).unwrap();
        assert_eq!((set.labels(), set.image(0)[1], set.image(1)[1]), ([1, 7].as_slice(), 40, 30));
        fs::create_dir(root.path().join("cats")).unwrap();
        assert!(error(root.path()).contains("cats is not a class"));
    }

    #[test]
    fn grey_pictures_in_colour_formats_are_read() {
        let root = tempfile::tempdir().unwrap();
        let mut picture = RgbImage::from_pixel(2, 2, image::Rgb([9, 9, 9]));
        picture.save(root.path().join("a.png")).unwrap();
        assert_eq!(read(root.path()).unwrap().bytes(), [9; 4]);
        picture.put_pixel(1, 0, image::Rgb([9, 9, 10]));
        picture.save(root.path().join("b.png")).unwrap();
        let message = error(root.path());
        assert!(message.contains("b.png") && message.contains("column 1, row 0"), "{message}");
    }

    #[test]
    fn errors_name_the_file() {
        let root = tempfile::tempdir().unwrap();
        assert!(error(root.path()).contains("holds no pictures"));
        assert!(error(&root.path().join("none")).contains("none"));
        shade(3, 2, 10).save(root.path().join("a.png")).unwrap();
        let b = root.path().join("b.png");
        shade(2, 3, 10).save(&b).unwrap();
        let message = error(root.path());
        assert!(message.contains("b.png has 2x3 pixels") && message.contains("3x2"), "{message}");
        fs::write(&b, "not a picture at all").unwrap();
        assert!(error(root.path()).contains("b.png"));
        let whole = fs::read(root.path().join("a.png")).unwrap();
        fs::write(&b, &whole[..whole.len() - 20]).unwrap();
        assert!(error(root.path()).contains("b.png"));
        fs::rename(&b, root.path().join("labels.csv")).unwrap();
        let message = error(root.path());
        assert!(message.contains("labels.csv is not a picture"), "{message}");
        fs::remove_file(root.path().join("labels.csv")).unwrap();
        image::ImageBuffer::<image::Luma<u16>, _>::from_raw(3, 2, vec![1_u16; 6])
            .unwrap()
            .save(&b)
            .unwrap();
        assert!(error(root.path()).contains("more than 8 bits"));
    }
}
