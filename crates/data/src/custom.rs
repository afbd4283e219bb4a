//! A person's own images as a data set: a folder of pictures, or arrays in a `.npz` or `.npy` file,
//! made grey and of one size.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use image::{DynamicImage, GrayImage};
use rayon::prelude::*;

use crate::convert::{Changes, convert, gathered};
use crate::mnist::MNIST;
use crate::{CLASSES, ImageSet, Split, Verbosity, arrays, folder, idx};
use hvae_runtime::npz;

/// Of images without a split of their own every tenth, in their order, is for testing.
const TEST_EVERY: usize = 10;

/// Names of arrays with a split: images and labels for training, then for testing.
const SPLIT_ARRAYS: [[&str; 4]; 2] = [
    ["x_train", "y_train", "x_test", "y_test"],
    ["train_images", "train_labels", "test_images", "test_labels"],
];

/// Loads one part of the images at `path`, `side` pixels high and wide.
///
/// - A folder holds pictures, or a subfolder for each of at most ten classes, which are numbered in
///   the order of their names. Two subfolders `train` and `test`, each such a folder, are the two
///   parts; a class has one number in both.
/// - A folder with the files of MNIST, of other content, is read as MNIST is: `train-images-idx3-ubyte`,
///   `t10k-images-idx3-ubyte` and labels, plain or gzipped.
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
    let (set, changes) = if let Some(set) = from_idx(path, split, side)? {
        set
    } else if path.is_dir() {
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
    told.extend(changes.unlabelled.map(str::to_owned));
    let told = if told.is_empty() { String::new() } else { format!(" ({})", told.join(", ")) };
    verbosity.line(&format!("{}: {} {part} images{told}", path.display(), set.len()));
    Ok(set)
}

/// The images of a folder with the files of MNIST, whatever they hold; none if it lacks them.
fn from_idx(path: &Path, split: Split, side: usize) -> anyhow::Result<Option<(ImageSet, Changes)>> {
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
    let set = idx::read(&images)?;
    let labels = labels.map(|labels| idx::read_labels(&labels)).transpose()?;
    if let Some(labels) = &labels {
        let (found, count) = (labels.len(), set.len());
        ensure!(found == count, "{}: {found} labels for {count} images", path.display());
    }
    ensure!(!set.is_empty(), "{} holds no image", images.display());
    let (height, width) = (set.height() as u32, set.width() as u32);
    let picture = |row| GrayImage::from_raw(width, height, set.image(row).to_vec());
    let converted: Vec<_> = (0..set.len())
        .into_par_iter()
        .map(|row| {
            let picture = picture(row).context("an image of that size")?;
            Ok(convert(DynamicImage::ImageLuma8(picture), side))
        })
        .collect::<anyhow::Result<_>>()?;
    let mut changes = Changes::default();
    let labels = labels.map(|labels| labels.into_iter().map(i64::from).collect::<Vec<_>>());
    let labels = known(labels.as_deref(), &mut changes);
    gathered(converted, labels, side, changes).map(Some)
}

/// The labels if there are any and all are among those that are told apart: a part of them is of no
/// use.
fn known(labels: Option<&[i64]>, changes: &mut Changes) -> Option<Vec<u8>> {
    let known = arrays::classes(labels?).ok();
    if known.is_none() {
        changes.unlabelled = Some("labels left out, which are not all from 0 to 9");
    }
    known
}

fn from_folder(path: &Path, split: Split, side: usize) -> anyhow::Result<(ImageSet, Changes)> {
    let parts = ["train", "test"].map(|part| path.join(part));
    let mut changes = Changes::default();
    let found = if parts.iter().all(|part| part.is_dir()) {
        // Counted over both, so that a class has one number in both, even if one lacks it.
        let classes = classes(&parts)?;
        pictures(&parts[split as usize], &classes, &mut changes)?
    } else {
        let all = pictures(path, &classes(&[path.to_owned()])?, &mut changes)?;
        held_out(all.len(), split).map(|index| all[index].clone()).collect()
    };
    let known = changes.unlabelled.is_none() && found.iter().all(|(_, label)| label.is_some());
    let labels = found.iter().map(|(_, label)| label.unwrap_or(0)).collect();
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
    let (set, changes) = gathered(read, Some(labels), side, changes)?;
    Ok((if known { set } else { set.unlabelled() }, changes))
}

