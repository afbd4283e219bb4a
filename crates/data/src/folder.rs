//! Folders of pictures (PNG, JPEG or GIF), with or without subfolders for classes.

use std::{ffi::OsStr, fs, path::Path, path::PathBuf};

use anyhow::{Context, Result, bail, ensure};
use image::DynamicImage;

use crate::convert::{Converted, gather, require_grey};
use crate::{ImageSet, ImageShape};

/// File name endings of pictures.
pub(crate) const ENDINGS: [&str; 4] = ["png", "jpg", "jpeg", "gif"];

/// The files of a folder and its subfolders.
#[derive(Debug)]
pub(crate) struct Listing {
    /// The subfolders, one for each class.
    pub(crate) classes: Vec<PathBuf>,
    /// Pictures, each with the index of its class if it is in a subfolder.
    pub(crate) pictures: Vec<(PathBuf, Option<usize>)>,
    /// Files that are not pictures.
    pub(crate) others: Vec<(PathBuf, Option<usize>)>,
}

/// Reads all pictures of a folder, in the order of their names, unchanged.
///
/// Pictures are in the folder itself and have no labels, or in subfolders named by the numbers of
/// their classes. Hidden files are ignored; every other file must be a picture. A colour picture is
/// accepted if all its pixels are grey. Errors name the file.
pub fn read(folder: &Path) -> Result<ImageSet> {
    let Listing { classes, pictures, others } = list(folder)?;
    let has_files = pictures.iter().chain(&others).any(|(_, class)| class.is_none());
    ensure!(
        !has_files || classes.is_empty(),
        "{} holds both files and folders: keep either pictures or class folders",
        folder.display()
    );
    if let Some((other, _)) = others.first() {
        bail!(
            "{} is not a picture: its name should end in {}; move it out of the folder",
            other.display(),
            ENDINGS.map(|ending| format!(".{ending}")).join(", ")
        );
    }
    let label = |class: &PathBuf| -> Result<u8> {
        let label = class.file_name().and_then(|name| name.to_str()?.parse().ok());
        label.with_context(|| {
            format!("{} is not a class: class folders are named 0 to 255", class.display())
        })
    };
    let labels: Vec<u8> = classes.iter().map(label).collect::<Result<_>>()?;
    let (first, _) = pictures.first().with_context(|| {
        format!(
            "the folder {} holds no pictures: put {} files into it, or into subfolders 0, 1, 2 ...",
            folder.display(),
            ENDINGS.join(", ")
        )
    })?;
    let (width, height) = decode(first, require_grey)?.dimensions();
    let shape = ImageShape::grey(height as usize, width as usize);
    let (images, _) =
        gather(pictures.len(), shape, |index| unchanged(&pictures[index].0, first, shape))?;
    ImageSet::with(
        images,
        pictures.iter().map(|(_, class)| Some(labels[(*class)?])).collect(),
        shape,
    )
}

/// Lists a folder and its subfolders, each by the names of its files.
pub(crate) fn list(folder: &Path) -> Result<Listing> {
    let (classes, files): (Vec<_>, Vec<_>) = sorted(folder)?.into_iter().partition(|p| p.is_dir());
    let mut files: Vec<_> = files.into_iter().map(|path| (path, None)).collect();
    for (index, class) in classes.iter().enumerate() {
        for path in sorted(class)? {
            ensure!(
                !path.is_dir(),
                "{} is too deep: a class folder holds pictures only",
                path.display()
            );
            files.push((path, Some(index)));
        }
    }
    let (pictures, others) = files.into_iter().partition(|(path, _)| is_picture(path));
    Ok(Listing { classes, pictures, others })
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
pub(crate) fn decode<T>(path: &Path, convert: impl Fn(DynamicImage) -> Result<T>) -> Result<T> {
    let read = || convert(image::load_from_memory(&fs::read(path)?)?);
    read().with_context(|| format!("cannot use the picture {}", path.display()))
}

/// Whether the file name has the ending of a picture.
fn is_picture(path: &Path) -> bool {
    let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase());
    ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str()))
}

/// The entries of a folder by name, without hidden files.
fn sorted(folder: &Path) -> Result<Vec<PathBuf>> {
    let list = || -> std::io::Result<Vec<PathBuf>> {
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
    };
    let mut paths =
        list().with_context(|| format!("cannot list the folder {}", folder.display()))?;
    let hidden = |name: &OsStr| name.as_encoded_bytes().starts_with(b".");
    paths.retain(|path| !path.file_name().is_some_and(hidden));
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
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
