//! A person's own images as a data set: a folder of pictures, or arrays in a `.npz` or `.npy` file,
//! made grey and of one size.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use image::imageops::{self, FilterType};
use image::{DynamicImage, GrayImage};
use rayon::prelude::*;

use super::{CLASSES, ImageSet, Split, Verbosity, arrays, folder};
use crate::npz;

/// Of images without a split of their own every tenth, in their order, is for testing.
const TEST_EVERY: usize = 10;

/// Names of arrays with a split: images and labels for training, then for testing.
const SPLIT_ARRAYS: [[&str; 4]; 2] = [
    ["x_train", "y_train", "x_test", "y_test"],
    ["train_images", "train_labels", "test_images", "test_labels"],
];

/// Loads one part of the images at `path`, `side` pixels high and wide.
///
/// - A folder holds pictures, or a subfolder for each of at most ten classes. Two subfolders `train`
///   and `test`, each such a folder, are the two parts.
/// - A `.npz` file holds arrays `x_train` and `x_test` (with `y_train`, `y_test`), or `train_images`
///   and `test_images` (with `train_labels`, `test_labels`), or `images` (with `labels`), or one array.
///
/// Without parts, every tenth image is for testing. Colours become grey, transparency black; images
/// of another size are scaled until they fit, with black borders where they are not square. What was
/// changed is said.
///
/// # Errors
///
/// When there are no images, or one cannot be read; the message names the file.
pub fn load(
    path: &Path,
    split: Split,
    side: usize,
    verbosity: Verbosity,
) -> anyhow::Result<ImageSet> {
    let (set, changes) = if path.is_dir() {
        from_folder(path, split, side)?
    } else if path.is_file() {
        from_arrays(path, split, side)?
    } else {
        bail!(
            "data.dataset = {}: there is no such folder or file; name a folder of pictures, a .npz \
             or .npy file, or one of mnist, fashion-mnist, synthetic",
            path.display()
        );
    };
    let mut told: Vec<String> = Vec::new();
    for (count, what) in [
        (changes.resized, format!("resized to {side}x{side}")),
        (changes.coloured, "converted to grey".to_owned()),
        (changes.skipped, "passed over, being no pictures".to_owned()),
    ] {
        if count > 0 {
            told.push(format!("{count} {what}"));
        }
    }
    let part = match split {
        Split::Train => "training",
        Split::Test => "test",
    };
    let told = if told.is_empty() { String::new() } else { format!(" ({})", told.join(", ")) };
    verbosity.line(&format!("{}: {} {part} images{told}", path.display(), set.len()));
    Ok(set)
}

/// What had to be done to the images.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Changes {
    resized: usize,
    coloured: usize,
    skipped: usize,
}

fn from_folder(path: &Path, split: Split, side: usize) -> anyhow::Result<(ImageSet, Changes)> {
    let parts = ["train", "test"].map(|part| path.join(part));
    let mut changes = Changes::default();
    let found = if parts.iter().all(|part| part.is_dir()) {
        pictures(&parts[split as usize], &mut changes)?
    } else {
        let all = pictures(path, &mut changes)?;
        held_out(all.len(), split).map(|index| all[index].clone()).collect()
    };
    ensure!(!found.is_empty(), "{}", none(path, split));
    let read: Vec<_> = found
        .par_iter()
        .map(|(path, _)| {
            let picture = std::fs::read(path)
                .map_err(anyhow::Error::from)
                .and_then(|bytes| Ok(image::load_from_memory(&bytes)?));
            picture
                .map(|picture| convert(picture, side))
                .with_context(|| format!("cannot use the picture {}", path.display()))
        })
        .collect::<anyhow::Result<_>>()?;
    let mut images = Vec::with_capacity(read.len() * side * side);
    for (pixels, resized, coloured) in read {
        images.extend(pixels);
        changes.resized += usize::from(resized);
        changes.coloured += usize::from(coloured);
    }
    let labels = found.into_iter().map(|(_, label)| label).collect();
    Ok((ImageSet::new(images, labels, side, side)?, changes))
}

fn none(path: &Path, split: Split) -> String {
    let few = match split {
        Split::Train => "",
        Split::Test => "; without parts of their own every tenth is for testing, so it takes ten",
    };
    format!("{} holds too few pictures ({}){few}", path.display(), folder::ENDINGS.join(", "))
}

