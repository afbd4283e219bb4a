//! Folders of pictures: PNG, JPEG or GIF, grey and all of one size.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use image::DynamicImage;
use rayon::prelude::*;

use crate::{CLASSES, ImageSet};

/// Endings of the pictures that can be read.
pub(super) const ENDINGS: [&str; 4] = ["png", "jpg", "jpeg", "gif"];

/// Reads all pictures of a folder, in the order of their names.
///
/// Pictures lie in the folder itself and then have no labels, or in subfolders named after their
/// class, `0` to `9`. Hidden files are passed over; anything else must be a picture. A colour
/// picture is taken if all its pixels are grey.
///
/// # Errors
///
/// When there is no picture, or a file is no picture, damaged, coloured, transparent or of another
/// size than the first; the message names the file.
pub fn read(folder: &Path) -> anyhow::Result<ImageSet> {
    let entries = pictures(folder)?;
    let Some(((first, _), _)) = entries.split_first() else {
        bail!(
            "the folder {} holds no pictures: put {} files into it, or into subfolders 0 to 9",
            folder.display(),
            ENDINGS.join(", ")
        );
    };
    let size = decode(first)?.dimensions();
    // Limited pieces, so that the decoded pictures never stand in memory twice.
    let mut images = Vec::with_capacity(entries.len() * (size.0 * size.1) as usize);
    for piece in entries.chunks(1024) {
        let decoded: Vec<_> = piece
            .par_iter()
            .map(|(path, _)| pixels(path, first, size))
            .collect::<Result<_, _>>()?;
        for pixels in decoded {
            images.extend(pixels);
        }
    }
    let labels = entries.iter().map(|(_, label)| *label).collect();
    let set = ImageSet::new(images, labels, size.1 as usize, size.0 as usize)
        .with_context(|| format!("cannot use the folder {}", folder.display()))?;
    // Either all pictures lie in folders of their classes, or none.
    Ok(if first.parent() == Some(folder) { set.unlabelled() } else { set })
}

/// The paths of the pictures with their labels.
fn pictures(folder: &Path) -> anyhow::Result<Vec<(PathBuf, u8)>> {
    let (mut found, mut classes) = (Vec::new(), Vec::new());
    for path in sorted(folder)? {
        if path.is_dir() {
            classes.push(path);
        } else {
            found.push((path, 0));
        }
    }
    ensure!(
        found.is_empty() || classes.is_empty(),
        "{} holds pictures and folders side by side: keep either pictures or class folders",
        folder.display()
    );
    for class in classes {
        let label = class.file_name().and_then(|name| name.to_str()?.parse().ok());
        let Some(label) = label.filter(|label| *label < CLASSES) else {
            bail!(
                "{} is no class: folders in a folder of pictures are named 0 to 9",
                class.display()
            )
        };
        for path in sorted(&class)? {
            ensure!(!path.is_dir(), "{} lies too deep for a class folder", path.display());
            found.push((path, label));
        }
    }
    Ok(found)
}

/// What lies in a folder, by name, without hidden files.
pub(super) fn sorted(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
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

fn pixels(path: &Path, first: &Path, size: (u32, u32)) -> anyhow::Result<Vec<u8>> {
    let picture = decode(path)?;
    let (width, height) = picture.dimensions();
    ensure!(
        (width, height) == size,
        "{} has {width}x{height} pixels, but {} has {}x{}: all pictures must have one size",
        path.display(),
        first.display(),
        size.0,
        size.1
    );
    Ok(picture.into_raw())
}

/// Reads a picture as bytes of grey.
fn decode(path: &Path) -> anyhow::Result<image::GrayImage> {
    let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
    ensure!(
        ENDINGS.contains(&ending.as_str()),
        "{} is not a picture: its name should end in {}; move it out of the folder",
        path.display(),
        ENDINGS.map(|e| format!(".{e}")).join(", ")
    );
    let decode = || {
        let bytes = fs::read(path)?;
        // By content, because endings lie.
        grey(image::load_from_memory(&bytes)?)
    };
    decode().with_context(|| format!("cannot use the picture {}", path.display()))
}

fn grey(picture: DynamicImage) -> anyhow::Result<image::GrayImage> {
    let wide = picture.color().bytes_per_pixel() > picture.color().channel_count();
    ensure!(!wide, "it has more than 8 bits per channel");
    let rgba = match picture {
        DynamicImage::ImageLuma8(grey) => return Ok(grey),
        other => other.into_rgba8(),
    };
    for (x, y, pixel) in rgba.enumerate_pixels() {
        let [red, green, blue, alpha] = pixel.0;
        ensure!(alpha == u8::MAX, "it is transparent at column {x}, row {y}");
        ensure!(
            red == green && green == blue,
            "it is in colour (column {x}, row {y}); only grey pictures can be used"
        );
    }
    let (width, height) = rgba.dimensions();
    let bytes = rgba.pixels().map(|pixel| pixel.0[0]).collect();
    image::GrayImage::from_raw(width, height, bytes).context("its size changed while it was read")
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
        assert_eq!((set.len(), set.height(), set.width()), (3, 2, 3));
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
        assert!(error(root.path()).contains("cats is no class"));
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
    fn bad_folders_are_told_with_the_name_of_the_file() {
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