fn none(path: &Path, split: Split) -> String {
    let few = match split {
        Split::Train => "",
        Split::Test => "; without parts of their own every tenth is for testing, so it takes ten",
    };
    format!("{} holds too few pictures ({}){few}", path.display(), folder::ENDINGS.join(", "))
}

/// The names of all subfolders of `folders` that hold pictures, each once, sorted.
fn classes(folders: &[PathBuf]) -> anyhow::Result<Vec<OsString>> {
    let mut names = BTreeSet::new();
    for folder in folders {
        for inside in folder::sorted(folder)?.into_iter().filter(|path| path.is_dir()) {
            if folder::sorted(&inside)?.iter().any(|path| is_picture(path)) {
                names.extend(inside.file_name().map(ToOwned::to_owned));
            }
        }
    }
    Ok(names.into_iter().collect())
}

/// By its name's ending.
fn is_picture(path: &Path) -> bool {
    let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase());
    ending.is_some_and(|ending| folder::ENDINGS.contains(&ending.as_str()))
}

/// The pictures of a folder with their labels, the places of their subfolders among `classes`; none if
/// these are more than ten, or some pictures lie in no subfolder.
fn pictures(
    path: &Path,
    classes: &[OsString],
    changes: &mut Changes,
) -> anyhow::Result<Vec<(PathBuf, Option<u8>)>> {
    let (mut found, mut folders) = (Vec::new(), Vec::new());
    let mut take = |path: PathBuf, label: Option<u8>| {
        if is_picture(&path) {
            found.push((path, label));
        } else {
            changes.skipped += 1;
        }
    };
    for path in folder::sorted(path)? {
        if path.is_dir() { folders.push(path) } else { take(path, None) }
    }
    let number = |class: &Path| {
        let place = classes.iter().position(|name| Some(name.as_os_str()) == class.file_name())?;
        u8::try_from(place).ok().filter(|_| classes.len() <= usize::from(CLASSES))
    };
    for class in folders {
        let label = number(&class);
        for path in folder::sorted(&class)? {
            ensure!(!path.is_dir(), "{} lies too deep for a folder of a class", path.display());
            take(path, label);
        }
    }
    if classes.len() > usize::from(CLASSES) {
        changes.unlabelled = Some("labels left out, as there are more than 10 classes");
    } else if found.iter().any(|(_, label)| label.is_some() != found[0].1.is_some()) {
        changes.unlabelled = Some("labels left out, as some lie in no folder of a class");
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
    let of_part = parts.map(|arrays| match split {
        Split::Train => [arrays[0], arrays[1]],
        Split::Test => [arrays[2], arrays[3]],
    });
    let stored = arrays::stored(path, of_part)?;
    let rows: Vec<usize> = match of_part {
        Some(_) => (0..stored.count).collect(),
        None => held_out(stored.count, split).collect(),
    };
    ensure!(!rows.is_empty(), "{} holds too few images; it takes ten", path.display());
    let converted: Vec<_> = rows
        .par_iter()
        .map(|&row| Ok(convert(stored.picture(row).context("an image of that size")?, side)))
        .collect::<anyhow::Result<_>>()?;
    let mut changes = Changes::default();
    let labels = known(stored.labels.as_deref(), &mut changes);
    let labels = labels.map(|labels| rows.iter().map(|&row| labels[row]).collect());
    gathered(converted, labels, side, changes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test should panic")]
mod tests {
    use std::fs;

    use image::{Luma, Rgb, RgbImage};

    use super::*;
    use hvae_runtime::npz::{Array, save};

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
        let (train, _) = from_folder(root.path(), Split::Train, 28).unwrap();
        assert_eq!((train.labels(), train.image(1)[0]), ([1, 2].as_slice(), 2));
        assert!(train.is_labelled());
        let (test, _) = from_folder(root.path(), Split::Test, 28).unwrap();
        assert_eq!((test.labels(), test.image(1)[0]), ([0, 2].as_slice(), 3));
        // A folder without pictures is no class; more than ten classes over both are not told apart.
        let folders = (0..8).map(|class| root.path().join(format!("test/{class}")));
        folders.clone().for_each(|folder| fs::create_dir(folder).unwrap());
        let (train, _) = from_folder(root.path(), Split::Train, 28).unwrap();
        assert_eq!(train.labels(), [1, 2]);
        folders.for_each(|folder| grey(&folder.join("a.png"), 28, 28, 5));
        let (train, changes) = from_folder(root.path(), Split::Train, 28).unwrap();
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
        let (test, changes) = from_arrays(&path, Split::Test, 2).unwrap();
        assert_eq!((test.len(), test.bytes()), (1, &bytes[36..]));
        assert_eq!(changes, Changes::default());
        let (train, changes) = from_arrays(&path, Split::Train, 4).unwrap();
        assert_eq!((train.len(), train.pixels(), changes.resized), (9, 16, 9));
        let labels = Array::I64 { shape: vec![1], values: &[6] };
        save(&path, &[("x_train", array(&[2, 4])), ("x_test", array(&[1, 4])), ("y_test", labels)])
            .unwrap();
        let (train, changes) = from_arrays(&path, Split::Train, 2).unwrap();
        assert!(!train.is_labelled() && changes == Changes::default());
        let (test, _) = from_arrays(&path, Split::Test, 2).unwrap();
        assert!(test.is_labelled() && test.labels() == [6]);
        // Labels that are no classes are left out, whatever their numbers are stored as.
        for labels in [
            Array::I64 { shape: vec![10], values: &[1, 2, 3, 4, 5, 6, 7, 8, 9, 300] },
            Array::U8 { shape: vec![10], values: &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10] },
        ] {
            save(&path, &[("images", array(&[10, 2, 2])), ("labels", labels)]).unwrap();
            let (train, changes) = from_arrays(&path, Split::Train, 2).unwrap();
            assert!(!train.is_labelled() && changes.unlabelled.is_some(), "{changes:?}");
        }
    }

    #[test]
    fn colours_of_arrays_become_grey_wherever_they_stand() {
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
            let (set, changes) = from_arrays(&path, Split::Test, 2).unwrap();
            assert_eq!(changes, Changes { coloured: 1, ..Changes::default() });
            found.push(set);
        }
        assert_eq!(found[0], found[1]);
        let image = found[0].image(0);
        assert!((40..120).contains(&image[0]) && image[1..] == [255; 3], "{image:?}");
    }

    #[test]
    fn files_in_the_format_of_mnist_are_read_whatever_they_hold() {
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
        let (train, changes) = from_idx(root.path(), Split::Train, 4).unwrap().unwrap();
        assert_eq!((train.len(), train.is_labelled(), changes.resized), (3, false, 3));
        // Two of the four rows of the square are the picture.
        assert_eq!(train.image(0), [[0; 4], [9; 4], [9; 4], [0; 4]].concat());
        let (test, _) = from_idx(root.path(), Split::Test, 4).unwrap().unwrap();
        assert_eq!(test.labels(), [7, 8]);
        write("t10k-labels-idx1-ubyte", &[0, 0, 8, 1, 0, 0, 0, 1, 7]);
        let error = from_idx(root.path(), Split::Test, 4).unwrap_err();
        assert!(error.to_string().contains("1 labels for 2 images"), "{error}");
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