/// The pictures of a folder with their labels: the number of the subfolder if there are at most ten.
fn pictures(path: &Path, changes: &mut Changes) -> anyhow::Result<Vec<(PathBuf, u8)>> {
    let (mut found, mut classes) = (Vec::new(), Vec::new());
    let mut take = |path: PathBuf, label: u8| {
        let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase());
        if ending.is_some_and(|ending| folder::ENDINGS.contains(&ending.as_str())) {
            found.push((path, label));
        } else {
            changes.skipped += 1;
        }
    };
    for path in folder::sorted(path)? {
        if path.is_dir() { classes.push(path) } else { take(path, 0) }
    }
    let many = classes.len() > usize::from(CLASSES);
    for (class, label) in classes.iter().zip(0_u8..=u8::MAX) {
        for path in folder::sorted(class)? {
            ensure!(!path.is_dir(), "{} lies too deep for a folder of a class", path.display());
            take(path, if many { 0 } else { label });
        }
    }
    Ok(found)
}

/// The indices of `count` images that belong to `split`.
fn held_out(count: usize, split: Split) -> impl Iterator<Item = usize> {
    let test = move |index: &usize| index % TEST_EVERY == TEST_EVERY - 1;
    (0..count).filter(move |index| test(index) == (split == Split::Test))
}

fn from_arrays(path: &Path, split: Split, side: usize) -> anyhow::Result<(ImageSet, Changes)> {
    let packed = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("npz"));
    let names = if packed { npz::names(path)? } else { Vec::new() };
    let has = |name: &str| names.iter().any(|n| n == name);
    let parts = SPLIT_ARRAYS.iter().find(|arrays| has(arrays[0]) && has(arrays[2]));
    let (set, rows): (ImageSet, Vec<usize>) = if let Some(arrays) = parts {
        let [images, labels] = match split {
            Split::Train => [arrays[0], arrays[1]],
            Split::Test => [arrays[2], arrays[3]],
        };
        let set = arrays::read_named(path, images, has(labels).then_some(labels))?;
        let rows = (0..set.len()).collect();
        (set, rows)
    } else {
        let set = arrays::read(path)?;
        let rows = held_out(set.len(), split).collect();
        (set, rows)
    };
    ensure!(!rows.is_empty(), "{} holds too few images; it takes ten", path.display());
    let mut changes = Changes::default();
    let (height, width) = (set.height() as u32, set.width() as u32);
    let mut images = Vec::with_capacity(rows.len() * side * side);
    let mut labels = Vec::with_capacity(rows.len());
    for row in rows {
        let picture = GrayImage::from_raw(width, height, set.image(row).to_vec())
            .context("an image of that size")?;
        let (pixels, resized, _) = convert(DynamicImage::ImageLuma8(picture), side);
        images.extend(pixels);
        labels.push(set.labels()[row]);
        changes.resized += usize::from(resized);
    }
    Ok((ImageSet::new(images, labels, side, side)?, changes))
}

