//! Own images as a data set: a folder of pictures, IDX files, or arrays in a `.npz` or `.npy`
//! file, converted to grey images of one shape.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use hvae_runtime::{npz, terminal};

use crate::catalog::MNIST;
use crate::convert::{Changes, convert, gather, resize};
use crate::folder::{ENDINGS, Rules, is_picture, list, sorted};
use crate::set::{ImageSet, Split};
use crate::shape::ImageShape;
use crate::{arrays, idx};

/// Without a split of its own, every tenth image of a set is a test image.
const TEST_EVERY: usize = 10;

/// Names of arrays with a split: images and labels for training, then for testing.
const SPLIT_ARRAYS: [[&str; 4]; 2] = [
    ["x_train", "y_train", "x_test", "y_test"],
    ["train_images", "train_labels", "test_images", "test_labels"],
];

/// Loads one part of the images at `path`, converted to `shape`.
///
/// - A folder holds pictures, or a subfolder for each class; classes are numbered in the order of
///   their names. Two subfolders `train` and `test`, each such a folder, are the two parts; a
///   class has one number in both.
/// - A folder with files named as those of MNIST, `train-images-idx3-ubyte`,
///   `t10k-images-idx3-ubyte` and labels, plain or gzip, is read as IDX.
/// - A `.npz` file holds arrays `x_train` and `x_test` (with `y_train`, `y_test`), or
///   `train_images` and `test_images` (with `train_labels`, `test_labels`), or `images` (with
///   `labels`), or one array.
///
/// Without parts, every tenth image is a test image. Colours become grey, transparent parts black;
/// images of another size are scaled to fit, with black borders. Labels from 0 to 255 are kept.
///
/// # Errors
///
/// When there are no images, or one cannot be read; the message names the file.
pub fn load(path: &Path, split: Split, shape: ImageShape) -> Result<ImageSet> {
    let (set, changes) = if let Some(set) = from_idx(path, split, shape)? {
        set
    } else if path.is_dir() {
        from_folder(path, split, shape)?
    } else if path.is_file() {
        from_arrays(path, split, shape)?
    } else {
        bail!(
            "data.dataset = {}: there is no such folder or file; give a folder of pictures, a .npz \
             or .npy file, or one of mnist, fashion-mnist, synthetic",
            path.display()
        );
    };
    let part = match split {
        Split::Train => "training",
        Split::Test => "test",
    };
    let changes = changes.describe(shape);
    terminal::line(&format!("{}: {} {part} images{changes}", path.display(), set.len()));
    Ok(set)
}

/// The images of a folder with files named as those of MNIST; `None` if it lacks them.
fn from_idx(path: &Path, split: Split, shape: ImageShape) -> Result<Option<(ImageSet, Changes)>> {
    if !path.is_dir() {
        return Ok(None);
    }
    let [train, train_labels, test, test_labels] = &MNIST.files;
    let (Some(train), Some(test)) = (train.locate(path)?, test.locate(path)?) else {
        return Ok(None);
    };
    let (images, labels) = match split {
        Split::Train => (train, train_labels.locate(path)?),
        Split::Test => (test, test_labels.locate(path)?),
    };
    let mut set = idx::read(&images)?;
    if let Some(labels) = labels {
        set = set
            .with_labels(idx::read_labels(&labels)?)
            .with_context(|| path.display().to_string())?;
    }
    ensure!(!set.is_empty(), "{} holds no image", images.display());
    resize(set, shape).map(Some)
}

fn from_folder(path: &Path, split: Split, shape: ImageShape) -> Result<(ImageSet, Changes)> {
    let parts = ["train", "test"].map(|part| path.join(part));
    let has_parts = parts.iter().all(|part| part.is_dir());
    // Over both parts, so that a class has one number in both, even if one lacks it.
    let classes = if has_parts { classes(&parts)? } else { classes(&[path.to_owned()])? };
    let rules = Rules::Lenient { classes: &classes, shape };
    let mut listing = list(if has_parts { &parts[split as usize] } else { path }, rules)?;
    let has_labels = listing.pictures.iter().filter(|(_, label)| label.is_some()).count();
    let unlabelled = if classes.len() > 1 + usize::from(u8::MAX) {
        Some("labels dropped, there are more than 256 classes")
    } else if has_labels > 0 && has_labels < listing.pictures.len() {
        Some("labels dropped, some pictures are not in a class folder")
    } else {
        None
    };
    if unlabelled.is_some() {
        listing.pictures.iter_mut().for_each(|(_, label)| *label = None);
    }
    if !has_parts {
        let all = std::mem::take(&mut listing.pictures);
        listing.pictures = held_out(all.len(), split).map(|index| all[index].clone()).collect();
    }
    ensure!(!listing.pictures.is_empty(), "{}", too_few(path, split));
    let (set, changes) = listing.read(rules)?;
    Ok((set, Changes { unlabelled, ..changes }))
}