/// `side` by `side` grey values, and whether the picture was resized and coloured.
fn convert(picture: DynamicImage, side: usize) -> (Vec<u8>, bool, bool) {
    let plain = matches!(picture, DynamicImage::ImageLuma8(_));
    let (grey, coloured) = if plain {
        (picture.into_luma8(), false)
    } else {
        let rgba = picture.into_rgba8();
        let coloured = rgba.pixels().any(|p| p.0[0] != p.0[1] || p.0[1] != p.0[2] || p.0[3] != 255);
        let mut grey = DynamicImage::ImageRgba8(rgba.clone()).into_luma8();
        for (grey, pixel) in grey.pixels_mut().zip(rgba.pixels()) {
            let opaque = u16::from(pixel.0[3]);
            grey.0[0] = (u16::from(grey.0[0]) * opaque / 255) as u8;
        }
        (grey, coloured)
    };
    let side = side as u32;
    let (width, height) = grey.dimensions();
    if (width, height) == (side, side) {
        return (grey.into_raw(), false, coloured);
    }
    let scaled = |length: u32| {
        let longest = u64::from(width.max(height));
        let length = (u64::from(length) * u64::from(side) + longest / 2) / longest;
        (length as u32).clamp(1, side)
    };
    let (inner_width, inner_height) = (scaled(width), scaled(height));
    let inner = imageops::resize(&grey, inner_width, inner_height, FilterType::Triangle);
    let mut framed = GrayImage::new(side, side);
    let (left, top) = ((side - inner_width) / 2, (side - inner_height) / 2);
    imageops::replace(&mut framed, &inner, left.into(), top.into());
    (framed.into_raw(), true, coloured)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use std::fs;

    use image::{Luma, Rgb, RgbImage};

    use super::*;
    use crate::npz::{Array, save};

    fn grey(path: &Path, width: u32, height: u32, shade: u8) {
        GrayImage::from_pixel(width, height, Luma([shade])).save(path).unwrap();
    }

    #[test]
    fn a_folder_is_split_resized_and_made_grey() {
        let root = tempfile::tempdir().unwrap();
        for index in 0..19 {
            grey(&root.path().join(format!("{index:02}.png")), 28, 28, index);
        }
        RgbImage::from_pixel(56, 28, Rgb([255, 0, 0])).save(root.path().join("99.png")).unwrap();
        fs::write(root.path().join("notes.txt"), "not a picture").unwrap();
        let (train, of_train) = from_folder(root.path(), Split::Train, 28).unwrap();
        let (test, of_test) = from_folder(root.path(), Split::Test, 28).unwrap();
        assert_eq!((train.len(), test.len()), (18, 2));
        assert_eq!(of_train, Changes { skipped: 1, ..Changes::default() });
        assert_eq!(of_test, Changes { resized: 1, coloured: 1, skipped: 1 });
        assert_eq!((train.image(9)[0], test.image(0)[0]), (10, 9));
        // Twice as wide as high: scaled by a half, with seven black rows above and below.
        let framed = test.image(1);
        let column: Vec<bool> = (0..28).map(|row| framed[row * 28 + 14] > 0).collect();
        assert_eq!(column.iter().position(|&lit| lit), Some(7));
        assert_eq!(column.iter().filter(|&&lit| lit).count(), 14);
    }

    #[test]
    fn parts_and_classes_of_a_folder_are_found() {
        let root = tempfile::tempdir().unwrap();
        for (place, shade) in [("train/cat", 1), ("train/dog", 2), ("test/dog", 3)] {
            fs::create_dir_all(root.path().join(place)).unwrap();
            grey(&root.path().join(place).join("a.png"), 28, 28, shade);
        }
        let (train, _) = from_folder(root.path(), Split::Train, 28).unwrap();
        assert_eq!((train.labels(), train.image(1)[0]), ([0, 1].as_slice(), 2));
        let (test, _) = from_folder(root.path(), Split::Test, 28).unwrap();
        assert_eq!((test.len(), test.image(0)[0]), (1, 3));
    }

    #[test]
    fn arrays_with_and_without_parts_are_read() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("set.npz");
        let bytes: Vec<u8> = (0..40).collect();
        let array = |shape: &[usize]| Array::U8 {
            shape: shape.to_vec(),
            values: &bytes[..shape.iter().product()],
        };
        save(&path, &[("images", array(&[10, 2, 2]))]).unwrap();
        let (test, changes) = from_arrays(&path, Split::Test, 2).unwrap();
        assert_eq!((test.len(), test.bytes()), (1, &bytes[36..]));
        assert_eq!(changes, Changes::default());
        let (train, changes) = from_arrays(&path, Split::Train, 4).unwrap();
        assert_eq!((train.len(), train.pixels(), changes.resized), (9, 16, 9));
        let labels = Array::I64 { shape: vec![1], values: &[6] };
        save(&path, &[("x_train", array(&[2, 4])), ("x_test", array(&[1, 4])), ("y_test", labels)])
            .unwrap();
        assert_eq!(from_arrays(&path, Split::Train, 2).unwrap().0.labels(), [0, 0]);
        assert_eq!(from_arrays(&path, Split::Test, 2).unwrap().0.labels(), [6]);
    }

    #[test]
    fn what_cannot_be_a_set_is_told() {
        let root = tempfile::tempdir().unwrap();
        let error = |path: &Path, split| {
            format!("{:#}", load(path, split, 28, Verbosity::Quiet).unwrap_err())
        };
        assert!(error(&root.path().join("none"), Split::Train).contains("no such folder"));
        assert!(error(root.path(), Split::Train).contains("too few pictures"));
        let broken = root.path().join("a.png");
        fs::write(&broken, "<html>").unwrap();
        assert!(error(root.path(), Split::Train).contains("a.png"));
    }
}