fn too_few(path: &Path, split: Split) -> String {
    let few = match split {
        Split::Train => "",
        Split::Test => "; every tenth picture is a test image, so at least ten are needed",
    };
    format!("{} holds too few pictures ({}){few}", path.display(), ENDINGS.join(", "))
}

/// The names of all subfolders of `folders` that hold pictures, each once, sorted.
fn classes(folders: &[PathBuf]) -> Result<Vec<OsString>> {
    let mut names = BTreeSet::new();
    for folder in folders {
        for inside in sorted(folder)?.into_iter().filter(|path| path.is_dir()) {
            if sorted(&inside)?.iter().any(|path| is_picture(path)) {
                names.extend(inside.file_name().map(ToOwned::to_owned));
            }
        }
    }
    Ok(names.into_iter().collect())
}

/// The indices of the images in `split`, out of `count`.
fn held_out(count: usize, split: Split) -> impl Iterator<Item = usize> {
    let test = move |index: &usize| index % TEST_EVERY == TEST_EVERY - 1;
    (0..count).filter(move |index| test(index) == (split == Split::Test))
}

fn from_arrays(path: &Path, split: Split, shape: ImageShape) -> Result<(ImageSet, Changes)> {
    let is_archive = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("npz"));
    let names = if is_archive { npz::names(path)? } else { Vec::new() };
    let has = |name: &str| names.iter().any(|n| n == name);
    let parts = SPLIT_ARRAYS.iter().find(|arrays| has(arrays[0]) && has(arrays[2]));
    let of_part = parts.map(|arrays| match split {
        Split::Train => [arrays[0], arrays[1]],
        Split::Test => [arrays[2], arrays[3]],
    });
    let images = arrays::load(path, of_part)?;
    let rows: Vec<usize> = match of_part {
        Some(_) => (0..images.count).collect(),
        None => held_out(images.count, split).collect(),
    };
    ensure!(!rows.is_empty(), "{} holds too few images: at least ten are needed", path.display());
    let (pixels, mut changes) =
        gather(rows.len(), shape, |at| Ok(convert(images.picture(rows[at])?, shape)))?;
    let set = match images.labels.as_deref().map(arrays::classes) {
        Some(Ok(labels)) => {
            ImageSet::new(pixels, rows.iter().map(|&row| labels[row]).collect(), shape)
        }
        None => ImageSet::unlabelled(pixels, shape),
        Some(Err(_)) => {
            changes.unlabelled = Some("labels dropped, they are not all from 0 to 255");
            ImageSet::unlabelled(pixels, shape)
        }
    };
    Ok((set?, changes))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use std::fs;

    use hvae_runtime::npz::{Array, save};
    use image::{GrayImage, Luma, Rgb, RgbImage};

    use super::*;

    fn square(side: usize) -> ImageShape {
        ImageShape::grey(side, side)
    }

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
        let (train, of_train) = from_folder(root.path(), Split::Train, square(28)).unwrap();
        let (test, of_test) = from_folder(root.path(), Split::Test, square(28)).unwrap();
        assert_eq!((train.len(), test.len()), (18, 2));
        assert!(!train.is_labelled());
        assert_eq!(of_train, Changes { skipped: 1, ..Changes::default() });
        assert_eq!(of_test, Changes { resized: 1, coloured: 1, skipped: 1, unlabelled: None });
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
        // Each part lacks a class of the other, so that numbers of its own would be others.
        for (place, shade) in [("train/cat", 1), ("train/dog", 2), ("test/ape", 4), ("test/dog", 3)]
        {
            fs::create_dir_all(root.path().join(place)).unwrap();
            grey(&root.path().join(place).join("a.png"), 28, 28, shade);
        }
        let (train, _) = from_folder(root.path(), Split::Train, square(28)).unwrap();
        assert_eq!((train.labels(), train.image(1)[0]), ([1, 2].as_slice(), 2));
        assert!(train.is_labelled());
        let (test, _) = from_folder(root.path(), Split::Test, square(28)).unwrap();
        assert_eq!((test.labels(), test.image(1)[0]), ([0, 2].as_slice(), 3));
        // A folder without pictures is not a class; labels hold at most 256 classes.
        let folders = (0..254).map(|class| root.path().join(format!("test/{class}")));
        folders.clone().for_each(|folder| fs::create_dir(folder).unwrap());
        let (train, _) = from_folder(root.path(), Split::Train, square(28)).unwrap();
        assert_eq!(train.labels(), [1, 2]);
        folders.for_each(|folder| grey(&folder.join("a.png"), 28, 28, 5));
        let (train, changes) = from_folder(root.path(), Split::Train, square(28)).unwrap();
        assert!(!train.is_labelled() && changes.unlabelled.is_some(), "{changes:?}");
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
        let (test, changes) = from_arrays(&path, Split::Test, square(2)).unwrap();
        assert_eq!((test.len(), test.bytes()), (1, &bytes[36..]));
        assert_eq!(changes, Changes::default());
        let (train, changes) = from_arrays(&path, Split::Train, square(4)).unwrap();
        assert_eq!((train.len(), train.pixels(), changes.resized), (9, 16, 9));
        let labels = Array::I64 { shape: vec![1], values: &[6] };
        save(&path, &[("x_train", array(&[2, 4])), ("x_test", array(&[1, 4])), ("y_test", labels)])
            .unwrap();
        let (train, changes) = from_arrays(&path, Split::Train, square(2)).unwrap();
        assert!(!train.is_labelled() && changes == Changes::default());
        let (test, _) = from_arrays(&path, Split::Test, square(2)).unwrap();
        assert!(test.is_labelled() && test.labels() == [6]);
        // Labels out of range are dropped.
        for labels in [
            Array::I64 { shape: vec![10], values: &[1, 2, 3, 4, 5, 6, 7, 8, 9, 300] },
            Array::I64 { shape: vec![10], values: &[1, 2, 3, 4, -5, 6, 7, 8, 9, 10] },
        ] {
            save(&path, &[("images", array(&[10, 2, 2])), ("labels", labels)]).unwrap();
            let (train, changes) = from_arrays(&path, Split::Train, square(2)).unwrap();
            assert!(!train.is_labelled() && changes.unlabelled.is_some(), "{changes:?}");
        }
    }

    #[test]
    fn colour_arrays_become_grey_in_either_layout() {
        let root = tempfile::tempdir().unwrap();
        // Ten images of 2 by 2 pixels: the first pixel red, the others white.
        let last: Vec<u8> = [255, 0, 0].into_iter().chain([255; 9]).cycle().take(120).collect();
        let first: Vec<u8> = [[255, 255, 255, 255], [0, 255, 255, 255], [0, 255, 255, 255]]
            .concat()
            .into_iter()
            .cycle()
            .take(120)
            .collect();
        let mut found = Vec::new();
        for (shape, values) in [(vec![10, 2, 2, 3], &last), (vec![10, 3, 2, 2], &first)] {
            let path = root.path().join("set.npz");
            save(&path, &[("images", Array::U8 { shape, values })]).unwrap();
            let (set, changes) = from_arrays(&path, Split::Test, square(2)).unwrap();
            assert_eq!(changes, Changes { coloured: 1, ..Changes::default() });
            found.push(set);
        }
        assert_eq!(found[0], found[1]);
        let image = found[0].image(0);
        assert!((40..120).contains(&image[0]) && image[1..] == [255; 3], "{image:?}");
    }

    #[test]
    fn folders_of_idx_files_are_read() {
        let root = tempfile::tempdir().unwrap();
        let images = |count: u8| {
            [
                &[0, 0, 8, 3, 0, 0, 0, count, 0, 0, 0, 2, 0, 0, 0, 4][..],
                &vec![9; 8 * usize::from(count)],
            ]
            .concat()
        };
        let write = |name: &str, bytes: &[u8]| fs::write(root.path().join(name), bytes).unwrap();
        write("train-images-idx3-ubyte", &images(3));
        write("t10k-images.idx3-ubyte", &images(2));
        write("t10k-labels-idx1-ubyte", &[0, 0, 8, 1, 0, 0, 0, 2, 7, 8]);
        let (train, changes) = from_idx(root.path(), Split::Train, square(4)).unwrap().unwrap();
        assert_eq!((train.len(), train.is_labelled(), changes.resized), (3, false, 3));
        // Two of the four rows of the square are the picture.
        assert_eq!(train.image(0), [[0; 4], [9; 4], [9; 4], [0; 4]].concat());
        let (test, _) = from_idx(root.path(), Split::Test, square(4)).unwrap().unwrap();
        assert_eq!(test.labels(), [7, 8]);
        write("t10k-labels-idx1-ubyte", &[0, 0, 8, 1, 0, 0, 0, 1, 7]);
        let error = from_idx(root.path(), Split::Test, square(4)).unwrap_err();
        assert!(format!("{error:#}").contains("1 labels for 2 images"), "{error:#}");
    }

    #[test]
    fn errors_name_the_path() {
        let root = tempfile::tempdir().unwrap();
        let error =
            |path: &Path, split| format!("{:#}", load(path, split, square(28)).unwrap_err());
        assert!(error(&root.path().join("none"), Split::Train).contains("no such folder"));
        assert!(error(root.path(), Split::Train).contains("too few pictures"));
        let broken = root.path().join("a.png");
        fs::write(&broken, "<html>").unwrap();
        assert!(error(root.path(), Split::Train).contains("a.png"));
    }
}
